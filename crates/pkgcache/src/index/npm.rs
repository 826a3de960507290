//! Packuments and the tarballs that they name.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode};
use storekit::Level;

use crate::cache::Cache;
use crate::ecosystem::npm::{self, Variant};
use crate::ecosystem::{Asked, Class};
use crate::index::document::{self, Document};
use crate::index::named;
use crate::index::ruled::{Known, Plan, base, beside, names, pinned, ruled, vouched};
use crate::proxy::lookup::Lookup;

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    match asked.class {
        Class::Index if lookup.target.mount.is_some() && asked.package.name.is_some() => {
            packument(cache, lookup, asked).await
        }
        Class::Index if asked.package.name.is_some() => named::as_it_is(cache, negotiated(lookup)).await,
        Class::Index => {
            named::as_it_is_if(cache, negotiated(lookup), |url, _, read| npm::check_list(url, read)).await
        }
        _ => tarball(cache, lookup, asked).await,
    }
}

fn negotiated(lookup: Lookup) -> Lookup {
    let mut lookup = ruled(lookup, Known::Index);
    lookup.ruling.negotiated = true;
    lookup
}

/// The full packument: every variant is made from it.
fn for_document(lookup: &Lookup, path: &str) -> Option<Lookup> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.extend(lookup.headers.get(USER_AGENT).cloned().map(|agent| (USER_AGENT, agent)));
    Some(negotiated(beside(lookup, path, headers)?))
}

async fn packument(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    // Clients write the `/` of a scoped name in three ways: it is one document.
    let name = asked.package.name.as_deref().unwrap_or_default();
    let path = format!("/{}", name.replace('/', "%2F"));
    let accept: Vec<_> = lookup.headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok()).collect();
    let variant = npm::wanted(&accept.join(","));
    let (Some(asking), Some(mut base)) = (for_document(&lookup, &path), base(&lookup)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let agent = lookup.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Other clients that speak like npm take the URL as it is.
    base.keeps_links = lookup.target.keep_links && agent.starts_with("npm/");
    let content_type = match variant {
        Variant::Full => "application/json",
        Variant::Abbreviated => "application/vnd.npm.install-v1+json",
    };
    let url = asking.target.url.clone();
    let salt = format!("{url} {variant:?} {base:?}");
    let page = |document: Document| {
        let (lookup, salt, url, base) = (&lookup, &salt, url.clone(), base.clone());
        async move {
            let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
                npm::render(&url, read, &base, variant, out)
            };
            document::render(cache, lookup, &document, salt, content_type, write).await
        }
    };
    document::good(cache, &asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

async fn tarball(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let Some((path, name)) = names(asked) else {
        return Plan::refused(StatusCode::NOT_FOUND, "the path of this tarball does not say its package");
    };
    let Some(asking) = for_document(&lookup, path) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    match named::said(cache, &asking, name).await {
        Ok(Some(said)) => vouched(lookup, said, Level::Indexed),
        // A version that was taken back is still named by lock files: the upstream decides.
        Ok(None) => pinned(lookup, "its packument does not name it"),
        Err(plan) => plan,
    }
}
