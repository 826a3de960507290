//! `ECOSYSTEM:NAME` and `ECOSYSTEM:NAME@VERSION`, in which a `*` stands for any text: what lists of
//! packages are written in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use storekit::printable;
use thiserror::Error;

use crate::ecosystem::Ecosystem;

/// Packages of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    /// As it was written.
    text: String,
    kind: Ecosystem,
    /// As names are compared.
    name: String,
    version: Option<String>,
}

/// Text that is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a pattern of packages: {reason}; write `npm:@scope/*` or `cargo:name@1.0.*`")]
pub struct NotAPattern {
    text: String,
    reason: String,
}

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let wrong =
            |reason: &str| NotAPattern { text: printable(text).to_string(), reason: reason.to_owned() };
        let (kind, rest) = text.split_once(':').ok_or_else(|| wrong("it names no kind of client"))?;
        let kind = Ecosystem::read(kind).map_err(|reason| wrong(&reason))?;
        // A scope begins with one.
        let at = rest.char_indices().skip(1).filter(|(_, c)| *c == '@').map(|(at, _)| at).last();
        let (name, version) = at.map_or((rest, None), |at| {
            let (name, version) = rest.split_at(at);
            (name, version.strip_prefix('@'))
        });
        if name.is_empty() || version.is_some_and(str::is_empty) {
            return Err(wrong("a name, or a version behind `@`, is missing"));
        }
        if kind == Ecosystem::Generic {
            return Err(wrong("files of the kind `generic` have no names"));
        }
        let version = version.map(str::to_owned);
        Ok(Self { text: text.to_owned(), kind, name: folded(kind, name), version })
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Which kind of client the packages are for.
    #[must_use]
    pub fn kind(&self) -> Ecosystem {
        self.kind
    }

    /// Whether it is of one version, or some, alone.
    #[must_use]
    pub(crate) fn has_version(&self) -> bool {
        self.version.is_some()
    }

    /// Whether the package is of these, in whichever version.
    #[must_use]
    pub(crate) fn has_name(&self, kind: Ecosystem, name: &str) -> bool {
        self.kind == kind && matches(self.name.as_bytes(), folded(kind, name).as_bytes())
    }

    /// Whether whoever hears the name hears of one of these. Clients of Go look for a module at
    /// each path above a package's: below a path is the path as well.
    #[must_use]
    pub(crate) fn tells_of(&self, kind: Ecosystem, name: &str) -> bool {
        let above = self.name.strip_suffix("/*").filter(|_| self.kind == kind && kind == Ecosystem::Go);
        let is_above = |above: &str| matches(above.as_bytes(), folded(kind, name).as_bytes());
        self.has_name(kind, name) || above.is_some_and(is_above)
    }

    /// Whether this version of the package is. Where none is known, a pattern with a version says
    /// no.
    #[must_use]
    pub(crate) fn has(&self, kind: Ecosystem, name: &str, version: Option<&str>) -> bool {
        let fits = match (&self.version, version) {
            (None, _) => true,
            (Some(pattern), Some(version)) => matches(pattern.as_bytes(), version.as_bytes()),
            (Some(_), None) => false,
        };
        fits && self.has_name(kind, name)
    }

    /// Whether a name of these stands somewhere in the text: as words of their own, or, behind a
    /// `*`, with whatever follows. Doubt says yes.
    #[must_use]
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let text = folded(self.kind, &unescaped(text));
        let name = self.name.trim_end_matches('*');
        if name.contains('*') {
            return matches(format!("*{name}*").as_bytes(), text.as_bytes());
        }
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let goes_on = name.len() < self.name.len();
        text.match_indices(name).any(|(at, found)| {
            let (before, after) = (text.get(..at), text.get(at + found.len()..));
            let begins =
                !is_word(before.and_then(|it| it.chars().next_back())) || !is_word(name.chars().next());
            begins && (goes_on || !is_word(after.and_then(|it| it.chars().next())))
        })
    }
}

/// The text behind percent signs, decoded as often as a server behind another might.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..3 {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, behind @ ..] = rest {
            let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
            let code = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            let (byte, length) = code.filter(|_| *first == b'%').map_or((*first, 1), |code| (code, 3));
            bytes.push(byte);
            rest = rest.get(length..).unwrap_or_default();
        }
        let plain = String::from_utf8_lossy(&bytes).into_owned();
        if plain == text {
            break;
        }
        text = plain;
    }
    text
}

/// A name as it is compared: registries take some spellings for one name, and to take more for one
/// keeps nothing in that is to stay in.
fn folded(kind: Ecosystem, name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match kind {
        Ecosystem::Python => crate::ecosystem::python::normalized(&name),
        Ecosystem::Cargo => name.replace('_', "-"),
        _ => name,
    }
}

/// Whether a text is of a pattern with `*`: in time that grows with the product of their lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where the last `*` is, and where what it stands for ends.
    let mut star = None;
    while let Some(byte) = text.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if wanted == byte => (at, from) = (at + 1, from + 1),
            _ => {
                let Some((place, end)) = star else { return false };
                star = Some((place, end + 1));
                (at, from) = (place + 1, end + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[(&str, Option<&str>)], no: &[(&str, Option<&str>)]) {
        let pattern: Pattern = pattern.parse().unwrap();
        let has = |(name, version): &(&str, Option<&str>)| pattern.has(pattern.kind, name, *version);
        assert!(yes.iter().all(has), "{pattern} {yes:?}");
        assert!(!no.iter().any(has), "{pattern} {no:?}");
    }

    #[test]
    fn a_path_of_go_tells_of_what_is_below_it() {
        let tells = |pattern: &str, name| {
            let pattern: Pattern = pattern.parse().unwrap();
            pattern.tells_of(pattern.kind, name)
        };
        for name in ["corp.example/lib", "corp.example/a/b", "Corp.example"] {
            assert!(tells("go:corp.example/*", name), "{name}");
        }
        for name in ["corp.example.org", "corp.exampl", "other.example/corp.example"] {
            assert!(!tells("go:corp.example/*", name), "{name}");
        }
        assert!(tells("npm:@acme/*", "@acme/core") && !tells("npm:@acme/*", "@acme"));
    }

    #[test]
    fn a_name_is_compared_as_its_registry_does() {
        check(
            "npm:@acme/*",
            &[("@acme/a", None), ("@Acme/b/c", Some("1"))],
            &[("acme", None), ("@acme2/a", None)],
        );
        check(
            "python:Acme_*",
            &[("acme-core", None), ("acme.core", None)],
            &[("acme", None), ("xacme-core", None)],
        );
        check("cargo:a_b", &[("a-b", None), ("A_B", None)], &[("a-b-c", None)]);
        check("go:corp.example/*", &[("corp.example/a/b", None)], &[("corp.example", None)]);
        check("npm:*", &[("a", None), ("@a/b", None)], &[]);
    }

    #[test]
    fn a_version_is_compared_where_one_is_known() {
        check(
            "npm:a@1.*",
            &[("a", Some("1.2.3"))],
            &[("a", Some("2.1.0")), ("a", None), ("b", Some("1.0.0"))],
        );
        check("npm:@s/a@2.0.0", &[("@s/a", Some("2.0.0"))], &[("@s/a", Some("2.0.01"))]);
        check("apt:libc6@2.36-9*", &[("libc6", Some("2.36-9+deb12u1"))], &[("libc6", Some("2.36-8"))]);
    }

    #[test]
    fn another_kind_has_other_packages() {
        let pattern: Pattern = "npm:a".parse().unwrap();
        assert!(!pattern.has(Ecosystem::Python, "a", None));
    }

    #[test]
    fn a_name_is_found_in_a_query() {
        let is_in = |pattern: &str, text: &str| pattern.parse::<Pattern>().unwrap().is_in(text);
        for text in [
            "/-/v1/search?text=@acme/a",
            "/-/npm/v1/attestations/@acme/a@1.0.0",
            "/@acme/",
            "/x?%2540Acme%2fa",
            "/%%40acme/%zz%",
        ] {
            assert!(is_in("npm:@acme/*", text), "{text}");
        }
        assert!(is_in("npm:own", "/-/v1/search?text=own&size=1") && is_in("npm:own", "/x/own"));
        assert!(!is_in("npm:own", "/-/v1/search?text=owner") && !is_in("npm:own", "/known"));
        assert!(is_in("python:acme-*", "/search?q=Acme_Core") && !is_in("python:acme-*", "/pacme-core"));
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_the_reason() {
        for (text, reason) in [
            ("a", "names no kind"),
            ("nmp:a", "is `npm` meant?"),
            ("npm:", "is missing"),
            ("npm:a@", "is missing"),
            ("generic:a", "have no names"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_long_pattern_does_not_take_long() {
        assert!(!matches(b"a*a*a*b", "a".repeat(10_000).as_bytes()));
    }
}
