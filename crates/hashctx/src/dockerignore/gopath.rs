//! The three functions of Go's standard library that decide how an ignore line reads:
//! `filepath.Clean`, `strings.TrimSpace` and the syntax check of `filepath.Match`, over bytes.
//!
//! Absent: matching. The reference uses `filepath.Match` for its errors alone, and so do we.

/// Every encoding of a character that Unicode calls white space, which is what Go trims.
const SPACES: [&str; 25] = [
    " ", "\t", "\n", "\u{b}", "\u{c}", "\r", "\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2001}",
    "\u{2002}", "\u{2003}", "\u{2004}", "\u{2005}", "\u{2006}", "\u{2007}", "\u{2008}", "\u{2009}",
    "\u{200a}", "\u{2028}", "\u{2029}", "\u{202f}", "\u{205f}", "\u{3000}",
];

/// The text without the white space around it (`strings.TrimSpace`).
pub(crate) fn trim_space(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let Some(rest) = SPACES.iter().find_map(|space| text.strip_prefix(space.as_bytes())) {
        text = rest;
    }
    while let Some(rest) = SPACES.iter().find_map(|space| text.strip_suffix(space.as_bytes())) {
        text = rest;
    }
    text
}

/// The shortest path that names the same place by its text alone (`filepath.Clean` on Unix). Empty
/// becomes `.`.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join(&b'/')) {
        (true, tail) => [b"/", tail.as_slice()].concat(),
        (false, tail) if tail.is_empty() => b".".to_vec(),
        (false, tail) => tail,
    }
}

/// Says why `filepath.Match(pattern, ".")`, which is how the reference checks patterns, fails. It
/// looks at the pieces between `*`s only as long as they match, so an error behind one that does
/// not goes unseen.
pub(crate) fn match_syntax(pattern: &[u8]) -> Result<(), &'static str> {
    let mut rest = pattern;
    let mut name = Name::Dot;
    while !rest.is_empty() {
        while let Some(after) = rest.strip_prefix(b"*") {
            rest = after;
        }
        let (chunk, after) = rest.split_at(chunk_len(rest));
        name = match_chunk(chunk, name)?;
        if name == Name::Failed || (name == Name::Dot && after.is_empty()) {
            return Ok(());
        }
        rest = after;
    }
    Ok(())
}

/// What is left of the name `.`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Dot,
    Empty,
    Failed,
}

impl Name {
    fn consumed(self, matches: bool) -> Self {
        if self == Self::Dot && matches { Self::Empty } else { Self::Failed }
    }
}

/// Length of the text up to the next `*` outside of a class, as Go's `scanChunk` sees classes: any
/// `]` ends one.
fn chunk_len(pattern: &[u8]) -> usize {
    let (mut at, mut in_class) = (0, false);
    while let Some(&byte) = pattern.get(at) {
        match byte {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Matches a piece without `*`; after a mismatch it goes on for the errors.
fn match_chunk(chunk: &[u8], name: Name) -> Result<Name, &'static str> {
    let (mut rest, mut name) = (chunk, name);
    while let Some((&byte, after)) = rest.split_first() {
        let matches;
        (matches, rest) = match byte {
            b'[' => class(after)?,
            b'?' => (true, after),
            b'\\' => after.split_first().map(|(escaped, after)| (*escaped == b'.', after)).ok_or(LONE)?,
            plain => (plain == b'.', after),
        };
        name = name.consumed(matches);
    }
    Ok(name)
}

const LONE: &str = "it ends in a lone `\\`";
const OPEN: &str = "its `[` has no `]`";

/// Reads the class whose `[` was just read: whether it has the `.`, and what follows.
fn class(text: &[u8]) -> Result<(bool, &[u8]), &'static str> {
    let (negated, mut rest) = text.strip_prefix(b"^").map_or((false, text), |rest| (true, rest));
    let mut has_dot = None;
    loop {
        if let (Some(has_dot), Some(after)) = (has_dot, rest.strip_prefix(b"]")) {
            return Ok((has_dot != negated, after));
        }
        let (low, after) = class_char(rest)?;
        let (high, after) = match after.strip_prefix(b"-") {
            Some(upper) => class_char(upper)?,
            None => (low, after),
        };
        has_dot = Some(has_dot == Some(true) || (low..=high).contains(&'.'));
        rest = after;
    }
}

fn class_char(text: &[u8]) -> Result<(char, &[u8]), &'static str> {
    let text = match text.first() {
        None => return Err(OPEN),
        Some(b'-') => return Err("a `-` stands where a class needs a character"),
        Some(b']') => return Err("a `]` stands where a class needs a character"),
        Some(b'\\') => text.get(1..).unwrap_or_default(),
        Some(_) => text,
    };
    let chunk = text.utf8_chunks().next().ok_or(OPEN)?;
    let first = chunk.valid().chars().next().ok_or("a class holds a byte that is not UTF-8")?;
    match text.get(first.len_utf8()..) {
        Some(rest) if !rest.is_empty() => Ok((first, rest)),
        _ => Err(OPEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn cleaned(path: &str, want: &str) {
        assert_eq!(String::from_utf8_lossy(&clean(path.as_bytes())), want);
    }

    #[test]
    fn clean_agrees_with_go() {
        let table = [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("//a", "/a"),
            ("a/", "a"),
            ("a//b", "a/b"),
            ("./a", "a"),
            ("a/..", "."),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/../a", "/a"),
            ("!../a", "!../a"),
            ("a/../../b", "../b"),
        ];
        for (path, want) in table {
            cleaned(path, want);
        }
    }

    #[test]
    fn every_unicode_space_is_trimmed() {
        for space in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|space| space.is_whitespace()) {
            assert_eq!(trim_space(format!("{space}a b{space}").as_bytes()), b"a b", "{space:?}");
        }
        assert_eq!(trim_space(b"\xa0a\x85"), b"\xa0a\x85");
    }

    #[test]
    fn what_match_refuses_is_refused() {
        for bad in
            ["[", "[]a]", "[a-]", "[-a]", "[^]a]", "a\\", ".*[a", "[a-", "[\\", "[^a]*\\", "[a-b-c]", "*[a"]
        {
            assert!(match_syntax(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [
            "",
            "a",
            "]",
            "[a]",
            "[^a]",
            "[!a]",
            "[a-c]",
            "\\[",
            "[\\]]",
            "[[:alpha:]]*",
            "{a,b}",
            "[a[b]*c]",
            "x*[a",
        ] {
            assert!(match_syntax(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(match_syntax(b"[\xff]").is_err());
        assert!(match_syntax(b"\xff").is_ok());
    }
}
