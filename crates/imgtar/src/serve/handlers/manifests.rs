//! Manifests: handed out by tag and digest, taken, removed.
//!
//! Source: OCI distribution-spec v1.1, "Pulling manifests", "Pushing manifests", "Deleting tags",
//! "Deleting manifests".

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::header::HeaderName;
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use storekit::trash::Batch;
use storekit::{Descriptor, Digest, Event, Key, Kind};

use crate::format::oci::DOCUMENT_CAP;
use crate::serve::agent::{self, Zstd};
use crate::serve::answer::{self, ResponseBody};
use crate::serve::fault::{Fault, Result};
use crate::serve::handlers::push;
use crate::serve::names::{self, Repository};
use crate::serve::pushed_manifest::Document;
use crate::serve::route::{Query, Reference};
use crate::serve::state::app::App;
use crate::serve::state::offers::{Effort, Offer, Which};
use crate::serve::state::stock::Stock;
use crate::serve::stored_manifest::Doc;

/// No pushed manifest is larger: 4 MiB, which the spec asks registries to take.
pub(crate) const PUSH_CAP: usize = 4 << 20;

/// A manifest pushed by its digest gets at most this many tags at once.
const MOST_TAGS: usize = 100;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// A request for a manifest.
pub(crate) struct Wanted {
    pub(crate) repository: Repository,
    pub(crate) reference: Reference,
    pub(crate) headers: HeaderMap,
    pub(crate) is_head: bool,
}

/// Hands a manifest out.
///
/// # Errors
/// [`Fault::manifest_unknown`] where it is not stored, or not with all its blobs.
pub(crate) fn get(app: &App, wanted: &Wanted) -> Result<Response<ResponseBody>> {
    let stock = app.stocks.now()?;
    let (offer, entry) = match &wanted.reference {
        Reference::Tag(tag) => by_tag(app, &stock, wanted, tag)?,
        Reference::Digest(digest) => (by_digest(app, &stock, digest)?, key_of_root(&stock, digest)),
    };
    let Descriptor { media_type, digest, .. } = &offer.descriptor;
    if matches!(wanted.reference, Reference::Tag(_)) && !accepts(&wanted.headers, media_type) {
        return Err(Fault::manifest_unknown(format!(
            "it is stored as `{media_type}`, which the request does not accept"
        )));
    }
    if let Some(key) = entry {
        note(app, &key, wanted.is_head);
    }
    let response = if answer::is_known(&wanted.headers, digest) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::with_body(StatusCode::OK, ResponseBody::Whole(Bytes::from(offer.bytes)))
    };
    Ok(answer::with_digest(answer::with(response, header::CONTENT_TYPE, media_type), digest))
}

fn by_tag(app: &App, stock: &Stock, wanted: &Wanted, tag: &Key) -> Result<(Offer, Option<Key>)> {
    let unknown =
        || Fault::manifest_unknown(format!("there is no `{}`", names::name_of(&wanted.repository, tag)));
    let tagged = stock.tagged(&wanted.repository, tag).ok_or_else(unknown)?;
    let doc = stock.doc(&tagged.digest).ok_or_else(unknown)?;
    keep(app, doc)?;
    let agent =
        wanted.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let which = match agent::zstd(agent) {
        Zstd::Read => None,
        Zstd::Refused => Some(Which::All),
        Zstd::Unknown => Some(Which::Ours),
    };
    let offer = match which {
        Some(which) => app.offers.of(stock, doc, which, Effort::Read)?,
        None => None,
    };
    let offer = offer.map_or_else(|| as_pushed(app, doc), Ok)?;
    Ok((offer, Some(tagged.key.clone())))
}

/// The document of this digest: a stored one, one that was pushed and another stored for it, or an
/// offer.
///
/// # Errors
/// [`Fault::manifest_unknown`].
pub(crate) fn by_digest(app: &App, stock: &Stock, digest: &Digest) -> Result<Offer> {
    if let Some(doc) = stock.doc(digest) {
        let doc = Arc::clone(doc);
        app.grace.renew(&doc.descriptor.digest);
        return if doc.descriptor.digest == *digest {
            stored(app, &doc.descriptor)
        } else {
            as_pushed(app, &doc)
        };
    }
    if let Some(offer) = app.offers.find(stock, digest)? {
        return Ok(offer);
    }
    Err(Fault::manifest_unknown(format!("there is no manifest `{digest}`")))
}

/// The document that was pushed, or the stored one where they are the same.
fn as_pushed(app: &App, doc: &Doc) -> Result<Offer> {
    match (doc.pushed_bytes(&app.blobs)?, &doc.pushed) {
        (Some(bytes), Some(descriptor)) => Ok(Offer { descriptor: descriptor.clone(), bytes }),
        _ => stored(app, &doc.descriptor),
    }
}

fn stored(app: &App, descriptor: &Descriptor) -> Result<Offer> {
    let bytes = app.blobs.read(&descriptor.digest, DOCUMENT_CAP).map_err(|error| match error {
        storekit::Error::Missing { digest, .. } => {
            Fault::manifest_unknown(format!("there is no manifest `{digest}`"))
        }
        error => error.into(),
    })?;
    Ok(Offer { descriptor: descriptor.clone(), bytes })
}

/// Keeps all that hangs on the document while its client fetches it; refuses one of which something
/// is missing.
fn keep(app: &App, doc: &Doc) -> Result<()> {
    let reach = app.images.walker().reach(&doc.descriptor)?;
    if let Some(digest) = reach.missing.first() {
        return Err(Fault::manifest_unknown(format!(
            "its blob `{digest}` is missing or damaged; push it anew"
        )));
    }
    for digest in reach.present.keys().filter(|digest| !app.grace.renew(digest)) {
        // One that goes away at this moment shows when it is asked for.
        app.blobs.lease(digest)?.into_iter().for_each(|lease| app.grace.keep(lease));
    }
    Ok(())
}

/// Notes the use of an entry. Clients that ask for the digest of a tag first get the manifest by
/// its digest.
fn note(app: &App, key: &Key, is_head: bool) {
    app.images.touch(key);
    if !is_head {
        let mut event = Event::new("imgtar", Kind::Hit, key, Timestamp::now());
        event.seconds = app.images.peek(key).ok().flatten().and_then(|listed| listed.entry.build_seconds);
        // A note for statistics: a pull that cannot be noted is a pull.
        let _ = app.store.events().record(&event);
    }
}

fn key_of_root(stock: &Stock, digest: &Digest) -> Option<Key> {
    let stored = stock.doc(digest)?.descriptor.digest;
    let mut entries = stock.entries.iter().filter(|listed| listed.entry.descriptor.digest == stored);
    entries.next().map(|listed| listed.key.clone())
}

/// Whether the client takes this type. One that does not say takes any.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut said = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    let any = said.peek().is_none();
    any || said.flat_map(|list| list.split(',')).any(|one| {
        let one = one.split(';').next().unwrap_or_default().trim();
        one == media_type || matches!(one, "*/*" | "application/*" | "application/json")
    })
}

/// Takes a manifest.
///
/// # Errors
/// As [`push::push`].
pub(crate) fn put(
    app: &App,
    wanted: &Wanted,
    query: &Query,
    bytes: Vec<u8>,
) -> Result<Response<ResponseBody>> {
    let content_type = wanted.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let tags = query.all("tag").map(|tag| tag.parse::<Key>().map_err(|_| Fault::tag_invalid(tag)));
    let tags: Vec<Key> = tags.collect::<Result<_>>()?;
    if tags.len() > MOST_TAGS {
        return Err(Fault::too_large(format!("more than {MOST_TAGS} tags at once")));
    }
    let (repository, document) = (&wanted.repository, Document::parse(content_type, bytes)?);
    let mut pushed = push::push(app, repository, &wanted.reference, &document)?;
    for tag in &tags {
        pushed = push::push(app, repository, &Reference::Tag(tag.clone()), &document)?;
    }
    let location = format!("/v2/{repository}/manifests/{}", pushed.digest);
    let mut response = answer::with(answer::empty(StatusCode::CREATED), header::LOCATION, &location);
    if let Some(subject) = pushed.subject {
        response = answer::with(response, SUBJECT, &subject.to_string());
    }
    for tag in &tags {
        response.headers_mut().extend(tag.as_str().parse().ok().map(|tag| (TAG, tag)));
    }
    Ok(answer::with_digest(response, &pushed.digest))
}

/// Removes a tag, or a document with all tags that name it. What goes lies in the trash until a
/// collection empties it.
///
/// # Errors
/// [`Fault::manifest_unknown`]; a document that a stored index names.
pub(crate) fn delete(app: &App, wanted: &Wanted) -> Result<Response<ResponseBody>> {
    let stock = app.stocks.now()?;
    match &wanted.reference {
        Reference::Tag(tag) => delete_tag(app, &stock, &wanted.repository, tag)?,
        Reference::Digest(digest) => delete_digest(app, &stock, digest)?,
    }
    Ok(answer::empty(StatusCode::ACCEPTED))
}

fn delete_tag(app: &App, stock: &Stock, repository: &Repository, tag: &Key) -> Result<()> {
    let unknown = || Fault::manifest_unknown(format!("there is no `{}`", names::name_of(repository, tag)));
    stock.tagged(repository, tag).ok_or_else(unknown)?;
    let own = names::key_of(repository, tag);
    let is_served =
        |name: &String| names::served(name).iter().any(|(other, of)| other == repository && of == tag);
    let batch = app.store.trash().batch(Timestamp::now());
    for listed in &stock.entries {
        let (gone, left): (Vec<_>, Vec<_>) = listed.entry.names.iter().cloned().partition(is_served);
        // An entry that was saved under a key of its own only loses the name.
        if listed.key == own && (left.is_empty() || repository.is_keys()) {
            remove(app, std::slice::from_ref(&listed.key), &batch)?;
        } else if !gone.is_empty() {
            app.images.set_names(&listed.key, left)?;
        }
    }
    Ok(())
}

fn delete_digest(app: &App, stock: &Stock, digest: &Digest) -> Result<()> {
    let unknown = || Fault::manifest_unknown(format!("there is no manifest `{digest}`"));
    let made_of = app.offers.source(digest);
    let doc = stock.doc(digest).or_else(|| stock.doc(&made_of?)).ok_or_else(unknown)?;
    let stored = doc.descriptor.digest;
    if stock.needs(&stored) {
        return Err(Fault::needed("an index names it: delete that first"));
    }
    let batch = app.store.trash().batch(Timestamp::now());
    let named = stock.entries.iter().filter(|listed| listed.entry.descriptor.digest == stored);
    let keys: Vec<_> = named.map(|listed| listed.key.clone()).collect();
    remove(app, &keys, &batch)?;
    app.grace.let_go(&stored);
    Ok(())
}

/// Removes entries, and what refers to their images and to nothing else.
fn remove(app: &App, keys: &[Key], batch: &Batch) -> Result<()> {
    let hanging = app.images.hanging(keys)?;
    app.images.remove(keys, batch)?;
    app.images.remove(&hanging, batch)?;
    Ok(())
}
