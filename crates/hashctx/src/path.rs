//! Paths inside a context: raw bytes, and the one way in which they are written as text.
//!
//! Touches no disk. A path here is always relative to the context's root.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path below a context's root: bytes, parts separated by one `/`, never empty, no part `.` or
/// `..`, no NUL, no `/` at either end. Sorts by raw bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// Takes the bytes as they are; `None` where they break a rule above. Nothing is normalised.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        bytes.split(|&b| b == b'/').all(is_name).then_some(Self(bytes))
    }

    /// The path of what has that name in a folder, `None` for the root; `None` where it is not a
    /// name.
    #[must_use]
    pub fn below(folder: Option<&Self>, name: &[u8]) -> Option<Self> {
        if !is_name(name) || name.contains(&b'/') {
            return None;
        }
        Some(match folder {
            Some(Self(folder)) => Self([folder, &b"/"[..], name].concat().into()),
            None => Self(name.into()),
        })
    }

    /// The path's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the system calls want it.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The folder that it is in and its name there; `None` for what is in the root.
    #[must_use]
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some((self.0.get(..slash)?, self.0.get(slash + 1..)?))
    }

    /// The folders above, innermost first, the root not among them.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        let slashes = self.0.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'/');
        slashes.filter_map(|(at, _)| self.0.get(..at))
    }
}

/// Written as in a manifest.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Foreign text for a terminal, lossily decoded: characters that could steer one are replaced, but
/// newlines and tabs.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.replace(steers, "\u{fffd}")
}

/// Bytes as text on one line, as FORMAT.md says: `\\`, `\n`, `\r`, `\t`, and `\xhh` for every other
/// control byte and every byte that is not part of valid UTF-8; all else stands for itself.
#[must_use]
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    // Without a branch for each byte: nearly all need nothing.
    let odd = bytes.iter().fold(false, |odd, &byte| odd | needs_escape(byte));
    match std::str::from_utf8(bytes) {
        Ok(text) if !odd => Cow::Borrowed(text),
        _ => Cow::Owned(escaped(bytes)),
    }
}

/// The bytes that `escape` was given; `None` for text that it never writes.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'\\' { unescape_one(&mut rest)? } else { byte });
    }
    (escape(&bytes) == text).then_some(bytes)
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| escape_char(c, &mut text));
        chunk.invalid().iter().for_each(|&byte| escape_byte(byte, &mut text));
    }
    text
}

fn escape_char(c: char, text: &mut String) {
    match u8::try_from(c) {
        Ok(byte) if needs_escape(byte) && c.is_ascii() => escape_byte(byte, text),
        _ => text.push(c),
    }
}

fn escape_byte(byte: u8, text: &mut String) {
    match byte {
        b'\\' => text.push_str("\\\\"),
        b'\n' => text.push_str("\\n"),
        b'\r' => text.push_str("\\r"),
        b'\t' => text.push_str("\\t"),
        // Writing to a string cannot fail.
        other => drop(write!(text, "\\x{other:02x}")),
    }
}

fn needs_escape(byte: u8) -> bool {
    byte == b'\\' || byte.is_ascii_control()
}

fn unescape_one(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    match rest.next()? {
        b'\\' => Some(b'\\'),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'x' => Some(hex(rest.next()?)? << 4 | hex(rest.next()?)?),
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

fn is_name(part: &[u8]) -> bool {
    !matches!(part, b"" | b"." | b"..") && !part.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn written(bytes: &[u8], text: &str) {
        assert_eq!(escape(bytes), text);
        assert_eq!(unescape(text).as_deref(), Some(bytes));
    }

    #[track_caller]
    fn refused(bytes: &[u8]) {
        assert_eq!(RelPath::new(bytes), None);
    }

    #[test]
    fn every_name_has_one_text_on_one_line() {
        written(b"plain name", "plain name");
        written("gr\u{fc}n \u{80}".as_bytes(), "gr\u{fc}n \u{80}");
        written(b"a\nb\\c\td\re", "a\\nb\\\\c\\td\\re");
        written(b"\x01\x7f\xff\xc3", "\\x01\\x7f\\xff\\xc3");
    }

    #[test]
    fn text_that_is_never_written_is_refused() {
        for text in ["\\", "\\q", "\\x4", "\\x41", "\\xFF", "\u{7}"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[test]
    fn paths_have_one_spelling() {
        for bytes in [&b""[..], b"/a", b"a/", b"a//b", b".", b"a/../b", b"./a", b"a\0"] {
            refused(bytes);
        }
        assert!(RelPath::new(&b"a/..b/.c"[..]).is_some());
    }

    #[test]
    fn only_a_name_stands_in_a_folder() {
        let folder = RelPath::new(&b"a/b"[..]);
        let below = |name: &[u8]| RelPath::below(folder.as_ref(), name).map(|path| path.as_bytes().to_vec());
        assert_eq!(below(b"c").as_deref(), Some(&b"a/b/c"[..]));
        assert_eq!(RelPath::below(None, b"c"), RelPath::new(&b"c"[..]));
        for name in [&b""[..], b".", b"..", b"c/d", b"c\0"] {
            assert_eq!(below(name), None);
        }
    }

    #[test]
    fn parents_come_innermost_first() {
        let path = RelPath::new(&b"a/b/c"[..]).expect("a path");
        assert_eq!(path.parents().collect::<Vec<_>>(), [&b"a/b"[..], b"a"]);
    }
}
