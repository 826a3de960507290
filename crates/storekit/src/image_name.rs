//! Names of images, as engines write them and read them.
//!
//! Pure. Limit: what a user's registries.conf says of short names is not looked at.

use std::borrow::Cow;

use crate::reference::{is_component, is_port};

/// The longest name, without its tag, that engines take.
const LONGEST: usize = 255;

/// Whether engines take the text as a name with an optional tag, by the grammar that docker and
/// podman share.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let (name, tag) = split(text);
    let (host, path) = host_and_path(name);
    name.len() <= LONGEST
        && tag.is_none_or(is_tag)
        && host.is_none_or(is_host)
        && path.split('/').all(is_component)
}

/// The name in full, as docker means it: `docker.io/library/app:latest` for `app`.
#[must_use]
pub fn full(name: &str) -> String {
    complete(name, "docker.io/")
}

/// The name as docker shows it: `app:1` for `docker.io/library/app:1`.
#[must_use]
pub fn familiar(name: &str) -> &str {
    let hub = name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("index.docker.io/"));
    let short = hub.unwrap_or(name);
    short.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(short)
}

/// All spellings in which a pattern may mean the name: as it is written, as docker shows it, and in
/// full.
pub fn spellings(name: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let full = is_name(name).then(|| Cow::Owned(full(name)));
    [Cow::Borrowed(name), Cow::Borrowed(familiar(name))].into_iter().chain(full)
}

/// A form that two names share where any engine may take them for one: podman knows `app` as
/// `localhost/app`.
#[must_use]
pub fn any_engines(name: &str) -> String {
    full(name.strip_prefix("localhost/").unwrap_or(name))
}

/// The name without its tag and its digest: `host:5000/team/app` for `host:5000/team/app:1`.
#[must_use]
pub fn without_tag(name: &str) -> &str {
    split(name.split_once('@').map_or(name, |(name, _)| name)).0
}

/// Whether a digest in a registry (`host/app@sha256:…`) is of the repository that the name is in.
#[must_use]
pub fn is_digest_of(digest: &str, name: &str) -> bool {
    let repository = |name: &str| split(&full(name)).0.to_owned();
    digest.split_once('@').is_some_and(|(digests, _)| repository(digests) == repository(name))
}

/// Whether the text is a digest by which registries know images: `sha256:` or `sha512:` and its hex
/// digits (OCI image specification, descriptor.md, "Registered algorithms").
#[must_use]
pub fn is_digest(text: &str) -> bool {
    let is_hex = |hex: &str| hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match text.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
        Some(("sha512", hex)) => hex.len() == 128 && is_hex(hex),
        _ => false,
    }
}

/// The name in full, with this host (`localhost/`) where it has none.
#[must_use]
pub fn complete(name: &str, host_of_short: &str) -> String {
    let (name, tag) = split(name);
    let (host, path) = match host_and_path(name) {
        (None, path) => (host_of_short.to_owned(), path),
        (Some("index.docker.io"), path) => ("docker.io/".to_owned(), path),
        (Some(host), path) => (format!("{host}/"), path),
    };
    let library = if host == "docker.io/" && !path.contains('/') { "library/" } else { "" };
    format!("{host}{library}{path}:{}", tag.unwrap_or("latest"))
}

/// The name and its tag.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// A registry's host, where the first part is one, and the rest.
fn host_and_path(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" || has_capitals(host) => {
            (Some(host), path)
        }
        _ => (None, name),
    }
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_its_tag_keeps_its_host_and_port() {
        for (name, expected) in [
            ("app", "app"),
            ("app:1.0", "app"),
            ("host:5000/app", "host:5000/app"),
            ("host:5000/team/app:v1", "host:5000/team/app"),
            ("app@sha256:00", "app"),
            ("app:1@sha256:00", "app"),
            ("", ""),
            (":1", ""),
        ] {
            assert_eq!(without_tag(name), expected, "{name}");
        }
    }

    #[test]
    fn names_that_engines_know_are_taken() {
        let names = [
            "app",
            "app:1.0-Beta",
            "host:5000/team/app",
            "host:5000/team/app:v1",
            "host:65535/app",
            "a__b/c-d.e---f:_x",
            "localhost/app",
            "Host/app",
            "1",
        ];
        for name in names {
            assert!(is_name(name), "{name} was refused");
        }
    }

    #[test]
    fn names_that_engines_refuse_are_refused() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "b".repeat(129));
        let names = [
            "",
            "-x",
            "a b",
            "App",
            "a:",
            "a/:b",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "a-",
            ".a",
            "a:-x",
            "a:b:c",
            "a@sha256:00",
            "h:x/a",
            "h:/a",
            "h:0/a",
            "h:65536/a",
            "h:+80/a",
            "-h.x/a",
            "a/B",
            "${X}",
            &long,
            &tag,
        ];
        for name in names {
            assert!(!is_name(name), "{name} was taken");
        }
    }

    #[test]
    fn a_name_without_host_or_tag_is_completed() {
        let latest = "docker.io/library/app:latest";
        for name in
            ["app", "app:latest", "library/app", "docker.io/app", "index.docker.io/library/app:latest"]
        {
            assert_eq!(full(name), latest, "{name}");
        }
        let others = ["host:5000/app", "localhost/app", "team/app:1"].map(full);
        assert_eq!(others, ["host:5000/app:latest", "localhost/app:latest", "docker.io/team/app:1"]);
    }

    #[test]
    fn a_name_is_spelt_as_docker_shows_it_and_in_full() {
        let of = |name| spellings(name).map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(
            of("docker.io/library/app:1"),
            ["docker.io/library/app:1", "app:1", "docker.io/library/app:1"]
        );
        assert_eq!(of("app:1"), ["app:1", "app:1", "docker.io/library/app:1"]);
        assert_eq!(of("no name"), ["no name", "no name"]);
        for (name, short) in [
            ("index.docker.io/library/app:1", "app:1"),
            ("docker.io/team/app", "team/app"),
            ("library/a/b", "library/a/b"),
            ("localhost/app:1", "localhost/app:1"),
            ("registry:5000/a/b:1", "registry:5000/a/b:1"),
        ] {
            assert_eq!(familiar(name), short);
        }
    }

    #[test]
    fn one_image_has_a_name_in_each_engine() {
        for name in ["app", "app:latest", "localhost/app", "localhost/app:latest", "docker.io/library/app"] {
            assert_eq!(any_engines(name), "docker.io/library/app:latest", "{name}");
        }
        assert_ne!(any_engines("localhost:5000/app"), any_engines("app"));
    }
}
