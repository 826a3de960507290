//! A repository's tags: listed, and removed.
//!
//! A list is bounded, whatever the registry goes on sending.
//!
//! Source: OCI distribution-spec v1.1, "Listing Tags", "Deleting Tags", "Deleting Manifests".

use std::collections::BTreeSet;

use serde::Deserialize;
use storekit::oci::null_is_empty;
use ureq::http::Method;

use super::client::Client;
use super::retry::{Failure, retrying};
use super::transport::{Answer, Request};
use super::url::Url;
use crate::error::Result;

/// So many tags are asked for at once, and no page is larger.
const PAGE: usize = 1000;
const PAGE_CAP: u64 = 4 << 20;
/// No repository has more tags.
const MOST: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "null_is_empty")]
    tags: Vec<String>,
}

/// What became of something that was to be deleted.
#[derive(Debug)]
pub(crate) enum Deletion {
    /// It is not there any more.
    Done,
    /// The registry does not delete in this way; in its own words.
    Refused(String),
}

impl Client {
    /// The tags of the repository, sorted; none where there is no such repository.
    ///
    /// # Errors
    /// As [`Client::resolve`]; a list without an end.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let mut next = Some(self.url(&format!("tags/list?n={PAGE}")));
        let mut tags = BTreeSet::new();
        while let Some(url) = next.take() {
            let Some((page, follows)) = retrying(self.patience, || self.page(&url))? else { break };
            let before = tags.len();
            tags.extend(page.tags);
            // A page that brings nothing new would come for ever.
            if follows.is_some() && (tags.len() == before || tags.len() > MOST) {
                return Err(self.untrue("its list of tags does not end".to_owned()).into());
            }
            next = follows;
        }
        Ok(tags.into_iter().collect())
    }

    fn page(&self, url: &Url) -> Result<Option<(Page, Option<Url>)>, Failure> {
        let answer = self.call(Request::new(Method::GET, url.clone()), self.scope())?;
        match answer.status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refusal(answer, "GET the tags of", "")),
        }
        let follows = next_page(&answer, url);
        let bytes = answer.read(PAGE_CAP)?;
        let page = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let odd = || self.untrue("its list of tags cannot be understood".to_owned());
        Ok(Some((page.ok_or_else(odd)?, follows)))
    }

    /// Deletes a tag, or the manifest of a digest with all its tags.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub(crate) fn delete(&self, target: &str) -> Result<Deletion> {
        retrying(self.patience, || {
            let answer = self.call(self.request(Method::DELETE, "manifests", target, None), self.scope())?;
            match answer.status {
                200..300 | 404 => Ok(Deletion::Done),
                400 | 405 | 415 | 501 => Ok(Deletion::Refused(answer.said())),
                _ => Err(self.refusal(answer, "DELETE", target)),
            }
        })
    }
}

/// Where the list goes on.
fn next_page(answer: &Answer, from: &Url) -> Option<Url> {
    let next = answer.headers("link").flat_map(|header| header.split(',')).find_map(|link| {
        let (target, words) = link.trim().strip_prefix('<')?.split_once('>')?;
        words.split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next")).then_some(target)
    });
    from.join(next?)
}
