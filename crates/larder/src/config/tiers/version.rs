//! The version that a git tag names, and what of it is in the names of images.
//!
//! Source: Semantic Versioning 2.0.0. A pre-release has its full version alone, and a version has
//! three numbers, as docker/metadata-action's `type=semver` has it: read as PEP 440 (`type=pep440`)
//! has it, `v3` would be 3.0.0, and a registry's tag `20260102` would be the highest release.

use std::fmt;

use semver::Version as Semver;

/// A version: of two, the higher one is the greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Semver);

impl Version {
    /// The version of a git tag: `v1.2.3`, `1.2.3`, `app/v1.2.3`. `None` where it names none.
    #[must_use]
    pub fn of_git_tag(tag: &str) -> Option<Self> {
        let last = tag.rsplit('/').next()?;
        let digits = last.strip_prefix(['v', 'V']).unwrap_or(last);
        Semver::parse(digits).ok().map(Self)
    }

    /// The version that stands in an image's tag, where a build's metadata is behind a hyphen: what
    /// has some is taken for a pre-release.
    #[must_use]
    pub fn of_image_tag(text: &str) -> Option<Self> {
        Semver::parse(text).ok().map(Self)
    }

    /// Whether it comes before a release.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// `1.2`.
    #[must_use]
    pub fn minor(&self) -> String {
        format!("{}.{}", self.0.major, self.0.minor)
    }

    /// `1`.
    #[must_use]
    pub fn major(&self) -> String {
        self.0.major.to_string()
    }
}

/// In full. A tag has no `+`: a hyphen stands for it.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().replace('+', "-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_tag_names_a_version() {
        for (tag, version) in [
            ("v1.2.3", Some("1.2.3")),
            ("1.2.3", Some("1.2.3")),
            ("V1.2.3", Some("1.2.3")),
            ("app/v0.1.0", Some("0.1.0")),
            ("v2.0.8-beta.67", Some("2.0.8-beta.67")),
            ("v1.2.3+build.5", Some("1.2.3-build.5")),
            ("v1.2", None),
            ("v3", None),
            ("release-5.0.0", None),
            ("v1.2.3.4", None),
            ("v01.2.3", None),
            ("nightly", None),
            ("app-v1.2.3", None),
            ("", None),
        ] {
            assert_eq!(Version::of_git_tag(tag).map(|it| it.to_string()).as_deref(), version, "{tag}");
        }
    }

    #[test]
    fn versions_are_not_compared_as_texts() {
        let version = |text| Version::of_git_tag(text).expect("a version");
        assert!(version("1.10.0") > version("1.9.9"));
        assert!(version("1.0.0") > version("1.0.0-rc.9"));
        assert!(version("1.0.0-rc.10") > version("1.0.0-rc.9"));
        assert!(!version("1.0.0+a").is_prerelease());
    }
}
