//! Reads an ignore file into patterns, in the two steps of the reference: `ignorefile.ReadAll`, whose result the
//! engines pass around, and `patternmatcher.New`, which cleans and trims once more.

use std::ops::Range;

use super::error::PatternError;
use super::gopath::{clean, match_syntax, trim_space};
use super::pattern::{Form, lossy};

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
    pub(super) form: Form,
}

impl Pattern {
    pub(super) fn error(&self, why: &str) -> PatternError {
        error(self.line, self.span.clone(), &self.written, why)
    }
}

/// Reads the lines in order.
pub(super) fn patterns(file: &[u8]) -> Result<Vec<Pattern>, PatternError> {
    let mut patterns = Vec::new();
    let mut start = 0;
    for (number, raw) in (1..).zip(file.split(|&byte| byte == b'\n')) {
        if raw.len() > MAX_LINE {
            return Err(error(number, start..start + 40, b"", "the line is longer than 65535 bytes"));
        }
        patterns.extend(line(number, start, raw)?);
        start += raw.len() + 1;
    }
    Ok(patterns)
}

fn line(number: usize, start: usize, raw: &[u8]) -> Result<Option<Pattern>, PatternError> {
    let text = if number == 1 { raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw) } else { raw };
    let start = start + raw.len() - text.len();
    let written = trim_space(text);
    if text.starts_with(b"#") || written.is_empty() {
        return Ok(None);
    }
    let lead = leading_space(text);
    let span = start + lead..start + lead + written.len();
    let listed = read_all(written);
    let trimmed = trim_space(&listed);
    if trimmed.is_empty() {
        return Ok(None);
    }
    let cleaned = clean(trimmed);
    let (exception, pattern) = match cleaned.strip_prefix(b"!") {
        Some(b"") => return Err(error(number, span, written, "nothing follows its `!`")),
        Some(rest) => (true, rest),
        None => (false, cleaned.as_slice()),
    };
    match_syntax(pattern).map_err(|why| error(number, span.clone(), written, why))?;
    Ok(Some(Pattern { line: number, span, written: written.to_vec(), exception, form: Form::new(pattern) }))
}

/// What `ignorefile.ReadAll` makes of a trimmed line.
fn read_all(text: &[u8]) -> Vec<u8> {
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
