//! Buckets of object stores that speak S3, as far as all tools have to agree: where one is, and
//! which account the environment names.
//!
//! Deliberately absent: connections and signatures, which each tool has with its own transport;
//! sources of credentials other than the environment; names of buckets in the host's place.

use std::fmt;

use miette::Diagnostic;
use thiserror::Error;

use crate::Environment;
use crate::net::Origin;

/// A bucket, and what the names of its objects begin with: `https://s3.example/bucket/prefix`.
/// Nothing in it needs an escape, and no part of it leads upward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub origin: Origin,
    /// The bucket's name.
    pub bucket: String,
    /// Empty, or with a `/` at its end.
    pub prefix: String,
}

/// The longest name of a bucket, and the longest prefix, in bytes.
const LONGEST: usize = 255;
const LONGEST_PREFIX: usize = 512;

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// Why it is not one.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let not_a_url = "it is not a URL such as `https://HOST/BUCKET`";
        let (scheme, rest) = text.split_once("://").ok_or(not_a_url)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(not_a_url),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let origin = Origin::parse(authority, tls).ok_or(not_a_url)?;
        let mut parts = path.trim_matches('/').split('/');
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
        Ok(Self { origin, bucket: bucket.to_owned(), prefix })
    }

    /// The server's address, without the bucket.
    #[must_use]
    pub fn endpoint(&self) -> String {
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

/// The region of an account that names none.
pub const REGION: &str = "us-east-1";

/// An account with an object store.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's key and its secret; requests are not signed without.
    pub secret: Option<Secret>,
    /// The region that requests are signed for.
    pub region: String,
}

/// What proves to be the account. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name of the key.
    pub key: String,
    /// The secret of the key.
    pub secret: String,
    /// The token that goes with a key for a time.
    pub token: Option<String>,
}

/// A key without its secret, or a secret without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Diagnostic)]
#[error("of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, one is set alone")]
#[diagnostic(code(toolkit::half_an_account), help("set both, or neither"))]
pub struct HalfAnAccount;

impl Account {
    /// The account that the environment names: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, and `AWS_REGION` or `AWS_DEFAULT_REGION`.
    ///
    /// # Errors
    /// [`HalfAnAccount`].
    pub fn of(environment: &Environment) -> Result<Self, HalfAnAccount> {
        let get = |name: &str| environment.get(name).map(str::to_owned);
        let secret = match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(key), Some(secret)) => Some(Secret { key, secret, token: get("AWS_SESSION_TOKEN") }),
            (None, None) => None,
            _ => return Err(HalfAnAccount),
        };
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
        Ok(Self { secret, region: region.unwrap_or_else(|| REGION.to_owned()) })
    }
}

impl Default for Account {
    fn default() -> Self {
        Self { secret: None, region: REGION.to_owned() }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_known = self.secret.is_some();
        f.debug_struct("Account").field("secret", &is_known).field("region", &self.region).finish()
    }
}

/// The text in the first element of this name in an answer, unescaped; `None` where there is none
/// without elements in it. The few elements that are read so have no attributes.
#[must_use]
pub fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    (!inner.contains('<')).then(|| unescaped(inner))
}

/// The text that stands in an XML document.
fn unescaped(text: &str) -> String {
    let signs =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'")];
    let plain = signs.iter().fold(text.to_owned(), |text, (escaped, sign)| text.replace(escaped, sign));
    plain.replace("&amp;", "&")
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
            "https://s3.example?/larder",
            "https://s3.example\\/larder",
            "https://user:secret@s3.example/larder",
            "ftp://s3.example/larder",
        ] {
            assert!(Address::parse(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn an_account_is_in_the_environment_or_half_of_one_is_refused() {
        let of = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Account::of(&Environment { variables: variables.collect(), ..Environment::default() })
        };
        assert_eq!(of(&[]), Ok(Account::default()));
        assert_eq!(of(&[("AWS_ACCESS_KEY_ID", "k")]), Err(HalfAnAccount));
        assert_eq!(of(&[("AWS_SECRET_ACCESS_KEY", "s")]), Err(HalfAnAccount));
        let account = of(&[
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_DEFAULT_REGION", "garage"),
        ]);
        let account = account.unwrap();
        assert_eq!(account.region, "garage");
        assert!(!format!("{account:?}").contains("hidden"));
    }

    #[test]
    fn elements_are_found_and_unescaped() {
        let text = "<R><UploadId>a&amp;lt;b</UploadId><Code/></R>";
        assert_eq!(element(text, "UploadId").as_deref(), Some("a&lt;b"));
        assert_eq!((element(text, "R"), element(text, "Code")), (None, None));
    }
}
