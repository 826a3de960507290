//! References to images in registries, such as `registry.example:5000/team/app:1.2` or
//! `debian@sha256:…`.
//!
//! Pure: asks no registry, reads no file.
//!
//! Source: the reference grammar of the distribution project; what docker makes of a name without a
//! registry.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::{Digest, Key, printable};

/// The registry of names that have none.
pub const DOCKER_HUB: &str = "docker.io";
/// What a name gets that has neither a tag nor a digest.
const LATEST: &str = "latest";
/// No repository's path is longer.
const LONGEST: usize = 255;

/// Text that is not a reference to an image.
#[derive(Clone, Debug, PartialEq, Eq, Error, miette::Diagnostic)]
#[error("`{}` is not a reference to an image: {reason}", printable(.text))]
#[diagnostic(
    code(storekit::not_a_reference),
    help("write NAME, HOST/NAME:TAG or HOST/NAME@sha256:…, such as `registry.example/team/app:1`")
)]
pub struct NotAReference {
    text: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

/// An image in a registry. It always has a registry and a repository, and a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, with a port where one is named: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, such as `library/debian`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; there is one unless there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where it is named. It goes before the tag.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, else the tag.
    #[must_use]
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| LATEST.to_owned()),
        }
    }

    /// Another tag of the same repository.
    #[must_use]
    pub fn at_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// The name as docker shows it, without a digest: `debian:12`, `registry.example/team/app:1`.
    /// `None` without a tag.
    #[must_use]
    pub fn familiar(&self) -> Option<String> {
        let tag = self.tag.as_ref()?;
        if self.registry != DOCKER_HUB {
            return Some(format!("{}/{}:{tag}", self.registry, self.repository));
        }
        let path = &self.repository;
        let short = path.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(path);
        Some(format!("{short}:{tag}"))
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let bad = |reason| NotAReference { text: text.chars().take(300).collect(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| bad("what follows `@` is not a sha256 digest"))?))
            }
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            // The colon before a registry's port does not begin a tag.
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| tag.parse::<Key>().is_err()) {
            return Err(bad("its tag has characters that no tag may have, or is too long"));
        }
        let (registry, repository) = split(path);
        if !is_registry(&registry) {
            return Err(bad("its first part is not a valid host name"));
        }
        if repository.len() > LONGEST || !repository.split('/').all(is_component) {
            return Err(bad(
                "the parts of its path are lower-case letters and digits, with `.`, `_` or `-` between",
            ));
        }
        let latest = || digest.is_none().then(|| LATEST.to_owned());
        Ok(Self { registry, repository, tag: tag.map(str::to_owned).or_else(latest), digest })
    }
}

/// The registry and the path in it, as docker understands a name.
fn split(path: &str) -> (String, String) {
    let (registry, rest) = match path.split_once('/') {
        Some((first, rest)) if names_a_registry(first) => (host(first), rest),
        _ => (DOCKER_HUB.to_owned(), path),
    };
    let official = registry == DOCKER_HUB && !rest.contains('/');
    (registry, if official { format!("library/{rest}") } else { rest.to_owned() })
}

/// A registry's name in lower case. Of `HOST/app`, docker takes the capitals alone for the sign of
/// a registry: they stay.
fn host(registry: &str) -> String {
    match registry.to_ascii_lowercase() {
        lower if lower == "index.docker.io" => DOCKER_HUB.to_owned(),
        lower if names_a_registry(&lower) => lower,
        _ => registry.to_owned(),
    }
}

fn names_a_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= LONGEST && host.split('.').all(label) && port.is_none_or(is_port)
}

/// A port's number, from 1.
pub(crate) fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `[a-z0-9]+`, joined by one `.`, one or two `_`, or any number of `-`.
pub(crate) fn is_component(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| word(*byte));
    let joined = |between: &&[u8]| {
        matches!(*between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
    };
    let bytes = part.as_bytes();
    let between = || bytes.split(|byte| word(*byte));
    ends(bytes.first()) && ends(bytes.last()) && between().all(|between| joined(&between))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(text: &str, whole: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), whole);
        assert_eq!(whole.parse::<Reference>().unwrap(), reference, "{whole} reads differently");
    }

    #[track_caller]
    fn refused(text: &str) {
        assert!(text.parse::<Reference>().is_err(), "{text} was accepted");
    }

    #[test]
    fn names_without_a_registry_are_docker_hubs() {
        reads("app", "docker.io/library/app:latest");
        reads("app:1", "docker.io/library/app:1");
        reads("team/app", "docker.io/team/app:latest");
        reads("docker.io/app", "docker.io/library/app:latest");
        reads("index.docker.io/app:1", "docker.io/library/app:1");
        reads("Docker.IO/app", "docker.io/library/app:latest");
        reads("localhost1/app", "docker.io/localhost1/app:latest");
    }

    #[test]
    fn a_first_part_with_a_dot_or_a_port_is_a_registry() {
        reads("localhost/app", "localhost/app:latest");
        reads("localhost:5000/a/b:1", "localhost:5000/a/b:1");
        reads("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest");
        reads("[::1]:5000/a", "[::1]:5000/a:latest");
        reads("Registry.Example/a_b/c--d__e.f:V1", "registry.example/a_b/c--d__e.f:V1");
        reads("HOST/app", "HOST/app:latest");
        reads("LocalHost/app", "localhost/app:latest");
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = Digest::of(b"x");
        reads(&format!("app@{digest}"), &format!("docker.io/library/app@{digest}"));
        let both: Reference = format!("a.b/app:1@{digest}").parse().unwrap();
        assert_eq!(both.target(), digest.to_string());
        assert_eq!(both.familiar().unwrap(), "a.b/app:1");
    }

    #[test]
    fn names_are_familiar_to_docker() {
        for (text, short) in [
            ("docker.io/library/app:1", "app:1"),
            ("team/app", "team/app:latest"),
            ("library/a/b", "library/a/b:latest"),
            ("a.b/app", "a.b/app:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar().unwrap(), short);
        }
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        let long = "a".repeat(256);
        for text in [
            "",
            ":",
            "/",
            "a//b",
            "a/",
            "/a",
            "App",
            "a:",
            "a:b c",
            "a b",
            "a@",
            "a@sha256:00",
            "../a",
            "a/../b",
            "a..b",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "-a.b/c",
            "a.b:/c",
            "a.b:0/c",
            "a.b:99999/c",
            "a.b:+1/c",
            "[::g]/a",
            "[::1]x/a",
            "user@host/a",
            "a\n",
            "a?b",
            "a#b",
            "a%2fb",
            "é",
            "https://a.b/c",
            &long,
        ] {
            refused(text);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_reads_back_the_same(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let whole = reference.to_string();
                prop_assert_eq!(whole.parse::<Reference>().unwrap(), reference.clone());
                let path = reference.repository();
                prop_assert!(!path.contains("..") && !path.starts_with('/') && !path.ends_with('/'));
                if let Some(short) = reference.familiar().filter(|_| reference.digest().is_none()) {
                    prop_assert_eq!(short.parse::<Reference>().unwrap(), reference);
                }
            }
        }

        #[test]
        fn nothing_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<Reference>();
        }
    }
}
