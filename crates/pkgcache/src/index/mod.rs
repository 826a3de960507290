//! What package clients ask for: which index names it, what it has to be, and what the client gets.
//!
//! A request comes as a [`Lookup`] by HTTP's rules. [`plan`] finds out what its ecosystem knows of
//! it: it goes on with a ruling (a checksum that gates the body, a lifetime), with another URL
//! where an index says that the file lies elsewhere, or is answered at once.
//!
//! Deliberately absent: formats (`ecosystem`), and how a body is fetched and stored (`proxy`,
//! `fetch`).

mod apk;
mod apt;
mod archives;
mod cargo;
mod dnf;
mod document;
mod go;
pub(crate) mod guarded;
mod huggingface;
pub(crate) mod lfs;
pub(crate) mod login;
mod looked_at;
mod named;
mod npm;
pub(crate) mod oci;
mod python;
mod ruled;

use std::sync::Arc;

use http::header::RANGE;
use http::{StatusCode, Uri};
use storekit::{Checksum, Digest};

use crate::cache::Cache;
use crate::config::DigestInName;
use crate::config::target::Target;
use crate::ecosystem::named::digests;
use crate::ecosystem::ruling::Freshness;
use crate::ecosystem::{Class, Ecosystem};
use crate::fetch::ask_for_the_bytes;
use crate::proxy::lookup::Lookup;
use crate::store::recent_targets::Place;
use crate::wire::peer::Peer;

pub(crate) use self::ruled::{Plan, as_class, here};

/// What else is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From<'a> {
    /// The client's end of the connection.
    pub(crate) client: Peer,
    /// The query of what it asks for.
    pub(crate) query: Option<&'a str>,
    /// What it asks for, as it was sent.
    pub(crate) asked: &'a Uri,
}

/// Whether anything is known of what is asked for beyond HTTP's rules.
#[must_use]
pub(crate) fn knows(target: &Target) -> bool {
    target.kind != Ecosystem::Generic || target.promised.is_some() || target.digest_in_name.is_some()
}

/// The digest in the name of a plain file, where it is stored and has it, or has to have it.
fn digest_in_name(cache: &Cache, lookup: &Lookup) -> Option<Digest> {
    let mut named = digests(&lookup.target.below);
    if lookup.target.digest_in_name? == DigestInName::Require {
        return named.next();
    }
    let known = cache.shelf.find(&lookup.key)?;
    let has = |digest: &Digest| {
        known.select_where(&lookup.headers, |it| it.status == 200 && it.digest == *digest).is_some()
    };
    named.find(has)
}

/// A file of which the address says what it has to be.
fn promised(cache: &Cache, mut lookup: Lookup, checksum: Checksum, asked: &Uri) -> Plan {
    let range = lookup.headers.get(RANGE).cloned();
    ask_for_the_bytes(&mut lookup.headers);
    lookup.headers.extend(range.map(|range| (RANGE, range)));
    let class = Class::SelfCertifying(checksum);
    let planned = guarded::after(cache, Box::new(as_class(lookup, class)), class);
    if let Plan::Lookup(lookup) = &planned {
        remember(cache, lookup, asked);
    }
    planned
}

/// Finds out what becomes of a GET or HEAD of a package client.
pub(crate) async fn plan(cache: &Arc<Cache>, lookup: Lookup, from: &From<'_>) -> Plan {
    let kind = lookup.target.kind;
    let asked = kind.ask(&lookup.method, &lookup.target.below, from.query);
    let mut lookup = lookup;
    lookup.package = asked.package.clone();
    if let Some(checksum) = lookup.target.promised.as_deref().copied() {
        if kind == Ecosystem::GitLfs {
            // The digest alone lets nobody in.
            return Plan::refused(StatusCode::BAD_REQUEST, "objects of git-lfs have addresses of their own");
        }
        return promised(cache, lookup, checksum, from.asked);
    }
    if let Some(digest) = digest_in_name(cache, &lookup) {
        return promised(cache, lookup, digest.into(), from.asked);
    }
    let planned = match (kind, asked.class) {
        (Ecosystem::Oci | Ecosystem::Ollama, Class::Unknown | Class::Api) => oci::interface(&lookup),
        (Ecosystem::HuggingFace, Class::Api) => huggingface::interface(lookup),
        (Ecosystem::Go, _) => Box::pin(go::plan(cache, lookup)).await,
        (_, Class::Api) => Plan::Lookup(Box::new(as_class(lookup, Class::Api))),
        (_, Class::Unknown) | (Ecosystem::Generic, _) => Plan::Lookup(Box::new(lookup)),
        (Ecosystem::Python, _) => python::plan(cache, lookup, &asked).await,
        (Ecosystem::Npm, _) => npm::plan(cache, lookup, &asked).await,
        (Ecosystem::Cargo, _) => cargo::plan(cache, lookup, &asked).await,
        (Ecosystem::Apk, _) => Box::pin(apk::plan(cache, lookup, &asked)).await,
        (Ecosystem::Apt, _) => apt::plan(cache, lookup, &asked, from.client).await,
        (Ecosystem::Dnf, _) => Box::pin(dnf::plan(cache, lookup, &asked, from.client)).await,
        (Ecosystem::Oci | Ecosystem::Ollama, _) => oci::plan(cache, lookup, &asked).await,
        (Ecosystem::HuggingFace, _) => Box::pin(huggingface::plan(cache, lookup)).await,
        (Ecosystem::GitLfs, _) => lfs::plan(cache, lookup),
        (Ecosystem::Releases, _) => archives::plan(cache, lookup, &asked, from.client).await,
    };
    let planned = match planned {
        Plan::Lookup(lookup) => guarded::after(cache, lookup, asked.class),
        answered @ Plan::Answer(..) => answered,
    };
    // What one client may have by its ticket is not what the address has.
    if let Plan::Lookup(lookup) = &planned
        && kind != Ecosystem::GitLfs
    {
        remember(cache, lookup, from.asked);
    }
    planned
}

/// Remembers where a file's answer is stored, so that the next request for it is quick. What has
/// generations is another file for each client, by what that was given before.
fn remember(cache: &Cache, lookup: &Lookup, asked: &Uri) {
    let ruling = &lookup.ruling;
    let is_one = ruling.freshness == Freshness::Forever && ruling.generations == 0;
    // The mark of what was withdrawn is not on the short way.
    let simple = is_one && lookup.key.scope.is_none() && !ruling.standing.withdrawn;
    if !simple || lookup.headers.contains_key(http::header::AUTHORIZATION) {
        return;
    }
    let place = Place {
        config: Arc::clone(&lookup.config),
        url: asked.clone(),
        heuristic: false,
        spot: cache.shelf.spot(lookup.key.clone()),
        ruling: lookup.ruling.clone(),
        epoch: cache.index.epoch(),
    };
    cache.places.keep(&asked.to_string(), &Arc::new(place));
}
