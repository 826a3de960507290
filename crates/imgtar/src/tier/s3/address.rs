//! Where a bucket is: `https://s3.example/bucket/prefix`.
//!
//! Pure. Nothing in it needs an escape, and no part of it leads upward.

use std::fmt;

use crate::registry::url::{Origin, Url};

/// A bucket, and what the names of its objects begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) origin: Origin,
    pub(crate) bucket: String,
    /// Empty, or with a `/` at its end.
    pub(crate) prefix: String,
}

/// The longest name of a bucket, and the longest prefix, in bytes.
const LONGEST: usize = 255;
const LONGEST_PREFIX: usize = 512;

impl Address {
    /// Reads an address; why not, where that is not one.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let is_bare = !text.contains(['?', '#']);
        let url =
            Url::parse(text).filter(|_| is_bare).ok_or("it is not a URL such as `https://HOST/BUCKET`")?;
        let mut parts = url.path().trim_matches('/').split('/');
        let bucket = parts.next().unwrap_or_default();
        if !is_part(bucket) || bucket.len() > LONGEST {
            return Err("it names no bucket");
        }
        let prefix: Vec<_> = parts.collect();
        if !prefix.iter().all(|part| is_part(part)) || prefix.join("/").len() > LONGEST_PREFIX {
            return Err(
                "its prefix has an empty part, or characters other than letters, digits, `.`, `_`, `-` and `~`",
            );
        }
        let slash = if prefix.is_empty() { "" } else { "/" };
        let prefix = format!("{}{slash}", prefix.join("/"));
        Ok(Self { origin: url.origin().clone(), bucket: bucket.to_owned(), prefix })
    }

    /// The server's address, without the bucket.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.origin.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.origin.authority())
    }
}

fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte);
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        write!(f, "{}/{}{slash}{prefix}", self.endpoint(), self.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, bucket, prefix) in [
            ("https://s3.example/larder", "larder", ""),
            ("https://s3.example:9000/larder/team/a/", "larder", "team/a/"),
            ("http://127.0.0.1:3900/a.b/c_d-e~f", "a.b", "c_d-e~f/"),
            ("https://[::1]:9000/larder", "larder", ""),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (bucket, prefix));
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for text in [
            "s3.example/larder",
            "https://s3.example",
            "https://s3.example/",
            "https://s3.example/../larder",
            "https://s3.example/larder/../other",
            "https://s3.example/larder//a",
            "https://s3.example/larder?acl",
            "https://s3.example/larder#a",
            "https://s3.example/lar%64er",
            "https://user:secret@s3.example/larder",
            "ftp://s3.example/larder",
        ] {
            assert!(Address::parse(text).is_err(), "{text} was accepted");
        }
    }
}
