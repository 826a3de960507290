//! Image names, such as `app:latest` or `registry.example:5000/team/app:1.2`.
//!
//! Source: the reference grammar of the distribution project, without digests.

use crate::error::{Error, Result};

pub use storekit::image_name::familiar;

/// Checks a name, and adds `:latest` where it has no tag, as engines do.
///
/// # Errors
/// [`Error::BadName`].
pub fn complete(text: &str) -> Result<String> {
    let bad = |reason| Error::BadName { text: text.chars().take(300).collect(), reason };
    if text.contains('@') {
        return Err(bad("a name for a stored image has no digest"));
    }
    let (path, tag) = split(text);
    let tag = tag.unwrap_or("latest");
    if tag.parse::<storekit::Key>().is_err() {
        return Err(bad("its tag has characters that no tag may have"));
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.len() > 1 && parts.first().is_some_and(|first| is_host(first)) {
        parts.remove(0);
    }
    if path.len() > 255 || !parts.iter().all(|part| is_component(part)) {
        return Err(bad(
            "each part of its path is lower-case letters and digits, with `.`, `_` or `-` between",
        ));
    }
    Ok(format!("{path}:{tag}"))
}

/// The name without its tag, and the tag.
#[must_use]
pub fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        // The colon before a registry's port does not begin a tag.
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    }
}

/// Sorts names from outside into those that engines take, each with its tag, and the rest.
#[must_use]
pub fn sorted_out(names: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for name in names {
        match complete(name) {
            Ok(name) if !good.contains(&name) => good.push(name),
            Ok(_) => {}
            Err(_) => bad.push(name.clone()),
        }
    }
    (good, bad)
}

/// The name with its registry, as containerd and podman know it: docker's own is understood where
/// there is none.
#[must_use]
pub fn whole(name: &str) -> String {
    let short = familiar(name);
    match has_registry(short) {
        true => short.to_owned(),
        false if short.contains('/') => format!("docker.io/{short}"),
        false => format!("docker.io/library/{short}"),
    }
}

/// Whether the name says which registry it is of.
#[must_use]
pub fn has_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| is_host(first))
}

fn is_host(part: &str) -> bool {
    let host = part.split_once(':').map_or(part, |(host, _)| host);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (part.contains(['.', ':']) || part == "localhost") && host.split('.').all(label)
}

/// Words of letters and digits, with `.`, `_`, `__` or any number of `-` between.
fn is_component(part: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |gap: &str| matches!(gap, "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-');
    part.starts_with(word) && part.ends_with(word) && part.split(word).all(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str) {
        assert!(complete(text).is_err(), "{text} was accepted");
    }

    #[test]
    fn names_get_a_tag() {
        for (text, whole) in [
            ("app", "app:latest"),
            ("app:1", "app:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("Registry.example/a_b/c-d:V1", "Registry.example/a_b/c-d:V1"),
            ("a__b/c---d.e", "a__b/c---d.e:latest"),
        ] {
            assert_eq!(complete(text).unwrap(), whole);
        }
    }

    #[test]
    fn names_have_a_short_and_a_whole_form() {
        for (short, whole) in [
            ("app:1", "docker.io/library/app:1"),
            ("team/app:1", "docker.io/team/app:1"),
            ("localhost/app:1", "localhost/app:1"),
            ("registry:5000/a/b:1", "registry:5000/a/b:1"),
        ] {
            assert_eq!((super::whole(short).as_str(), familiar(whole)), (whole, short));
        }
        for text in ["docker.io/app:1", "index.docker.io/library/app:1"] {
            assert_eq!(super::whole(text), "docker.io/library/app:1");
        }
    }

    #[test]
    fn what_no_engine_takes_is_refused() {
        let long = "a".repeat(300);
        for text in [
            "",
            ":",
            "App",
            "a//b",
            "a b",
            "-a",
            "a:",
            "a:b c",
            "a@sha256:00",
            "../a",
            "/a",
            "a..b",
            "a._b",
            "--help",
            &long,
        ] {
            refused(text);
        }
    }
}
