//! Releases, their indexes, and packages.
//!
//! A release names its indexes with their checksums; these name the packages. Both stay stored for
//! a few generations, so that a client that holds the older release gets what belongs to it.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use storekit::{Digest, Level, PackageKey, StoredResponse};

use crate::cache::{self, Cache};
use crate::ecosystem::apt::{self, Packing, Place};
use crate::ecosystem::ruling::Expected;
use crate::ecosystem::table::Table;
use crate::ecosystem::{Asked, BadIndex, Class};
use crate::index::document::{self, Document};
use crate::index::ruled::{self, Known, Plan, pinned, plain, ruled, unnamed, vouched, whole};
use crate::known::repositories::{Packages, Vouched};
use crate::proxy::lookup::Lookup;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::wire::peer::Peer;

/// So many generations of a release are kept beside the newest.
const GENERATIONS: usize = 3;
/// No release or signature is larger.
const SIGNED_MOST: u64 = (16 << 20) + 1;
/// A client that was given nothing.
const NOBODY: Peer = Peer::Net(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
/// By this a written down index says how it is packed.
const PACKING: &str = "larder-packing";

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked, client: Peer) -> Plan {
    let Some(place) = apt::place(&lookup.target.below) else {
        return Plan::Lookup(Box::new(ruled(lookup, plain(asked.class))));
    };
    match asked.class {
        Class::Index => root(cache, lookup, &place, client).await,
        Class::SelfCertifying(_) => by_hash(cache, lookup, asked, &place).await,
        Class::SubIndex => sub_index(cache, lookup, &place, client).await,
        _ => package(cache, lookup).await,
    }
}

fn generations(lookup: Lookup) -> Lookup {
    let mut lookup = ruled(lookup, Known::Index);
    lookup.ruling.generations = GENERATIONS;
    lookup
}

/// A release. The client's answer is that of the lookup; what it was given is remembered.
async fn root(cache: &Arc<Cache>, lookup: Lookup, place: &Place, client: Peer) -> Plan {
    let lookup = generations(lookup);
    let asking = &whole(&lookup);
    if !matches!(place.rest.as_str(), "InRelease" | "Release") {
        let signature = |document: Document| async move { signature(&document).await };
        let good = document::good(cache, asking, signature).await;
        return good.map_or_else(|refused| refused, |(document, _)| document::whole(&lookup, &document));
    }
    let said = |document: Document| async move { release(cache, asking, &document).await };
    match document::good(cache, asking, said).await {
        Ok((document, _)) => {
            cache.index.given.give(client, &asking.key.url, document.digest);
            document::whole(&lookup, &document)
        }
        Err(refused) => refused,
    }
}

/// The releases that a client may have: the one that it was given, then the newest.
async fn releases(cache: &Arc<Cache>, lookup: &Lookup, place: &Place, client: Peer) -> Vec<Vouched> {
    let mut found = Vec::new();
    for name in ["InRelease", "Release"] {
        let Some(path) = place.beside_release(name) else { break };
        let Some(asking) = at(lookup, &path) else { continue };
        if let Some(digest) = cache.index.given.of(client, &asking.key.url)
            && let Some(document) = document::stored_as(cache, &asking, &digest).await
        {
            found.extend(release(cache, &asking, &document).await.ok());
        }
        if let Some(document) = document::stored(cache, &asking).await {
            found.extend(release(cache, &asking, &document).await.ok());
        }
        if !found.is_empty() {
            break;
        }
    }
    found
}

/// The lookup of another path of the same server.
fn at(lookup: &Lookup, path: &str) -> Option<Lookup> {
    ruled::at(lookup, path).map(generations)
}

/// What a stored release says. Where there is a keyring, it counts only if one of its keys signed
/// it.
async fn release(cache: &Arc<Cache>, asking: &Lookup, document: &Document) -> Result<Vouched, BadIndex> {
    // A verdict is that of one keyring: another one may be set meanwhile.
    let key = (document.digest, asking.target.keyring.as_deref().map(Digest::of));
    if let Some(release) = cache.index.apt.release(key) {
        return Ok(release);
    }
    let vouched = match asking.target.keyring.clone() {
        None => {
            let release = document::read(document, |read| apt::release(read)).await?;
            Vouched { release: Arc::new(release), level: Level::Indexed }
        }
        Some(keyring) => {
            let detached = detached(cache, asking).await?;
            let now = cache::now();
            let check = move |read: &mut dyn std::io::Read| {
                let mut bytes = Vec::new();
                read.take(SIGNED_MOST).read_to_end(&mut bytes)?;
                let text = apt::signature::verify(&bytes, detached.as_deref(), &keyring, now)?;
                apt::release(&mut text.as_slice())
            };
            let release = document::read(document, check).await?;
            Vouched { release: Arc::new(release), level: Level::Signed }
        }
    };
    cache.index.apt.keep_release(key, &vouched);
    Ok(vouched)
}

/// The signature of a `Release`, which lies beside it; an `InRelease` has its own.
async fn detached(cache: &Arc<Cache>, asking: &Lookup) -> Result<Option<Vec<u8>>, BadIndex> {
    let path = &asking.target.below;
    if path.ends_with("/InRelease") {
        return Ok(None);
    }
    let missing = || BadIndex::Malformed("its signature, `Release.gpg`, cannot be had".to_owned());
    let asking = at(asking, &format!("{path}.gpg")).ok_or_else(missing)?;
    let document = Box::pin(document::current(cache, &asking)).await.map_err(|_| missing())?;
    signature(&document).await.map(Some)
}

/// The bytes of a `Release.gpg`.
async fn signature(document: &Document) -> Result<Vec<u8>, BadIndex> {
    let read = |read: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        read.take(SIGNED_MOST).read_to_end(&mut bytes)?;
        apt::signature::is_one(&bytes)
            .then_some(bytes)
            .ok_or_else(|| BadIndex::Malformed("it is no OpenPGP signature".to_owned()))
    };
    document::read(document, read).await
}

/// An index under its fixed name. What the client's release says of it counts; where that cannot be
/// had any more, the newest release's.
async fn sub_index(cache: &Arc<Cache>, lookup: Lookup, place: &Place, client: Peer) -> Plan {
    let releases = releases(cache, &lookup, place, client).await;
    let said = |vouched: &Vouched| {
        let (_, size, checksum) = vouched.release.files.iter().find(|(path, ..)| *path == place.rest)?;
        Some(Expected { checksum: *checksum, size: Some(*size) })
    };
    let Some(first) = releases.first() else {
        return Plan::Lookup(Box::new(ruled(lookup, Known::Nothing)));
    };
    if first.release.files.is_empty() {
        if lookup.target.keyring.is_some() {
            let text = format!(
                "{}: the signed release says of no index what its SHA-256 or SHA-512 is",
                lookup.target.url
            );
            return Plan::refused(StatusCode::BAD_GATEWAY, text);
        }
        // It has MD5s alone, or nothing: whether that will do, the client knows.
        return Plan::Lookup(Box::new(ruled(lookup, Known::Nothing)));
    }
    let Some(expected) = said(first) else {
        let text = format!("{}: the release does not name this file", lookup.target.url);
        return unnamed(&lookup, text);
    };
    let level = first.level;
    let mut lookup = ruled(lookup, Known::File(level, Some(expected)));
    lookup.ruling.generations = GENERATIONS;
    if let Some(packing) = apt::names_packages(&place.rest) {
        learn(cache, &lookup, place, expected, (packing, level));
    }
    Plan::Lookup(Box::new(lookup))
}

fn learn(
    cache: &Cache,
    lookup: &Lookup,
    place: &Place,
    expected: Expected,
    (packing, level): (Packing, Level),
) {
    let Some(repository) = at(lookup, &format!("{}/", place.base)) else { return };
    if let Some(digest) = expected.checksum.digest()
        && cache.index.apt.learn(&repository.key.url, Packages { digest, packing, level })
    {
        cache.index.changed();
    }
}

/// What is known of the indexes of a repository, the newest first: from this process's time, else
/// as it was written down.
fn indexes(cache: &Cache, repository: &PackageKey) -> Vec<Packages> {
    let known = cache.index.apt.packages(&repository.url);
    if !known.is_empty() {
        return known;
    }
    let Some(written) = cache.shelf.find(&written_down(repository)) else { return Vec::new() };
    for response in written.responses.iter().rev() {
        let packing = response.stored.selecting.get(PACKING).and_then(|name| Packing::named(name));
        if let Some(packing) = packing {
            let (digest, level) = (response.stored.digest, response.stored.level);
            cache.index.apt.learn(&repository.url, Packages { digest, packing, level });
        }
    }
    cache.index.apt.packages(&repository.url)
}

/// Under what the indexes of a repository are written down: no request has a fragment.
fn written_down(repository: &PackageKey) -> PackageKey {
    PackageKey { url: format!("{}#indexes", repository.url), ..repository.clone() }
}

/// Writes down that the repository has this index, which is stored, so that it is known when this
/// process has ended; and keeps its bytes from being collected.
fn write_down(cache: &Cache, repository: &PackageKey, packages: &Packages) {
    let key = written_down(repository);
    let is_it = |digest: Digest| digest == packages.digest;
    let known = cache.shelf.find(&key);
    if known.is_some_and(|known| known.responses.iter().any(|it| is_it(it.stored.digest))) {
        return;
    }
    let blobs = cache.store.packages().blobs();
    let Ok(Some(lease)) = blobs.lease(&packages.digest) else { return };
    let times = Times { requested: cache::now(), received: cache::now() };
    let answer = Answer::new(StatusCode::OK, &HeaderMap::new(), &HeaderMap::new(), times);
    let selecting = [(PACKING.to_owned(), packages.packing.name().to_owned())].into();
    let response = StoredResponse {
        vary: vec![PACKING.to_owned()],
        level: packages.level,
        selecting,
        ..answer.to_stored(packages.digest, lease.size())
    };
    let changed = cache.shelf.change(&key, &[lease], |entry| entry.responses.insert(0, response));
    if let Err(error) = changed {
        cache.outside.warning(&format!("{}: {}", key.url, crate::error::explained(&error)));
    }
}

/// An index under its checksum: which one it is, the releases say.
async fn by_hash(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked, place: &Place) -> Plan {
    let mut lookup = ruled(lookup, plain(asked.class));
    let Some(expected) = lookup.ruling.expected else { return Plan::Lookup(Box::new(lookup)) };
    for Vouched { release, level } in releases(cache, &lookup, place, NOBODY).await {
        for (path, ..) in release.files.iter().filter(|(_, _, checksum)| *checksum == expected.checksum) {
            lookup.ruling.level = lookup.ruling.level.max(level);
            // What is stored is named by SHA-256, whatever it was asked for by.
            let mut rows = release.files.iter().filter(|(it, ..)| it == path);
            let named = rows.find_map(|(_, size, checksum)| {
                checksum.digest().map(|_| Expected { checksum: *checksum, size: Some(*size) })
            });
            if let (Some(named), Some(packing)) = (named, apt::names_packages(path)) {
                learn(cache, &lookup, place, named, (packing, level));
            }
        }
    }
    Plan::Lookup(Box::new(lookup))
}

/// A package: what the newest index says of it. In a flat repository the index may be in any folder
/// above.
async fn package(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    for (base, name) in apt::bases(&lookup.target.below) {
        let Some(repository) = at(&lookup, &format!("{base}/")).map(|it| it.key) else {
            return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
        };
        for packages in indexes(cache, &repository) {
            let Ok(Some(table)) = table(cache, &packages).await else { continue };
            write_down(cache, &repository, &packages);
            if let Some(said) = table.get(&name) {
                return vouched(lookup, said, packages.level);
            }
        }
    }
    pinned(
        lookup,
        "no list of packages that is stored here, and packed with xz, gzip or zstd or not, names it",
    )
}

/// What a stored index of packages says; `None` where it is not stored.
async fn table(cache: &Arc<Cache>, packages: &Packages) -> Result<Option<Arc<Table>>, BadIndex> {
    let Some(document) = document::body(cache, &packages.digest).await else { return Ok(None) };
    let packing = packages.packing;
    let read = move |read: &mut dyn std::io::Read, table: &mut crate::ecosystem::table::TableBuilder| {
        apt::vouch(packing, read, table)
    };
    document::table(&cache.index, &document, "apt", read).await.map(Some)
}
