//! Reads an ignore file into patterns, in the two steps of the reference: `ignorefile.ReadAll`,
//! whose result the engines pass around, and `patternmatcher.New`, which cleans and trims once
//! more. Podman has a first step of its own, `imagebuilder.ParseIgnore`, which does little, and an
//! own variant of the second.

use std::ops::Range;

use super::choose::Engine;
use super::gopath::{clean, match_syntax, trim_space};
use super::pattern::{Form, lossy};
use crate::error::dockerignore::PatternError;

/// Go's `bufio.Scanner` gives up at a longer line.
const MAX_LINE: usize = 65_535;

/// A line that can decide something.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Line of the file, from 1.
    pub(super) line: usize,
    /// Where the file has it, its `!` included.
    pub(super) span: Range<usize>,
    /// The same as bytes.
    pub(super) written: Vec<u8>,
    /// It began with `!`.
    pub(super) exception: bool,
    /// The pattern as it is matched.
    pub(super) cleaned: Vec<u8>,
    pub(super) form: Form,
}

impl Pattern {
    pub(super) fn error(&self, why: &str) -> PatternError {
        error(self.line, self.span.clone(), &self.written, why)
    }
}

/// Reads the lines in order.
pub(super) fn patterns(engine: Engine, file: &[u8]) -> Result<Vec<Pattern>, PatternError> {
    let podman = engine == Engine::Podman;
    let mut patterns = Vec::new();
    let mut start = 0;
    for (number, raw) in (1..).zip(file.split(|&byte| byte == b'\n')) {
        if raw.len() > MAX_LINE && !podman {
            return Err(error(number, start..start + 40, b"", "the line is longer than 65535 bytes"));
        }
        let bom = number == 1 && !podman && raw.starts_with(BOM);
        let skip = if bom { BOM.len() } else { 0 };
        let text = raw.get(skip..).unwrap_or_default();
        if !text.starts_with(b"#") {
            patterns.extend(line(podman, number, start + skip, text)?);
        }
        start += raw.len() + 1;
    }
    Ok(patterns)
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Patterns that come without a file, one a line of their own for errors.
pub(super) fn listed(list: &[String]) -> Result<Vec<Pattern>, PatternError> {
    let pattern = |(number, text): (usize, &String)| {
        finish(false, number, 0..text.len(), text.as_bytes(), text.as_bytes())
    };
    (1..).zip(list).filter_map(|numbered| pattern(numbered).transpose()).collect()
}

fn line(podman: bool, number: usize, start: usize, text: &[u8]) -> Result<Option<Pattern>, PatternError> {
    let written = trim_space(text);
    let lead = leading_space(text);
    let span = start + lead..start + lead + written.len();
    let listed = if podman { trim_slashes(text).to_vec() } else { read_all(written) };
    finish(podman, number, span, written, &listed)
}

/// The second step, from what the first one lists.
fn finish(
    podman: bool,
    number: usize,
    span: Range<usize>,
    written: &[u8],
    listed: &[u8],
) -> Result<Option<Pattern>, PatternError> {
    let trimmed = trim_space(listed);
    if trimmed.is_empty() {
        return Ok(None);
    }
    let cleaned = clean(trimmed);
    let (exception, pattern) = match cleaned.strip_prefix(b"!") {
        Some(b"") => return Err(error(number, span, written, "nothing follows its `!`")),
        Some(rest) => (true, if podman { relative(clean(rest)) } else { rest.to_vec() }),
        None => (false, cleaned),
    };
    match_syntax(&pattern).map_err(|why| error(number, span.clone(), written, why))?;
    let form = if podman { Form::podman(&pattern) } else { Form::new(&pattern) };
    Ok(Some(Pattern { line: number, span, written: written.to_vec(), exception, cleaned: pattern, form }))
}

fn trim_slashes(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|byte| **byte == b'/').count();
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.iter().rev().take_while(|byte| **byte == b'/').count();
    rest.get(..rest.len() - end).unwrap_or_default()
}

fn relative(path: Vec<u8>) -> Vec<u8> {
    path.strip_prefix(b"/").map(<[u8]>::to_vec).unwrap_or(path)
}

/// What `ignorefile.ReadAll` makes of a trimmed line.
fn read_all(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let (mark, path): (&[u8], _) = match text.strip_prefix(b"!") {
        Some(rest) => (b"!", trim_space(rest)),
        None => (b"", text),
    };
    let cleaned = if path.is_empty() { Vec::new() } else { clean(path) };
    let relative = match cleaned.strip_prefix(b"/") {
        Some(rest) if !rest.is_empty() => rest,
        _ => cleaned.as_slice(),
    };
    [mark, relative].concat()
}

/// Bytes of white space before the first other character.
fn leading_space(text: &[u8]) -> usize {
    // Trimming a text with a mark at its end leaves that end alone.
    let marked = [text, b"."].concat();
    marked.len() - trim_space(&marked).len()
}

fn error(line: usize, span: Range<usize>, written: &[u8], why: &str) -> PatternError {
    PatternError { line, span, pattern: lossy(written).into_owned(), why: why.to_owned() }
}
