//! A repomd.xml and the signature that belongs to it, of one generation.
//!
//! An upstream replaces one after the other, and a client asks for one after the other. So a
//! signature is given with the repomd.xml that it was fetched with: by the keyring, where there is
//! one, else since the upstream still had that repomd.xml when it had given the signature. Which
//! belong together is written down beside the signature.

use std::io::Read as _;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use storekit::{Digest, PackageKey, StoredResponse};

use super::{GENERATIONS, beside, generations};
use crate::cache::{self, Cache};
use crate::ecosystem::ruling::Freshness;
use crate::ecosystem::{BadIndex, dnf};
use crate::index::document::{self, Document};
use crate::index::ruled::{Plan, whole};
use crate::observe::meter;
use crate::proxy::lookup::Lookup;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::wire::peer::Peer;

/// No signature is larger: 1 MiB.
const SIGNATURE_MOST: u64 = (1 << 20) + 1;
/// An upstream that changes is asked so many times.
const TRIES: usize = 3;
/// By this a written down signature says which repomd.xml it belongs to.
const OF: &str = "larder-repomd";

/// A signature. The client gets the one that belongs to the repomd.xml that it was given.
pub(super) async fn signature(cache: &Arc<Cache>, lookup: Lookup, base: &str, client: Peer) -> Plan {
    let lookup = generations(lookup);
    let Some(asking) = beside(&lookup, &dnf::repomd_of(base)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let given = match cache.index.given.of(client, &asking.key.url) {
        Some(digest) => document::stored_as(cache, &asking, &digest).await,
        None => None,
    };
    let newest = document::stored(cache, &asking).await;
    let Some(document) = given.or_else(|| newest.clone()) else {
        // Nothing is known that it could belong to.
        return Plan::Lookup(Box::new(lookup));
    };
    if let Some(signature) = stored(cache, &asking, document.digest).await {
        return document::whole(&lookup, &signature);
    }
    let is_newest = newest.is_some_and(|newest| newest.digest == document.digest);
    if is_newest {
        match fetched(cache, &asking, document.clone()).await {
            Ok((repomd, signature)) if repomd.digest == document.digest => {
                return document::whole(&lookup, &signature);
            }
            Ok(_) => {}
            Err(plan) => return plan,
        }
    }
    let text = format!(
        "{}: the repository has changed since its repomd.xml was given; ask again for both",
        lookup.target.url
    );
    Plan::refused(StatusCode::BAD_GATEWAY, text)
}

/// The repomd.xml of which the signature is known too, where clients have asked for signatures or
/// there is a keyring; else the same.
///
/// # Errors
/// The answer that tells the client why there is none.
pub(super) async fn with_signature(
    cache: &Arc<Cache>,
    asking: &Lookup,
    document: Document,
) -> Result<Document, Plan> {
    let Some(beside) = of(asking) else { return Ok(document) };
    let is_checked = asking.target.keyring.is_some();
    if !is_checked && cache.shelf.find(&beside.key).is_none() {
        return Ok(document);
    }
    if let Some(signature) = stored(cache, asking, document.digest).await {
        let Some(keyring) = asking.target.keyring.clone() else { return Ok(document) };
        if verify(&document, &signature, keyring).await.is_ok() {
            return Ok(document);
        }
    }
    match fetched(cache, asking, document.clone()).await {
        Ok((repomd, _)) => Ok(repomd),
        Err(plan) if is_checked => Err(plan),
        // Without a signature now, or not in time: whoever asks for it is told so.
        Err(_) => Ok(document),
    }
}

/// The lookup of the signature beside a repomd.xml.
fn of(asking: &Lookup) -> Option<Lookup> {
    beside(asking, &format!("{}.asc", asking.target.below))
}

/// Under what it is written down which signatures belong to what: no request has a fragment.
fn written_down(signature: &PackageKey) -> PackageKey {
    PackageKey { url: format!("{}#pairs", signature.url), ..signature.clone() }
}

/// The signature that belongs to the repomd.xml with these bytes.
pub(super) async fn stored(cache: &Arc<Cache>, asking: &Lookup, repomd: Digest) -> Option<Document> {
    let beside = of(asking)?;
    let written = cache.shelf.find(&written_down(&beside.key))?;
    let is_of = |it: &StoredResponse| it.selecting.get(OF).is_some_and(|of| *of == repomd.to_string());
    let digest = written.responses.iter().find(|it| is_of(&it.stored))?.stored.digest;
    match document::stored_as(cache, &beside, &digest).await {
        Some(document) => Some(document),
        None => document::body(cache, &digest).await,
    }
}

/// A repomd.xml and its signature, as the upstream has them now. Others that ask for the same wait,
/// and find it written down.
async fn fetched(
    cache: &Arc<Cache>,
    asking: &Lookup,
    mut repomd: Document,
) -> Result<(Document, Document), Plan> {
    let invalid = || Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    let beside = of(asking).ok_or_else(invalid)?;
    let turn = cache.index.turns.of(written_down(&beside.key).digest());
    let _turn = turn.lock().await;
    let (beside, now) = (fresh(&beside), fresh(&whole(asking)));
    let mut reason = None;
    for _ in 0..TRIES {
        if let Some(signature) = stored(cache, asking, repomd.digest).await {
            let good = match asking.target.keyring.clone() {
                Some(keyring) => verify(&repomd, &signature, keyring).await.is_ok(),
                None => true,
            };
            if good {
                return Ok((repomd, signature));
            }
        }
        let signature = document::current(cache, &beside).await?;
        let belongs = match asking.target.keyring.clone() {
            Some(keyring) => {
                verify(&repomd, &signature, keyring).await.map_err(|why| reason = Some(why)).is_ok()
            }
            None => false,
        };
        if belongs {
            write_down(cache, &beside.key, repomd.digest, signature.digest);
            return Ok((repomd, signature));
        }
        let again = document::current(cache, &now).await?;
        let asked =
            !matches!(again.result, meter::Result::Stale | meter::Result::Hit | meter::Result::Remote);
        if asking.target.keyring.is_none() && asked && again.digest == repomd.digest {
            write_down(cache, &beside.key, repomd.digest, signature.digest);
            return Ok((repomd, signature));
        }
        repomd = again;
    }
    Err(match reason {
        Some(reason) => document::bad(cache, asking, &repomd, &reason),
        None => Plan::refused(
            StatusCode::BAD_GATEWAY,
            format!("{}: it and its signature could not be had of one generation", asking.target.url),
        ),
    })
}

/// The same, asked of the upstream however new what is stored may be.
fn fresh(lookup: &Lookup) -> Lookup {
    let mut lookup = lookup.clone();
    lookup.ruling.freshness = Freshness::For(0);
    lookup
}

/// Whether a key of the keyring signed the repomd.xml.
///
/// # Errors
/// [`BadIndex`] says why it does not count as signed.
pub(super) async fn verify(
    repomd: &Document,
    signature: &Document,
    keyring: Arc<[u8]>,
) -> Result<(), BadIndex> {
    let signature = document::read(signature, |read| {
        let mut bytes = Vec::new();
        read.take(SIGNATURE_MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let (signature, now) = (signature.await?, cache::now());
    let check = move |read: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        read.take(dnf::CAP + 1).read_to_end(&mut bytes)?;
        dnf::verify(&bytes, &signature, &keyring, now)
    };
    document::read(repomd, check).await
}

/// Writes down that the signature belongs to the repomd.xml, and keeps its bytes from being
/// collected.
fn write_down(cache: &Cache, key: &PackageKey, repomd: Digest, signature: Digest) {
    let key = written_down(key);
    let Ok(Some(lease)) = cache.store.packages().blobs().lease(&signature) else { return };
    let times = Times { requested: cache::now(), received: cache::now() };
    let answer = Answer::new(StatusCode::OK, &HeaderMap::new(), &HeaderMap::new(), times);
    let response = StoredResponse {
        vary: vec![OF.to_owned()],
        selecting: [(OF.to_owned(), repomd.to_string())].into(),
        ..answer.to_stored(signature, lease.size())
    };
    let changed = cache.shelf.change(&key, &[lease], |entry| {
        entry.responses.retain(|it| it.selecting != response.selecting);
        entry.responses.insert(0, response);
        entry.responses.truncate(GENERATIONS + 1);
    });
    if let Err(error) = changed {
        cache.outside.warning(&format!("{}: {}", key.url, crate::error::explained(&error)));
    }
}
