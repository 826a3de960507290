//! What a request is about: its path and its query, taken apart and checked. Touches no store.
//!
//! Every part is a type that only valid text makes, so that no path on disk is ever built from
//! anything else.
//!
//! Source: OCI distribution-spec v1.1, "Endpoints".

use std::fmt;
use std::str::FromStr;

use http::Method;
use storekit::{Digest, Key};

use crate::serve::fault::{Fault, Result};
use crate::serve::names::Repository;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Digest),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(Repository, UploadId),
}

/// A tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A tag, whose grammar is that of a key.
    Tag(Key),
    /// A digest.
    Digest(Digest),
}

/// The name of an upload: a UUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

impl FromStr for UploadId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
        if text.len() == 36 && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::upload_unknown())
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Route {
    /// Takes a path apart. What cannot be a tag or a digest of the store is not found; only a push
    /// to it is told what is wrong.
    ///
    /// # Errors
    /// Paths that are not of the API; names, tags and digests that are not valid.
    pub(crate) fn parse(path: &str, method: &Method) -> Result<Self> {
        let path = decode(path, false).ok_or_else(Fault::not_found)?;
        if path == "/v2" || path == "/v2/" {
            return Ok(Self::Base);
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(Fault::not_found)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        // From the right: a repository's own name may have parts called `blobs` or `tags`.
        match &rest.rsplitn(4, '/').collect::<Vec<_>>()[..] {
            ["list", "tags", ..] => Ok(Self::Tags(name(rest, 2)?)),
            [digest, "referrers", ..] => name(rest, 2).and(self::digest(digest)).map(Self::Referrers),
            [reference, "manifests", ..] => {
                Ok(Self::Manifest(name(rest, 2)?, self::reference(reference, method)?))
            }
            ["uploads", "blobs", ..] => Ok(Self::Uploads(name(rest, 2)?)),
            ["", "uploads", "blobs", ..] => Ok(Self::Uploads(name(rest, 3)?)),
            [id, "uploads", "blobs", ..] => Ok(Self::Upload(name(rest, 3)?, id.parse()?)),
            [digest, "blobs", ..] => Ok(Self::Blob(name(rest, 2)?, stored(digest)?)),
            _ => Err(Fault::not_found()),
        }
    }
}

/// The repository: all but the last parts.
fn name(path: &str, parts: usize) -> Result<Repository> {
    let name = path.rsplitn(parts + 1, '/').nth(parts).ok_or_else(Fault::not_found)?;
    name.parse()
}

/// A digest; SHA-256 is the one algorithm of the store.
pub(crate) fn digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|_| Fault::digest_invalid("a digest is `sha256:` and 64 lower-case hex digits"))
}

/// The digest of a blob that is asked for. The store has only digests of one algorithm.
fn stored(text: &str) -> Result<Digest> {
    text.parse().map_err(|_| Fault::blob_unknown(&text))
}

fn reference(text: &str, method: &Method) -> Result<Reference> {
    let reference = if text.contains(':') {
        digest(text).map(Reference::Digest)
    } else {
        text.parse().map(Reference::Tag).map_err(|_| Fault::tag_invalid(text))
    };
    let unknown = || Fault::manifest_unknown("this is neither a tag nor a digest");
    reference.map_err(|fault| if method == Method::PUT { fault } else { unknown() })
}

/// The fields of a query.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query apart; a field that is not UTF-8 is an error.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self> {
        let field = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        };
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let fields = pairs.map(field).collect::<Option<_>>();
        fields.map(Self).ok_or_else(|| Fault::bad_request("the query is not UTF-8"))
    }

    /// The field's first value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All values of the field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The digest in a field.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<Digest>> {
        self.get(name).map(digest).transpose()
    }
}

/// Decodes `%XX`, and `+` as a space in a query. `None` where the result is not UTF-8 or `%` stands
/// alone.
fn decode(text: &str, is_query: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if is_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn is(path: &str, expected: &Route) {
        assert_eq!(Route::parse(path, &Method::GET).unwrap(), *expected);
    }

    #[track_caller]
    fn refused(path: &str) {
        assert!(Route::parse(path, &Method::PUT).is_err(), "{path} was accepted");
    }

    #[test]
    fn paths_are_read_from_the_right() {
        let name = |text: &str| text.parse::<Repository>().unwrap();
        let tag = |text: &str| Reference::Tag(text.parse().unwrap());
        is("/v2/", &Route::Base);
        is("/v2/_catalog", &Route::Catalog);
        is("/v2/a/b/c/d/tags/list", &Route::Tags(name("a/b/c/d")));
        is("/v2/blobs/blobs/uploads/", &Route::Uploads(name("blobs")));
        is("/v2/a/blobs/uploads", &Route::Uploads(name("a")));
        is("/v2/tags/manifests/list", &Route::Manifest(name("tags"), tag("list")));
        is("/v2/manifests/manifests/manifests", &Route::Manifest(name("manifests"), tag("manifests")));
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        is(&format!("/v2/a/blobs/sha256%3A{HEX}"), &Route::Blob(name("a"), digest));
        is(&format!("/v2/a/manifests/sha256:{HEX}"), &Route::Manifest(name("a"), Reference::Digest(digest)));
        is(&format!("/v2/a/referrers/sha256:{HEX}"), &Route::Referrers(digest));
    }

    #[test]
    fn no_path_trick_passes() {
        for path in [
            "",
            "/",
            "/v1/",
            "/v2/a",
            "/v2//manifests/x",
            "/v2/manifests/x",
            "/v2/../manifests/x",
            "/v2/a/manifests/..",
            "/v2/a/manifests/.x",
            "/v2/a%2F..%2Fb/manifests/x",
            "/v2/a/manifests/a%2Fb",
            "/v2/a/manifests/%00",
            "/v2/a/blobs/sha256:../../etc/passwd",
            "/v2/a/blobs/sha256:00",
            "/v2/a/blobs/uploads/../x",
            "/v2/%zz/tags/list",
            "/v2/a/blobs/uploads/..",
            "/v2/a/manifests/",
            "/v2/A/tags/list",
            "/v2/a/manifests/x%",
            "/v2/_catalog/",
        ] {
            refused(path);
        }
        refused(&format!("/v2/a/blobs/sha512:{HEX}"));
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("digest=sha256%3aab&n=1&from=a%2Fb&x&y=a+b&n=2")).unwrap();
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.get("from"), Some("a/b"));
        assert_eq!((query.get("x"), query.get("y"), query.get("z")), (Some(""), Some("a b"), None));
        assert_eq!(query.all("n").collect::<Vec<_>>(), ["1", "2"]);
        assert!(Query::parse(Some("a=%ff")).is_err());
    }
}
