//! Files that are known by what they have in them.

use std::io::BufReader;
use std::sync::Arc;

use http::StatusCode;
use storekit::{Digest, Level};
use tokio::task::spawn_blocking;

use crate::cache::Cache;
use crate::ecosystem::contents::Contents;
use crate::ecosystem::ruling::{Expected, Freshness};
use crate::index::ruled::{Known, Plan, ruled};
use crate::proxy::lookup::Lookup;
use crate::store::FoundBody;
use crate::store::positioned::Positioned;

/// The lookup of a file that has to have this in it. What is stored of it is looked at, once, and
/// from then on known by its bytes.
pub(super) async fn plan(
    cache: &Arc<Cache>,
    lookup: Lookup,
    level: Level,
    contents: Contents,
    size: Option<u64>,
) -> Plan {
    if let Some(digest) = stored(cache, &lookup, contents).await {
        let expected = Some(Expected { checksum: digest.into(), size: None });
        return Plan::Lookup(Box::new(ruled(lookup, Known::File(level, expected))));
    }
    let mut lookup = ruled(lookup, Known::File(level, None));
    lookup.ruling.freshness = Freshness::Forever;
    lookup.ruling.unvouched = None;
    lookup.ruling.contents = Some(contents);
    lookup.ruling.size = size;
    Plan::Lookup(Box::new(lookup))
}

/// What is stored of it and has that in it.
async fn stored(cache: &Arc<Cache>, lookup: &Lookup, contents: Contents) -> Option<Digest> {
    let known = cache.shelf.find(&lookup.key)?;
    for found in known.responses.iter().filter(|it| it.answer.status == StatusCode::OK) {
        let digest = found.stored.digest;
        if has(cache, digest, contents).await {
            return Some(digest);
        }
    }
    None
}

async fn has(cache: &Arc<Cache>, digest: Digest, contents: Contents) -> bool {
    if let Some(known) = cache.index.contents.get(digest, contents) {
        return known;
    }
    let Ok(FoundBody::Sound(file)) = cache.shelf.body(&digest).await else { return false };
    let looking = move || contents.check(&mut BufReader::new(Positioned::new(file))).is_ok();
    // Where this machine could not look, it is not known.
    let Ok(has) = spawn_blocking(looking).await else { return false };
    cache.index.contents.keep(digest, contents, has);
    has
}
