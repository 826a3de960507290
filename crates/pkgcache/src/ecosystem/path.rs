//! Paths in one spelling, so that a file has one name whichever client asks.
//!
//! Source: RFC 3986, 6.2.2.

use std::fmt::Write as _;

/// The path with escapes of unreserved characters decoded, other escapes in upper case, and `+`,
/// `:` and `!` as themselves: package clients differ in how they write these three. What is not a
/// valid escape stays as it is.
#[must_use]
pub(crate) fn canonical(path: &str) -> String {
    let mut written = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escaped) = rest.split_at(at);
        written.push_str(before);
        let hex = escaped.get(1..3).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            written.push('%');
            rest = escaped.get(1..).unwrap_or_default();
            continue;
        };
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~+:!".contains(c) {
            written.push(c);
        } else {
            written.extend(escape(byte));
        }
        rest = escaped.get(3..).unwrap_or_default();
    }
    written.push_str(rest);
    written
}

/// The byte as an escape.
#[must_use]
pub(crate) fn escape(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase();
    ['%', digit(byte >> 4), digit(byte & 15)]
}

/// A path has no more bytes.
const LONGEST: usize = 4096;

/// The segments of a path, each in one spelling; `None` where one could lead elsewhere, and for a
/// folder. An empty segment and `.` say nothing and are left out: clients ask so where the address
/// of a repository says `./`, or ends in two `/`.
#[must_use]
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    if path.len() > LONGEST || is_folder(path) {
        return None;
    }
    path.split('/').filter(says_something).map(|segment| spelled(&decoded(segment)?)).collect()
}

/// Whether a path ends in a segment that says nothing: `a/.` is `a/` (RFC 3986, 5.2.4).
fn is_folder(path: &str) -> bool {
    !path.rsplit('/').next().as_ref().is_some_and(says_something)
}

fn says_something(segment: &&str) -> bool {
    !matches!(*segment, "" | ".")
}

/// A path as files name one another, raw, in the spelling of [`segments`].
#[must_use]
pub(crate) fn spelled_path(raw: &str) -> Option<String> {
    if raw.len() > LONGEST || raw.starts_with('/') || is_folder(raw) {
        return None;
    }
    let names = raw.split('/').filter(says_something);
    let segments: Option<Vec<_>> = names.map(|name| spelled(name.as_bytes())).collect();
    segments.filter(|segments| !segments.is_empty()).map(|segments| segments.join("/"))
}

/// The bytes of a segment, its escapes decoded.
#[must_use]
pub(crate) fn decoded(segment: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { digit(rest.next()?)? << 4 | digit(rest.next()?)? } else { byte });
    }
    Some(bytes)
}

/// A segment with everything escaped that does not stand for itself in a path.
fn spelled(segment: &[u8]) -> Option<String> {
    let bad = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'/' | b'\\');
    if segment.is_empty() || matches!(segment, b"." | b"..") || segment.iter().any(bad) {
        return None;
    }
    let mut text = String::with_capacity(segment.len());
    for byte in segment {
        if byte.is_ascii_alphanumeric() || b"-._~+:@!$&'()*,;=".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_spelling() {
        for spelling in ["/a/lib%2bx~1", "/a/lib%2Bx%7e1", "/a/lib+x%7E1", "/%61/lib+x~1"] {
            assert_eq!(canonical(spelling), "/a/lib+x~1", "{spelling}");
        }
        assert_eq!(canonical("/a%2fb%20c%3a1%21"), "/a%2Fb%20c:1!");
        assert_eq!(canonical("%"), "%");
        assert_eq!(canonical("/%zz%4"), "/%zz%4");
        assert_eq!(canonical("/%é%+1"), "/%é%+1");
    }
}
