//! Names of packages and of their tarballs.
//!
//! Source: npm's `validate-npm-package-name`, its registry's "Package metadata".

use crate::ecosystem::path::{canonical, escape};

/// A package's name: `NAME` or `@SCOPE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// Reads a name as documents have it.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let valid = match parts.as_slice() {
            [name] => is_part(name) && !name.starts_with('.'),
            [scope, name] => scope.strip_prefix('@').is_some_and(is_part) && is_part(name),
            _ => false,
        };
        (valid && text.len() <= 214).then(|| Self(text.to_owned()))
    }

    /// The last part of a URL's path as a name, with its scope.
    #[must_use]
    pub(super) fn of_packument(path: &str) -> Option<Self> {
        let path = plain(path);
        let (above, last) = path.rsplit_once('/')?;
        let scope = above.rsplit('/').next().filter(|part| part.starts_with('@'));
        scope.map_or_else(|| Self::parse(last), |scope| Self::parse(&format!("{scope}/{last}")))
    }

    #[must_use]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its scope.
    #[must_use]
    pub(super) fn base(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path of its packument, as npm asks for it and in its canonical spelling.
    #[must_use]
    pub(super) fn packument(&self) -> String {
        format!("/{}", self.0.replace('/', "%2F"))
    }

    /// The path of a version's tarball, without a `/` at its beginning: the conventional one.
    #[must_use]
    pub(super) fn tarball(&self, version: &str) -> String {
        let mut escaped = String::with_capacity(version.len());
        for byte in version.bytes() {
            let c = char::from(byte);
            if c.is_ascii_alphanumeric() || "-._~+".contains(c) {
                escaped.push(c);
            } else {
                escaped.extend(escape(byte));
            }
        }
        format!("{}/-/{}-{escaped}.tgz", self.0, self.base())
    }
}

/// The canonical path, with the `@` and the `/` of a scope as themselves.
#[must_use]
pub(super) fn plain(path: &str) -> String {
    let path = canonical(path).replace("%40", "@");
    if path.contains('@') { path.replace("%2F", "/") } else { path }
}

fn is_part(part: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!'()*".contains(&byte);
    !matches!(part, "" | "." | "..") && part.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_from_any_spelling() {
        for path in ["/@s%2fn", "/@s%2Fn", "/@s/n", "/%40s%2fn", "/registry/npm/@s/n"] {
            assert_eq!(Name::of_packument(path).unwrap().as_str(), "@s/n", "{path}");
        }
        assert_eq!(Name::of_packument("/npm/left-pad").unwrap().as_str(), "left-pad");
        assert_eq!(Name::parse("@s/n").unwrap().packument(), "/@s%2Fn");
        assert_eq!(Name::parse("@s/.n").unwrap().base(), ".n");
    }

    #[test]
    fn what_leads_elsewhere_is_not_a_name() {
        let wrong =
            ["", "..", ".a", "a/b", "@/a", "@s/", "@s/..", "@s/a/b", "a b", "a\n", "a%2Fb", "ä", "@s"];
        for text in wrong {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
        assert_eq!(Name::parse(&"a".repeat(215)), None);
    }

    #[test]
    fn tarballs_have_their_conventional_path() {
        assert_eq!(Name::parse("@s/n").unwrap().tarball("1.0.0-rc.1"), "@s/n/-/n-1.0.0-rc.1.tgz");
        assert_eq!(Name::parse("n").unwrap().tarball("../\n+é"), "n/-/n-..%2F%0A+%C3%A9.tgz");
    }
}
