//! Pages of projects and the files that they name.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, StatusCode, Uri};
use storekit::Level;

use crate::cache::Cache;
use crate::ecosystem::python::{self, Form};
use crate::ecosystem::table::Said;
use crate::ecosystem::{Asked, Class, Ecosystem};
use crate::index::document::{self, Document};
use crate::index::named;
use crate::index::ruled::{Known, Plan, base, beside, names, ruled, unnamed, vouched};
use crate::observe::meter;
use crate::proxy::lookup::Lookup;
use crate::response::reply::own;

/// JSON where the index has it.
const WANTED: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    if lookup.target.mount.is_none() {
        return outside_a_mount(cache, lookup, asked).await;
    }
    match asked.class {
        Class::Index => page(cache, lookup, asked.package.name.is_none()).await,
        _ => file(cache, lookup, asked).await,
    }
}

/// In the forward mode nothing is written anew, so that files come from wherever the index has
/// them. What a stored page of a mounted index says of them holds there as well.
async fn outside_a_mount(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    if asked.class == Class::Index && asked.package.name.is_some() {
        return named::as_it_is(cache, negotiated(lookup)).await;
    }
    if asked.class == Class::Index {
        return named::as_it_is_if(cache, negotiated(lookup), |url, sent, read| {
            let form = python::sent(sent).ok_or_else(|| named::neither(sent))?;
            python::check_list(url, form, read)
        })
        .await;
    }
    for index in lookup.config.upstreams.iter().filter(|it| it.kind == Ecosystem::Python) {
        if let Some(said) = said_by(cache, &lookup, &index.url, asked).await {
            return vouched(lookup, said, Level::Indexed);
        }
    }
    Plan::Lookup(Box::new(ruled(lookup, Known::Nothing)))
}

/// What the stored page of this index says of a file.
async fn said_by(cache: &Arc<Cache>, lookup: &Lookup, index: &Uri, asked: &Asked) -> Option<Said> {
    let (path, name) = names(asked)?;
    let mut lookup = lookup.clone();
    lookup.target.upstream = index.clone();
    let asking = for_document(&lookup, path)?;
    let document = document::stored_in_any_form(cache, &asking).await?;
    named::table(cache, &asking, &document).await.ok()?.get(name)
}

fn negotiated(lookup: Lookup) -> Lookup {
    let mut lookup = ruled(lookup, Known::Index);
    lookup.ruling.negotiated = true;
    lookup
}

/// The same request for the document that is stored, whatever form the client wants.
fn for_document(lookup: &Lookup, path: &str) -> Option<Lookup> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(WANTED));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.extend(lookup.headers.get(USER_AGENT).cloned().map(|agent| (USER_AGENT, agent)));
    Some(negotiated(beside(lookup, path, headers)?))
}

/// A project's page, or the list of all projects.
async fn page(cache: &Arc<Cache>, lookup: Lookup, is_list: bool) -> Plan {
    let accept: Vec<_> = lookup.headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok()).collect();
    let Some(wanted) = python::wanted(&accept.join(",")) else {
        let text = "a page of an index is JSON or HTML, and `Accept` takes neither";
        return Plan::refused(StatusCode::NOT_ACCEPTABLE, text);
    };
    let name = lookup.target.below.trim_matches('/');
    let normal = python::normalized(name);
    if !is_list && (name != normal || !lookup.target.below.ends_with('/')) {
        return redirect(&lookup, &normal);
    }
    let (Some(asking), Some(base)) = (for_document(&lookup, &lookup.target.below), base(&lookup)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let content_type = match wanted {
        Form::Json => "application/vnd.pypi.simple.v1+json",
        Form::Html => "application/vnd.pypi.simple.v1+html",
        Form::PlainHtml => "text/html; charset=utf-8",
    };
    let url = asking.target.url.clone();
    let salt = format!("{url} {wanted:?} {base:?}");
    let page = |document: Document| {
        let (lookup, salt, url, base) = (&lookup, &salt, url.clone(), base.clone());
        let normal = &normal;
        async move {
            let sent = python::sent(document.content_type())
                .ok_or_else(|| named::neither(document.content_type()))?;
            if is_list {
                let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
                    python::render_list(&url, sent, read, &base, wanted, out)
                };
                return document::render(cache, lookup, &document, salt, content_type, write).await;
            }
            let at = url.clone();
            let read = move |read: &mut dyn std::io::Read| python::releases(&at, sent, read);
            let (_, mut view) = document::view(cache, lookup, &document, normal, read).await?;
            if let Some(refused) = view.refused(cache) {
                return Ok(refused);
            }
            let (salt, hidden) = (format!("{salt} {}", view.hidden.salt()), view.hidden.clone());
            let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
                python::render(&url, sent, read, &base, wanted, &hidden, out)
            };
            let page = document::render(cache, lookup, &document, &salt, content_type, write).await?;
            Ok(document::with_hidden(page, &view.hidden))
        }
    };
    document::good(cache, &asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

/// To the page of that name, on the same mount.
fn redirect(lookup: &Lookup, name: &str) -> Plan {
    let mount = lookup.target.mount.as_deref().unwrap_or_default();
    let slash = if mount.is_empty() { "" } else { "/" };
    let mut response = own(StatusCode::MOVED_PERMANENTLY, "the project's page is elsewhere", None);
    let to = HeaderValue::from_str(&format!("{slash}{mount}/{name}/"));
    response.headers_mut().extend(to.ok().map(|to| (LOCATION, to)));
    Plan::answer(response, meter::Result::Own)
}

async fn file(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let Some((path, name)) = names(asked) else {
        return Plan::refused(StatusCode::NOT_FOUND, "the name of this file does not say its project");
    };
    let Some(asking) = for_document(&lookup, path) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    match named::said(cache, &asking, name).await {
        Ok(Some(said)) => vouched(lookup, said, Level::Indexed),
        Ok(None) => {
            let text = format!("{} does not name this file", asking.target.url);
            unnamed(&lookup, text)
        }
        Err(plan) => plan,
    }
}
