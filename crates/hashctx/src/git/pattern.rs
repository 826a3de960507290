//! One ignore file as git reads it: bytes → patterns.
//!
//! Touches no disk. There are no errors: git takes every file, and what it cannot use matches
//! nothing.

use super::wild::{Wild, literal_len};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One line of an ignore file that is a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The line as it counts: without its end, trailing spaces, and what follows a NUL.
    pub(super) text: Box<[u8]>,
    /// `!` before it: what it matches is kept.
    pub(super) negated: bool,
    dirs_only: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// The name alone is this.
    Name(Box<[u8]>),
    /// The name alone ends in this: `*literal`.
    Suffix(Box<[u8]>),
    /// The name alone matches.
    NameWild(Wild),
    /// The path below the file's folder starts with these bytes, and the rest matches; `None` for
    /// an empty rest.
    Path(Box<[u8]>, Option<Wild>),
}

/// Reads an ignore file. A byte order mark at its start is not a part of it; a last
/// line need not end.
pub(super) fn patterns(file: &[u8]) -> Vec<Pattern> {
    let text = file.strip_prefix(BOM).unwrap_or(file);
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    lines.filter_map(|(at, line)| Pattern::new(line, at + 1)).collect()
}

impl Pattern {
    /// Reads one line, given without its `\n`; `None` for an empty line and a comment.
    fn new(line: &[u8], number: usize) -> Option<Self> {
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = trimmed(line);
        let negated = text.starts_with(b"!");
        let whole = text.get(usize::from(negated)..).unwrap_or_default();
        let dirs_only = whole.ends_with(b"/");
        let body = whole.strip_suffix(b"/").unwrap_or(whole);
        // `a/` is a name; `/a` and `a/b` are paths.
        let wanted = if body.contains(&b'/') { Test::path(body) } else { Test::name(body) };
        Some(Self { line: number, text: text.into(), negated, dirs_only, test: wanted })
    }

    /// Whether it hits a path, given relative to the file's folder, and its last part.
    pub(super) fn hits(&self, path: &[u8], name: &[u8], dir: bool) -> bool {
        (dir || !self.dirs_only) && self.test.hits(path, name)
    }
}

impl Test {
    fn name(body: &[u8]) -> Self {
        if literal_len(body) == body.len() {
            return Self::Name(body.into());
        }
        match body.strip_prefix(b"*") {
            Some(rest) if literal_len(rest) == rest.len() => Self::Suffix(rest.into()),
            _ => Self::NameWild(Wild::new(body)),
        }
    }

    /// git compares the literal start by itself and hands only the rest to its matcher, so in
    /// `a**/b` the stars are at a start and may cross slashes, or be nothing.
    fn path(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"/").unwrap_or(body);
        let (start, rest) = body.split_at(literal_len(body));
        Self::Path(start.into(), (!rest.is_empty()).then(|| Wild::new(rest)))
    }

    fn hits(&self, path: &[u8], name: &[u8]) -> bool {
        match self {
            Self::Name(literal) => **literal == *name,
            Self::Suffix(end) => name.ends_with(end),
            Self::NameWild(wild) => wild.matches(name),
            Self::Path(start, rest) => match (path.strip_prefix(&**start), rest) {
                (Some(left), Some(wild)) => wild.matches(left),
                (left, None) => left == Some(&[]),
                (None, Some(_)) => false,
            },
        }
    }
}

/// A line without its trailing spaces; a backslash keeps the byte behind it.
fn trimmed(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        at += if byte == b'\\' { 2 } else { 1 };
        if byte != b' ' {
            end = at;
        }
    }
    line.get(..end).unwrap_or(line)
}
