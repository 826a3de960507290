//! The tags of a repository: which there are, what one of them says of itself, and more of them for
//! an image that is there.
//!
//! Source: OCI distribution-spec v1.1, "Listing Tags"; RFC 8288 for `Link`.

use ureq::http::Method;

use super::client::{Client, Purpose};
use super::config::Config;
use super::push::KEY;
use super::retry::retrying;
use super::transport::Request;
use crate::error::Result;
use crate::error::registry::Error;
use crate::error::registry::tame;
use storekit::Reference;

/// The most tags that are listed, and the most bytes of one page of them.
const TAGS: usize = 200_000;
const PAGE: u64 = 16 << 20;

#[derive(serde::Deserialize)]
struct Page {
    // Go writes `null` for an empty list.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// All tags of the reference's repository, sorted; its own tag does not matter. `None` where there
/// is no such repository.
///
/// # Errors
/// As [`Client::resolve`]; a list that cannot be understood, or has no end.
pub fn tags(config: &Config, reference: &Reference) -> Result<Option<Vec<String>>> {
    let client = Client::new(config, reference, Purpose::Pull)?;
    let mut url = client.url("tags/list?n=1000");
    let mut tags = Vec::new();
    loop {
        let found = retrying(config.patience, || {
            let answer = client.call(Request::new(Method::GET, url.clone()), client.scope())?;
            match answer.status {
                200 => {}
                404 => return Ok(None),
                _ => return Err(client.refusal(answer, "GET", "tags/list")),
            }
            let next = answer.header("link").and_then(next).and_then(|next| answer.url.join(&next));
            let bytes = answer.read(PAGE)?;
            let bytes = bytes.ok_or_else(|| client.untrue("its list of tags is too large".to_owned()))?;
            Ok(Some((next, bytes)))
        })?;
        let Some((next, bytes)) = found else { return Ok(None) };
        let odd = |error| client.untrue(format!("its list of tags cannot be understood: {error}"));
        let page: Page = serde_json::from_slice(&bytes).map_err(odd)?;
        let page = page.tags.unwrap_or_default();
        let is_over = page.is_empty();
        tags.extend(page);
        if tags.len() > TAGS {
            return Err(client.untrue(format!("its list of tags has more than {TAGS}")).into());
        }
        match next.filter(|next| !is_over && *next != url) {
            Some(next) => url = next,
            None => break,
        }
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(Some(tags))
}

/// The address of a `Link` with `rel="next"`.
fn next(link: &str) -> Option<String> {
    let is_next = |part: &&str| part.contains("rel=\"next\"") || part.contains("rel=next");
    let part = link.split(',').find(is_next)?;
    let (_, rest) = part.split_once('<')?;
    rest.split_once('>').map(|(address, _)| address.to_owned())
}

/// Gives what stands under the reference these further tags, of the same repository; no blob moves.
/// `false` where there is no such image.
///
/// # Errors
/// As [`Client::resolve`]; a name of another repository; one with a digest.
pub fn retag(config: &Config, reference: &Reference, names: &[Reference]) -> Result<bool> {
    for name in names {
        if name.digest().is_some() {
            return Err(Error::ToDigest { reference: name.to_string() }.into());
        }
        let place = |of: &Reference| (of.registry().to_owned(), of.repository().to_owned());
        if place(name) != place(reference) {
            let (reference, name) = (reference.to_string(), name.to_string());
            return Err(Error::Elsewhere { reference, name }.into());
        }
    }
    let client = Client::new(config, reference, Purpose::Push)?;
    let Some(root) = client.manifest(&reference.target(), None)? else { return Ok(false) };
    let put = |name: &Reference| client.put_manifest(&name.target(), &root.descriptor, &root.bytes);
    names.iter().try_for_each(put).map(|()| true)
}

/// By what key the image under the reference is known, as it says itself. `None` where there is no
/// such image; an empty text where it says nothing.
///
/// # Errors
/// As [`Client::resolve`].
pub fn key(config: &Config, reference: &Reference) -> Result<Option<String>> {
    let client = Client::new(config, reference, Purpose::Pull)?;
    let Some(root) = client.manifest(&reference.target(), None)? else { return Ok(None) };
    let odd = |error| client.untrue(format!("its document cannot be understood: {error}"));
    let document: serde_json::Value = serde_json::from_slice(&root.bytes).map_err(odd)?;
    let key = document.get("annotations").and_then(|notes| notes.get(KEY)).and_then(|key| key.as_str());
    Ok(Some(key.map(tame).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_that_of_the_link() {
        let link = "</v2/a/tags/list?n=2&last=b>; rel=\"next\"";
        assert_eq!(next(link).as_deref(), Some("/v2/a/tags/list?n=2&last=b"));
        assert_eq!(next("</x>; rel=\"prev\", </y>; rel=\"next\"").as_deref(), Some("/y"));
        for none in ["", "</x>", "</x>; rel=\"prev\"", "x; rel=\"next\""] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
