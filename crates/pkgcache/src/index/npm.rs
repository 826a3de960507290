//! Packuments and the tarballs that they name.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode, Uri};
use storekit::Level;

use crate::cache::Cache;
use crate::ecosystem::base::Base;
use crate::ecosystem::npm::{self, Cut, Variant};
use crate::ecosystem::table::Standing;
use crate::ecosystem::{Asked, Class};
use crate::index::document::{self, Document};
use crate::index::guarded;
use crate::index::named;
use crate::index::ruled::{Known, Plan, base, beside, names, pinned, ruled, standing, vouched};
use crate::proxy::lookup::Lookup;

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    if asked.class == Class::Index
        && let (Some(name), Some(version)) = (&asked.package.name, &asked.package.version)
    {
        return one_version(cache, lookup, name, version).await;
    }
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
    let (Some(asking), Some(base)) = (for_document(&lookup, &path), base_of(&lookup)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let content_type = match variant {
        Variant::Full => "application/json",
        Variant::Abbreviated => "application/vnd.npm.install-v1+json",
    };
    let url = asking.target.url.clone();
    let salt = format!("{url} {variant:?} {base:?}");
    let page = |document: Document| {
        let (lookup, salt, url, base) = (&lookup, &salt, url.clone(), base.clone());
        async move {
            let at = url.clone();
            let read = move |read: &mut dyn std::io::Read| npm::releases(&at, read);
            let (releases, mut view) = document::view(cache, lookup, &document, name, read).await?;
            if let Some(refused) = view.refused(cache) {
                return Ok(refused);
            }
            let cut = Cut::new(&releases, view.hidden.clone());
            let salt = format!("{salt} {}", cut.salt());
            let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
                npm::render(&url, read, &base, variant, &cut, out)
            };
            let page = document::render(cache, lookup, &document, &salt, content_type, write).await?;
            Ok(document::with_hidden(page, &view.hidden))
        }
    };
    document::good(cache, &asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

/// The document of one version: like a packument, but for the name of its version, which a tag does
/// not say.
async fn one_version(cache: &Arc<Cache>, lookup: Lookup, name: &str, version: &str) -> Plan {
    let (name, asked) = (name.to_owned(), version.to_owned());
    let check = {
        let (name, asked) = (name.clone(), asked.clone());
        move |read: &mut dyn std::io::Read| npm::check_version(&name, &asked, read)
    };
    let Some(base) = base_of(&lookup) else {
        let check = move |_: &Uri, _: &str, read: &mut dyn std::io::Read| check(read).map(|_| ());
        return named::as_it_is_if(cache, negotiated(lookup), check).await;
    };
    let Some(asking) = for_document(&lookup, &npm::version_path(&name, &asked)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let salt = format!("{} {base:?}", asking.target.url);
    let page = |document: Document| {
        let (lookup, salt, check, name, base) = (&lookup, &salt, check.clone(), name.clone(), base.clone());
        async move {
            let version = document::read(&document, check).await?;
            // By a tag, only now it is known which version is meant.
            let refused =
                if guarded::judges(lookup) { judged(cache, lookup, &name, &version).await } else { None };
            if let Some(refused) = refused {
                return Ok(refused);
            }
            let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
                npm::render_version(&name, &version, read, &base, out)
            };
            document::render(cache, lookup, &document, salt, "application/json", write).await
        }
    };
    document::good(cache, &asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

/// What is said of a version, by what its packument says of it.
async fn judged(cache: &Arc<Cache>, lookup: &Lookup, name: &str, version: &str) -> Option<Plan> {
    let asking = for_document(lookup, &format!("/{}", name.replace('/', "%2F")))?;
    let document = match document::current(cache, &asking).await {
        Ok(document) => document,
        Err(refused) => return Some(refused),
    };
    let url = asking.target.url.clone();
    let read = move |read: &mut dyn std::io::Read| npm::releases(&url, read);
    match document::view(cache, &asking, &document, name, read).await {
        Ok((releases, _)) => guarded::of_version(cache, lookup, name, version, &releases),
        Err(error) => Some(document::bad(cache, &asking, &document, &error)),
    }
}

/// The addresses on both sides of the mount. Other clients that speak like npm take the URL of a
/// tarball as it is.
fn base_of(lookup: &Lookup) -> Option<Base> {
    let agent = lookup.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let keeps_links = lookup.target.keep_links && agent.starts_with("npm/");
    base(lookup).map(|base| Base { keeps_links, ..base })
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
        Ok(None) => {
            let withdrawn = Standing { published: None, withdrawn: true };
            standing(pinned(lookup, "its packument does not name it"), withdrawn)
        }
        Err(plan) => plan,
    }
}
