//! Names inside a layer, and the patterns that choose among them. All are bytes, relative to the
//! image's root, without a slash at either end; the root itself is the empty name.
//!
//! Touches no disk. A pattern's `..` is refused: what it would mean depends on links that only the
//! image knows.

use std::collections::BTreeSet;

/// Why a name is refused.
pub(crate) type Reason = &'static str;

/// No longer name is taken: the kernel takes 4095 bytes.
const LONGEST: usize = 4000;
/// No deeper one either: removing such a tree would need a stack and open files for every
/// level.
const DEEPEST: usize = 256;

/// Brings an entry's name into one form.
///
/// # Errors
/// Names that are absolute, climb out, hold a NUL, or are longer or deeper than any that is meant.
pub(crate) fn clean(name: &[u8]) -> Result<Vec<u8>, Reason> {
    if name.starts_with(b"/") && parts(name).next().is_some() {
        return Err("it is absolute");
    }
    clean_target(name)
}

/// The same for what a hard link names: an absolute one means the image's root.
///
/// # Errors
/// As [`clean`].
pub(crate) fn clean_target(name: &[u8]) -> Result<Vec<u8>, Reason> {
    if name.contains(&0) {
        return Err("it contains a NUL");
    }
    if name.len() > LONGEST {
        return Err("it is longer than 4000 bytes");
    }
    if parts(name).any(|part| part == b"..") {
        return Err("it leads out of the image");
    }
    if parts(name).count() > DEEPEST {
        return Err("it is nested more than 256 deep");
    }
    Ok(parts(name).collect::<Vec<_>>().join(&b'/'))
}

/// Where a symbolic link in `folder` leads, as in a `chroot`: never above the root. `None`: nowhere
/// that has a name.
pub(crate) fn follow(folder: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut at: Vec<&[u8]> = if target.starts_with(b"/") { Vec::new() } else { parts(folder).collect() };
    for part in parts(target) {
        if part == b".." {
            at.pop();
        } else {
            at.push(part);
        }
    }
    let name = at.join(&b'/');
    (name.len() <= LONGEST && !name.contains(&0)).then_some(name)
}

/// The parts of a name between slashes, without `.`.
pub(crate) fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']))
}

/// The folders above a clean name, from the root down; not the name itself.
pub(crate) fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &name[..at]);
    (!name.is_empty()).then_some(&name[..0]).into_iter().chain(slashes)
}

/// `folder/name`, where either may be the root.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match (folder, name) {
        ([], name) => name.to_vec(),
        (folder, []) => folder.to_vec(),
        _ => [folder, b"/", name].concat(),
    }
}

/// What is left of a clean name below a folder; empty for the folder itself, `None` where it is not
/// below.
pub(crate) fn below<'n>(folder: &[u8], name: &'n [u8]) -> Option<&'n [u8]> {
    match name.strip_prefix(folder)? {
        [] => Some(b""),
        rest if folder.is_empty() => Some(rest),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The folder and the last part of a clean name.
pub(crate) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (b"", name),
    }
}

/// What was asked for: a name, or a pattern with `*` and `?` in some of its parts, or `**` for some
/// of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written, for messages.
    pub text: String,
    /// The name before the first part with a wildcard.
    pub(crate) literal: Vec<u8>,
    /// The parts from there on.
    pub(crate) globs: Vec<Glob>,
    /// Whether a link at the very end is followed: the pattern ends with a slash.
    pub(crate) follow: bool,
}

impl Pattern {
    /// Reads a pattern. `*` and `?` match within one part, a part `**` matches any number of them,
    /// a `\` takes a wildcard's meaning away; a slash at the end follows a link there; a slash at
    /// the start changes nothing.
    ///
    /// # Errors
    /// Empty patterns, those with `..` or NUL, and those longer than any name.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty (`/` is everything)");
        }
        if parts(text).any(|part| part == b"..") {
            return Err("it has a `..` in it");
        }
        let whole = clean_target(text)?;
        let all: Vec<&[u8]> = parts(&whole).collect();
        let wild = all.iter().position(|part| Glob::new(part).is_wild()).unwrap_or(all.len());
        let (literal, globs) = all.split_at(wild);
        let literal: Vec<Vec<u8>> = literal.iter().map(|part| Glob::new(part).name()).collect();
        Ok(Self {
            text: String::from_utf8_lossy(text).into_owned(),
            literal: literal.join(&b'/'),
            globs: globs.iter().map(|part| Glob::new(part)).collect(),
            follow: text.ends_with(b"/") || text.ends_with(b"/."),
        })
    }

    /// How a clean name stands to this pattern.
    pub(crate) fn place(&self, name: &[u8]) -> NameMatch {
        let Some(rest) = below(&self.literal, name) else {
            return if below(name, &self.literal).is_some() { NameMatch::Above } else { NameMatch::Outside };
        };
        let mut open = BTreeSet::new();
        self.open(0, &mut open);
        for part in parts(rest) {
            if open.contains(&self.globs.len()) {
                return NameMatch::Inside;
            }
            let before = std::mem::take(&mut open);
            for at in before.into_iter().filter(|at| self.globs[*at].matches(part)) {
                self.open(if self.globs[at].is_deep() { at } else { at + 1 }, &mut open);
            }
        }
        if open.contains(&self.globs.len()) {
            NameMatch::Inside
        } else if open.is_empty() {
            NameMatch::Outside
        } else {
            NameMatch::Above
        }
    }

    /// The parts of the pattern that the next part of a name may match, from this one on: a `**`
    /// may match none.
    fn open(&self, at: usize, open: &mut BTreeSet<usize>) {
        let deep = self.globs[at..].iter().take_while(|glob| glob.is_deep()).count();
        open.extend(at..=at + deep);
    }
}

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameMatch {
    /// It has nothing to do with the pattern.
    Outside,
    /// Something that is chosen may lie below it.
    Above,
    /// It is chosen, or lies below something that is.
    Inside,
}

/// One part of a pattern, or a `**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
    deep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Any,
}

impl Glob {
    fn new(part: &[u8]) -> Self {
        let mut tokens = Vec::new();
        let mut bytes = part.iter();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                b'*' => Token::Any,
                b'?' => Token::One,
                b'\\' => Token::Byte(*bytes.next().unwrap_or(&b'\\')),
                byte => Token::Byte(*byte),
            });
        }
        // `a**b` is `a*b`; one star never has to try what another has tried.
        tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
        Self { tokens, deep: part == b"**" }
    }

    /// Whether it matches any number of parts.
    fn is_deep(&self) -> bool {
        self.deep
    }

    fn is_wild(&self) -> bool {
        self.tokens.iter().any(|token| !matches!(token, Token::Byte(_)))
    }

    fn name(&self) -> Vec<u8> {
        let byte = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
        self.tokens.iter().filter_map(byte).collect()
    }

    /// Matches in at most `name × pattern` steps.
    fn matches(&self, name: &[u8]) -> bool {
        let (mut at, mut token, mut star) = (0, 0, None);
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::Any) => {
                    star = Some((at, token));
                    token += 1;
                }
                Some(Token::One) => (at, token) = (at + 1, token + 1),
                Some(Token::Byte(byte)) if *byte == name[at] => (at, token) = (at + 1, token + 1),
                _ => match star {
                    Some((from, any)) => {
                        star = Some((from + 1, any));
                        (at, token) = (from + 1, any + 1);
                    }
                    None => return false,
                },
            }
        }
        self.tokens[token..].iter().all(|token| *token == Token::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn stands(pattern: &str, name: &str, place: NameMatch) {
        let parsed = Pattern::parse(pattern.as_bytes()).unwrap();
        assert_eq!(parsed.place(name.as_bytes()), place, "{pattern} {name}");
    }

    #[test]
    fn names_come_in_one_form_or_are_refused() {
        assert_eq!(clean(b"./a//b/").unwrap(), b"a/b");
        for root in [&b"/"[..], b"./", b"", b"//."] {
            assert_eq!(clean(root).unwrap(), b"");
        }
        for name in [&b"/etc/passwd"[..], b"..", b"a/../b", b"a\0b"] {
            assert!(clean(name).is_err());
        }
        assert!(clean(&[b'a'; 5000]).is_err());
        assert!(clean("a/".repeat(257).as_bytes()).is_err());
        assert_eq!(clean_target(b"/etc/x").unwrap(), b"etc/x");
    }

    #[test]
    fn links_never_lead_above_the_root() {
        assert_eq!(follow(b"", b"usr/bin").unwrap(), b"usr/bin");
        assert_eq!(follow(b"a/b", b"../../../../etc").unwrap(), b"etc");
        assert_eq!(follow(b"a/b", b"/x/./y").unwrap(), b"x/y");
        assert_eq!(follow(b"a/b", b"..").unwrap(), b"a");
    }

    #[test]
    fn folders_above_are_listed_from_the_root() {
        let list = |name: &'static [u8]| above(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(list(b"a/b/c"), [&b""[..], b"a", b"a/b"]);
        assert_eq!(list(b"a"), [b""]);
        assert!(list(b"").is_empty());
    }

    #[test]
    fn patterns_choose_names_and_what_is_below() {
        stands("/app", "app", NameMatch::Inside);
        stands("/app", "app/x/y", NameMatch::Inside);
        stands("/app", "apple", NameMatch::Outside);
        stands("/app/x", "app", NameMatch::Above);
        stands("/", "anything", NameMatch::Inside);
        stands("dist/*.whl", "dist", NameMatch::Above);
        stands("dist/*.whl", "dist/a.whl", NameMatch::Inside);
        stands("dist/*.whl", "dist/.whl", NameMatch::Inside);
        stands("dist/*.whl", "dist/a.whl/x", NameMatch::Inside);
        stands("dist/*.whl", "dist/sub/a.whl", NameMatch::Outside);
        stands("*/bin/?x", "usr/bin", NameMatch::Above);
        stands("*/bin/?x", "usr/bin/ax", NameMatch::Inside);
        stands(r"a\*b", "a*b", NameMatch::Inside);
        stands(r"a\*b", "axb", NameMatch::Outside);
        stands("a**b*c", "aXbYbZc", NameMatch::Inside);
        stands("a**b*c", "aXbYbZ", NameMatch::Outside);
    }

    #[test]
    fn two_stars_stand_for_any_number_of_folders() {
        stands("**/*.whl", "a.whl", NameMatch::Inside);
        stands("**/*.whl", "x/y/a.whl/z", NameMatch::Inside);
        stands("**/*.whl", "x/y", NameMatch::Above);
        stands("src/**/bin", "src", NameMatch::Above);
        stands("src/**/bin", "src/bin", NameMatch::Inside);
        stands("src/**/bin", "src/a/b/bin", NameMatch::Inside);
        stands("src/**/bin", "lib/bin", NameMatch::Outside);
        stands("a/**", "a", NameMatch::Inside);
        stands("**/a/**/b", "a/x/a/b", NameMatch::Inside);
        stands(r"\*\*/a", "x/a", NameMatch::Outside);
        // Many of them take no longer.
        stands(&"**/a/".repeat(100), &"a/".repeat(99), NameMatch::Above);
    }

    #[test]
    fn a_slash_at_the_end_follows() {
        assert!(Pattern::parse(b"/bin/").unwrap().follow);
        assert!(!Pattern::parse(b"/bin").unwrap().follow);
        assert!(Pattern::parse(b"a/../b").is_err() && Pattern::parse(b"").is_err());
    }
}
