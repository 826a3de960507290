//! What the hub says of a file in the head of an answer.

use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue};
use storekit::Checksum;

use crate::ecosystem::ruling::Expected;

/// The commit that the file is of.
pub(crate) const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
/// What names the file's bytes where they lie elsewhere.
pub(crate) const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
/// Why there is no file.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("x-error-code");
const MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// What clients get of the fields, and what is kept. Cookies, the address of another server and
/// whatever leads to Xet are not among them.
const KEPT: [HeaderName; 8] =
    [REPO_COMMIT, ETAG, LINKED_ETAG, LINKED_SIZE, ERROR, MESSAGE, CONTENT_DISPOSITION, ACCEPT_RANGES];

/// The fields of an answer as clients get them: those of a file of this commit. `is_file` says
/// whether the answer is the file itself, and no word of where it lies.
#[must_use]
pub(crate) fn fields(headers: &HeaderMap, commit: &str, is_file: bool) -> HeaderMap {
    let of_the_file = [CONTENT_TYPE, CONTENT_LENGTH];
    let names = KEPT.into_iter().chain(of_the_file.into_iter().filter(|_| is_file));
    let kept = names.filter_map(|name| {
        let value = headers.get(&name)?.clone();
        Some((name, value))
    });
    let mut fields: HeaderMap = kept.collect();
    if !fields.contains_key(CONTENT_TYPE) {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    if let Ok(commit) = HeaderValue::from_str(commit) {
        fields.insert(REPO_COMMIT, commit);
    }
    fields
}

/// How many bytes the file has.
#[must_use]
pub(crate) fn size(fields: &HeaderMap) -> Option<u64> {
    let number = |name: HeaderName| fields.get(name)?.to_str().ok()?.trim().parse().ok();
    number(LINKED_SIZE).or_else(|| number(CONTENT_LENGTH))
}

/// What the file has to be; `None` where the hub names it by something else than a checksum.
#[must_use]
pub(crate) fn expected(fields: &HeaderMap) -> Option<Expected> {
    let tag = fields.get(LINKED_ETAG).or_else(|| fields.get(ETAG))?.to_str().ok()?.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    let size = size(fields);
    let checksum = match tag.len() {
        // Git's name of a file has its size in it.
        40 if size.is_some() => Checksum::from_git(tag)?,
        64 => Checksum::from_hex("sha256", tag)?,
        _ => return None,
    };
    Some(Expected { checksum, size })
}
