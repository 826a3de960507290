//! Archives of releases: what a file beside each says that it hashes to; manifests of channels, and
//! their checksums.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, RANGE};
use storekit::{Checksum, Level};

use crate::cache::{self, Cache};
use crate::ecosystem::archives::{self, SUM, SUMS};
use crate::ecosystem::ruling::Expected;
use crate::ecosystem::{Asked, Class};
use crate::fetch::ask_for_the_bytes;
use crate::index::document::{self, Document};
use crate::index::ruled::{Known, Plan, as_class, at, pinned, ruled, whole};
use crate::proxy::lookup::Lookup;
use crate::wire::peer::Peer;

/// So long after it came a client gets the manifest whose checksum it was given: 5 min.
const SOON: i64 = 300;

pub(super) async fn plan(cache: &Arc<Cache>, mut lookup: Lookup, asked: &Asked, client: Peer) -> Plan {
    let range = lookup.headers.get(RANGE).cloned();
    ask_for_the_bytes(&mut lookup.headers);
    lookup.headers.extend(range.map(|range| (RANGE, range)));
    match asked.class {
        Class::Artifact => archive(cache, lookup).await,
        Class::Index if archives::is_manifest(&lookup.target.below) => manifest(cache, lookup, client).await,
        Class::Index => match archives::manifest_of(&lookup.target.below).map(str::to_owned) {
            Some(path) => sum_of_manifest(cache, lookup, &path, client).await,
            None => Plan::Lookup(Box::new(as_class(lookup, Class::Index))),
        },
        class => Plan::Lookup(Box::new(as_class(lookup, class))),
    }
}

/// The manifest whose checksum the client was given a moment ago, else as it is now.
async fn manifest(cache: &Arc<Cache>, lookup: Lookup, client: Peer) -> Plan {
    let asking = whole(&ruled(lookup.clone(), Known::Index));
    let is_new = |document: &Document| cache::now() - document.answer.times.received <= SOON;
    if let Some(digest) = cache.index.given.of(client, &asking.key.url)
        && let Some(document) = document::stored_as(cache, &asking, &digest).await.filter(is_new)
    {
        return document::whole(&lookup, &document);
    }
    match document::current(cache, &asking).await {
        Ok(document) => document::whole(&lookup, &document),
        Err(refused) => refused,
    }
}

/// The checksum of the manifest as it is here: what the server says of its own, a moment later or
/// earlier, may be of another.
async fn sum_of_manifest(cache: &Arc<Cache>, lookup: Lookup, path: &str, client: Peer) -> Plan {
    let Some(asking) = at(&whole(&lookup), path).map(|asking| ruled(asking, Known::Index)) else {
        return Plan::Lookup(Box::new(as_class(lookup, Class::Index)));
    };
    let document = match document::current(cache, &asking).await {
        Ok(document) => document,
        Err(refused) => return refused,
    };
    cache.index.given.give(client, &asking.key.url, document.digest);
    let name = path.rsplit('/').next().unwrap_or_default();
    let (line, text) =
        (format!("{}  {name}\n", document.digest.hex()), HeaderValue::from_static("text/plain"));
    let fields = std::iter::once((CONTENT_TYPE, text)).collect();
    let write =
        move |_: &mut dyn std::io::Read, to: &mut dyn std::io::Write| Ok(to.write_all(line.as_bytes())?);
    let written = document::render_with(cache, &lookup, &document, SUM, ("text/plain", fields), write).await;
    written.unwrap_or_else(|error| document::bad(cache, &asking, &document, &error))
}

/// An archive: what a file beside it says of it.
async fn archive(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let path = lookup.target.below.clone();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let is_stored = cache.shelf.find(&lookup.key).is_some();
    for beside in [format!("{path}{SUM}"), format!("{folder}/{SUMS}")] {
        // What is stored without one is not asked about again.
        if let Some(checksum) = sum(cache, &lookup, &beside, name, is_stored).await {
            let expected = Expected { checksum, size: None };
            return Plan::Lookup(Box::new(ruled(lookup, Known::File(Level::Indexed, Some(expected)))));
        }
    }
    pinned(lookup, "no file beside it says its SHA-256")
}

async fn sum(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    path: &str,
    name: &str,
    is_stored: bool,
) -> Option<Checksum> {
    let asking = ruled(at(&whole(lookup), path)?, Known::File(Level::Pinned, None));
    let document = match document::stored(cache, &asking).await {
        Some(document) => document,
        None if is_stored => return None,
        None => document::current(cache, &asking).await.ok()?,
    };
    let name = percent_decoded(name);
    let read = move |read: &mut dyn std::io::Read| archives::sum_of(&name, read);
    match document::read(&document, read).await {
        Ok(found) => found,
        Err(error) => {
            document::bad(cache, &asking, &document, &error);
            None
        }
    }
}

/// The name as lists write it.
fn percent_decoded(name: &str) -> String {
    name.replace("%2B", "+").replace("%2b", "+")
}
