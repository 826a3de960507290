//! Image names, such as `app:latest` or `registry.example:5000/team/app:1.2`.
//!
//! Source: the reference grammar of the distribution project, without digests.

use crate::error::{Error, Result};

/// Checks a name, and adds `:latest` where it has no tag, as engines do.
///
/// # Errors
/// [`Error::BadName`].
pub fn complete(text: &str) -> Result<String> {
    let bad = |reason| Error::BadName { text: text.chars().take(300).collect(), reason };
    if text.contains('@') {
        return Err(bad("a name for a stored image has no digest"));
    }
    let (path, tag) = match text.rsplit_once(':') {
        // The colon of a registry's port is none before a tag.
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (text, "latest"),
    };
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

fn is_host(part: &str) -> bool {
    let host = part.split_once(':').map_or(part, |(host, _)| host);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (part.contains(['.', ':']) || part == "localhost") && host.split('.').all(label)
}

fn is_component(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| word(*byte));
    let bytes = part.as_bytes();
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| word(*byte) || b"._-".contains(byte))
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
        ] {
            assert_eq!(complete(text).unwrap(), whole);
        }
    }

    #[test]
    fn what_no_engine_takes_is_refused() {
        let long = "a".repeat(300);
        for text in ["", ":", "App", "a//b", "a b", "-a", "a:", "a:b c", "a@sha256:00", "../a", "/a", &long] {
            refused(text);
        }
    }
}
