//! Splits a Dockerfile into instructions: comments and continuations go, heredocs are attached.
//!
//! Why not the crate `parse-dockerfile`: it unescapes words before the expansion that has to see
//! the escapes, takes text but no bytes, and ends heredocs and continuations by rules that are not
//! quite `BuildKit`'s. A key that reads a line other than the engine does is a wrong key.
//!
//! Absent: any meaning of an instruction.

use std::ops::Range;

use super::expand;
use super::words;
use crate::error::dockerfile::Fault;

/// Go's scanner takes no longer line.
const MAX_LINE: usize = 65_536;

/// A Dockerfile in pieces.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) escape: char,
    /// The value of `# syntax=`.
    pub(super) syntax: Option<String>,
    pub(super) list: Vec<Line>,
}

/// One instruction, its lines joined.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// In upper case.
    pub(super) keyword: String,
    /// `--name=value`, unquoted.
    pub(super) flags: Vec<String>,
    /// What follows the flags, trimmed.
    pub(super) rest: String,
    /// Everything that matters of it: keyword, flags and arguments on one line, then the heredocs.
    pub(super) text: Vec<u8>,
    /// Where the file has it.
    pub(super) span: Range<usize>,
    /// Its first line there, from 1.
    pub(super) number: usize,
}

/// Splits the file.
pub(super) fn split(file: &[u8]) -> Result<Lines, Fault> {
    let mut reader = Reader::new(file);
    let (escape, syntax) = directives(file)?;
    let mut list = Vec::new();
    while let Some((bytes, span, number)) = reader.logical(escape)? {
        let mut line = parse(&bytes, escape, span, number);
        reader.heredocs(&mut line)?;
        list.push(line);
    }
    if list.is_empty() {
        Err(Fault::new(&(0..0), "it has no instructions"))
    } else {
        Ok(Lines { escape, syntax, list })
    }
}

/// Reads one instruction from its joined line.
pub(super) fn parse(bytes: &[u8], escape: char, span: Range<usize>, number: usize) -> Line {
    let bytes = trim(bytes);
    let blank = |byte: &u8| matches!(byte, b'\t' | 0x0b | 0x0c | b'\r' | b' ');
    let end = bytes.iter().position(blank).unwrap_or(bytes.len());
    let (keyword, arguments) = bytes.split_at(end);
    let keyword = String::from_utf8_lossy(keyword).to_uppercase();
    let arguments =
        arguments.get(arguments.iter().take_while(|byte| blank(byte)).count()..).unwrap_or_default();
    let (flags, rest) = words::flags(arguments, escape);
    let rest = String::from_utf8_lossy(trim(rest)).into_owned();
    let text = [keyword.as_bytes(), b" ", arguments].concat();
    Line { keyword, flags, rest, text: trim(&text).to_vec(), span, number }
}

/// The escape character and the syntax that the comments at the very top set.
fn directives(file: &[u8]) -> Result<(char, Option<String>), Fault> {
    let (mut escape, mut syntax, mut check) = (None, None, None);
    let mut reader = Reader::new(file);
    while let Some((line, span)) = reader.physical()? {
        let Some((name, value)) = directive(line, "#") else { break };
        // What is not a directive is a comment, and behind a comment there are none.
        let slot = match name.as_str() {
            "escape" => &mut escape,
            "syntax" => &mut syntax,
            "check" => &mut check,
            _ => break,
        };
        if slot.replace(value).is_some() {
            return Err(Fault::new(&span, format!("the directive `{name}` stands twice")));
        }
        if name == "escape" && !matches!(escape.as_deref(), Some("\\" | "`")) {
            return Err(Fault::new(&span, "the escape character has to be `\\` or a backtick"));
        }
    }
    Ok((if escape.as_deref() == Some("`") { '`' } else { '\\' }, syntax.or_else(|| below_shebang(file))))
}

/// The syntax that the file sets, in whatever language it is written: in a comment at the top,
/// which may begin with `//`, or in the field `syntax` of JSON. What is wrong elsewhere in the file
/// is not looked at.
pub(super) fn syntax(file: &[u8]) -> Option<String> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let of_comments = ["#", "//"].iter().find_map(|comment| top_syntax(file, comment));
    of_comments.or_else(|| {
        let json: serde_json::Value = serde_json::from_slice(below_first(file).unwrap_or(file)).ok()?;
        Some(json.get("syntax")?.as_str()?.to_owned())
    })
}

/// The syntax that is set behind a first line `#!…`: `BuildKit` looks for it there too, and for
/// nothing else.
fn below_shebang(file: &[u8]) -> Option<String> {
    top_syntax(below_first(file)?, "#")
}

/// The file without a first line `#!…`. `None` where it has no such line.
fn below_first(file: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(file);
    let (first, span) = reader.physical().ok()??;
    first.starts_with(b"#!").then(|| file.get(span.end..)).flatten()
}

fn top_syntax(file: &[u8], comment: &str) -> Option<String> {
    let mut reader = Reader::new(below_first(file).unwrap_or(file));
    while let Some((line, _)) = reader.physical().ok()? {
        match directive(line, comment)? {
            (name, value) if name == "syntax" => return Some(value),
            (name, _) if matches!(name.as_str(), "escape" | "check") => {}
            _ => return None,
        }
    }
    None
}

/// Reads `# name = value`, or that behind another sign of a comment.
fn directive(line: &[u8], comment: &str) -> Option<(String, String)> {
    let text = str::from_utf8(trim(line)).ok()?;
    let (name, value) = text.strip_prefix(comment)?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (plain && !value.is_empty()).then(|| (name.to_lowercase(), value.to_owned()))
}

/// Bytes, and where the file has them.
type Spanned<T> = (T, Range<usize>);

/// A joined line, where the file has it, and the number of its first line.
type Joined = (Vec<u8>, Range<usize>, usize);

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Lines that were read.
    lines: usize,
}

impl<'a> Reader<'a> {
    fn new(file: &'a [u8]) -> Self {
        Self { file, at: if file.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }, lines: 0 }
    }

    /// The next line of the file with its end.
    fn physical(&mut self) -> Result<Option<Spanned<&'a [u8]>>, Fault> {
        let rest = self.file.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let span = self.at..self.at + length;
        if length > MAX_LINE {
            return Err(Fault::new(&(self.at..self.at + 40), "the line is longer than 65535 bytes"));
        }
        self.at = span.end;
        self.lines += 1;
        Ok(Some((rest.get(..length).unwrap_or_default(), span)))
    }

    /// The next instruction, continuations joined.
    fn logical(&mut self, escape: char) -> Result<Option<Joined>, Fault> {
        while let Some((line, first)) = self.physical()? {
            let number = self.lines;
            if is_comment(line) {
                continue;
            }
            let (mut joined, mut more) = continued(trim_start(trim_end_of_line(line)), escape);
            if !more && joined.is_empty() {
                continue;
            }
            let mut end = first.end;
            while more && let Some((line, span)) = self.physical()? {
                end = span.end;
                if is_comment(line) || trim_start(line).is_empty() {
                    continue;
                }
                let (next, again) = continued(trim_end_of_line(line), escape);
                joined.extend(next);
                more = again;
            }
            return Ok(Some((joined, first.start..end, number)));
        }
        Ok(None)
    }

    /// Reads the heredocs that the line announces.
    fn heredocs(&mut self, line: &mut Line) -> Result<(), Fault> {
        for announced in announced(line) {
            let mut content = Vec::new();
            loop {
                let Some((text, span)) = self.physical()? else {
                    let why = format!("the heredoc `{}` has no end", announced.name);
                    return Err(Fault::new(&line.span, why));
                };
                let bare = trim_end_of_line(text);
                let tabs =
                    if announced.chomp { bare.iter().take_while(|byte| **byte == b'\t').count() } else { 0 };
                line.span.end = span.end;
                if bare.get(tabs..) == Some(announced.name.as_bytes()) {
                    break;
                }
                content.extend(text);
            }
            line.text.push(b'\n');
            line.text.extend(&content);
            line.text.extend(announced.name.as_bytes());
        }
        Ok(())
    }
}

/// What stands after `<<`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Announced {
    name: String,
    chomp: bool,
}

fn announced(line: &Line) -> Vec<Announced> {
    let (mut keyword, mut rest) = (line.keyword.as_str(), line.rest.as_str());
    let inner;
    if keyword == "ONBUILD" {
        inner = rest.split_whitespace().next().unwrap_or_default().to_uppercase();
        rest = rest.get(inner.len()..).unwrap_or_default().trim();
        keyword = &inner;
    }
    let takes = matches!(keyword, "RUN" | "COPY" | "ADD") && words::json(rest).is_none();
    if !takes || !line.text.windows(2).any(|pair| pair == b"<<") {
        return Vec::new();
    }
    // A line that the lexer refuses has no heredocs, as there.
    let words = expand::words(&String::from_utf8_lossy(&line.text), true).unwrap_or_default();
    words.iter().filter_map(|word| heredoc_word(word)).collect()
}

/// Reads `<<NAME`, `<<-NAME`, `3<<"NAME"`.
pub(super) fn heredoc_word(word: &str) -> Option<Announced> {
    let after = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, after) = after.strip_prefix('-').map_or((false, after), |after| (true, after));
    let after = after.trim_start();
    if after.is_empty() || after.contains('<') {
        return None;
    }
    let mut words = expand::words(after, false).ok()?;
    let name = words.pop()?;
    words.is_empty().then_some(Announced { name, chomp })
}

/// The line without its continuation character, and whether it had one. A doubled one does not
/// continue the line.
fn continued(line: &[u8], escape: char) -> (Vec<u8>, bool) {
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let bare = line.get(..line.len() - blanks).unwrap_or_default();
    let escape = u32::from(escape);
    let is_escape = |byte: Option<&u8>| byte.is_some_and(|byte| u32::from(*byte) == escape);
    match bare.split_last() {
        Some((last, before)) if is_escape(Some(last)) && !is_escape(before.last()) => (before.to_vec(), true),
        _ => (line.to_vec(), false),
    }
}

fn is_comment(line: &[u8]) -> bool {
    trim_start(line).starts_with(b"#")
}

fn trim_end_of_line(line: &[u8]) -> &[u8] {
    let end = line.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    line.get(..line.len() - end).unwrap_or_default()
}

fn trim_start(line: &[u8]) -> &[u8] {
    // Trimming a text with a mark at its end leaves that end alone.
    let marked = [line, b"."].concat();
    let kept = trim(&marked).len() - 1;
    line.get(line.len() - kept..).unwrap_or_default()
}

fn trim(text: &[u8]) -> &[u8] {
    crate::dockerignore::trim_space(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn texts(file: &str, want: &[&str]) {
        let lines = split(file.as_bytes()).unwrap();
        let texts: Vec<_> =
            lines.list.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect();
        assert_eq!(texts, want);
    }

    #[track_caller]
    fn refused(file: &str) {
        assert!(split(file.as_bytes()).is_err(), "{file:?}");
    }

    #[test]
    fn comments_and_continuations_go() {
        texts("# c\nfrom  a\n\n run x \\\n  # c\n\n  y \\ \t\n z\n", &["FROM a", "RUN x   y  z"]);
        texts("FROM a\r\nRUN x\\\r\ny\r\n", &["FROM a", "RUN xy"]);
        texts("RUN x\\\\\nRUN y\\", &["RUN x\\\\", "RUN y"]);
        texts("\u{feff}FROM a", &["FROM a"]);
        texts("#escape=`\nRUN a`\nb\\\nFROM c", &["RUN ab\\", "FROM c"]);
        texts("# x\n#escape=`\nRUN a\\\nb", &["RUN ab"]);
        texts("# x=y\n#escape=`\nRUN a\\\nb", &["RUN ab"]);
        texts("# check=y\n#escape=`\nRUN a`\nb", &["RUN ab"]);
    }

    #[test]
    fn heredocs_belong_to_their_instruction() {
        texts("RUN <<EOF\n# no comment\nEOF\nRUN b", &["RUN <<EOF\n# no comment\nEOF", "RUN b"]);
        texts("RUN <<-\"X Y\" cat\n\ta\n\tX Y\n", &["RUN <<-\"X Y\" cat\n\ta\nX Y"]);
        texts("COPY <<a <<b /\n1\na\n2\nb\n", &["COPY <<a <<b /\n1\na\n2\nb"]);
        texts("RUN echo '<<EOF'\nRUN b", &["RUN echo '<<EOF'", "RUN b"]);
        texts("RUN [\"<<EOF\"]\nRUN b", &["RUN [\"<<EOF\"]", "RUN b"]);
        texts("RUN it's <<EOF\nRUN b", &["RUN it's <<EOF", "RUN b"]);
        refused("RUN <<EOF\na\n");
    }

    #[test]
    fn a_syntax_may_stand_below_a_shebang() {
        let top = |file: &str| split(file.as_bytes()).map(|lines| (lines.escape, lines.syntax)).unwrap();
        assert_eq!(top("#!/x\n# syntax=a\nFROM b"), ('\\', Some("a".to_owned())));
        assert_eq!(top("\u{feff}#!/x\r\n# syntax=a\nFROM b"), ('\\', Some("a".to_owned())));
        assert_eq!(top("#!/x\n# escape=`\n# syntax=a\nFROM b"), ('\\', Some("a".to_owned())));
        assert_eq!(top("#!/x\n\n# syntax=a\nFROM b"), ('\\', None));
        assert_eq!(top("# syntax=a\n#!/x\n# escape=`\nFROM b"), ('\\', Some("a".to_owned())));
        assert_eq!(top("# x\n#!/x\n# syntax=a\nFROM b"), ('\\', None));
        assert_eq!(top("#!/x\n# x=y\n# syntax=a\nFROM b"), ('\\', None));
    }

    #[test]
    fn the_syntax_of_other_languages_is_found() {
        let found = |file: &str| syntax(file.as_bytes());
        assert_eq!(found("# syntax=a b\nx: y"), Some("a b".to_owned()));
        assert_eq!(found("# escape=^\n# syntax=a\nx"), Some("a".to_owned()));
        assert_eq!(found("#!/x\n// syntax = a\n"), Some("a".to_owned()));
        assert_eq!(found("\u{feff}{\"syntax\": \"a\", \"x\": 1}"), Some("a".to_owned()));
        assert_eq!(found("{\"syntax\": \"a\", \"x\": 1}"), Some("a".to_owned()));
        for file in ["", "FROM a\n# syntax=b", "{\"syntax\": 1}", "[]", "// x\n// syntax=a"] {
            assert_eq!(found(file), None, "{file}");
        }
    }

    #[test]
    fn bad_tops_are_refused() {
        for file in ["", "# only\n", "#escape=x\nFROM a", "#escape=`\n#escape=`\nFROM a"] {
            refused(file);
        }
    }
}
