//! `config.json`, index files and crates.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use storekit::{Checksum, Level};

use crate::cache::Cache;
use crate::ecosystem::table::{Said, Voucher};
use crate::ecosystem::{Asked, Class, cargo};
use crate::index::document;
use crate::index::{Known, Plan, base, beside, names, ruled, vouched};
use crate::proxy::lookup::Lookup;

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    match asked.class {
        Class::Root if lookup.target.mount.is_some() && asked.package.name.is_none() => {
            config(cache, lookup).await
        }
        Class::Root if asked.package.name.is_some() => index_file(cache, lookup).await,
        Class::Root => Plan::Lookup(Box::new(ruled(lookup, Known::Root))),
        Class::Artifact => by_index(cache, lookup, asked).await,
        Class::SelfCertifying(checksum) => the_crate(cache, lookup, asked, checksum).await,
        _ => Plan::Lookup(Box::new(lookup)),
    }
}

async fn config(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let path = lookup.target.below.clone();
    let (Some(asking), Some(base)) = (beside(&lookup, &path, HeaderMap::new()), base(&lookup)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let document = match document::current(cache, &asking).await {
        Ok(document) => document,
        Err(plan) => return plan,
    };
    let salt = format!("{base:?}");
    let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
        cargo::render_config(read, &base, out)
    };
    document::render(cache, &lookup, &document, &salt, "application/json", write).await
}

/// An index file, handed on as it is where it can be one: cargo leaves out what it cannot read, and
/// would find no such crate in half a file.
async fn index_file(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let lookup = ruled(lookup, Known::Root);
    let mut asking = lookup.clone();
    asking.method = http::Method::GET;
    asking.headers.remove(http::header::RANGE);
    crate::rules::conditional::strip(&mut asking.headers);
    let document = match document::current(cache, &asking).await {
        Ok(document) => document,
        Err(plan) => return plan,
    };
    match document::table(&cache.index, &document, "cargo", cargo::vouch).await {
        Ok(_) => document::whole(&lookup, &document),
        Err(error) => document::bad(cache, &asking, &error),
    }
}

/// A crate under the upstream's own address, as the forward mode asks for it.
async fn by_index(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let found = names(asked).and_then(|(path, entry)| Some((beside(&lookup, path, HeaderMap::new())?, entry)));
    let Some((asking, entry)) = found else { return Plan::Lookup(Box::new(lookup)) };
    let document = match document::stored(cache, &asking).await {
        Some(document) => Some(document),
        None => document::current(cache, &asking).await.ok(),
    };
    let said = match document {
        Some(document) => document::table(&cache.index, &document, "cargo", cargo::vouch).await.ok(),
        None => None,
    };
    match said.and_then(|table| table.get(entry)) {
        Some(said) => vouched(cache, lookup, said, Level::Indexed),
        None => Plan::Lookup(Box::new(lookup)),
    }
}

/// A crate, whose address here has its checksum; where the upstream has it, its configuration says.
async fn the_crate(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked, checksum: Checksum) -> Plan {
    let (Some(name), Some(version)) = (asked.package.name.clone(), asked.package.version.clone()) else {
        return Plan::refused(StatusCode::NOT_FOUND, "this is not the path of a crate");
    };
    let Some(asking) = beside(&lookup, "/config.json", HeaderMap::new()) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let document = match document::stored(cache, &asking).await {
        Some(document) => document,
        None => match document::current(cache, &asking).await {
            Ok(document) => document,
            Err(plan) => return plan,
        },
    };
    let sha256: String = checksum.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let find = move |read: &mut dyn std::io::Read| cargo::download_url(read, &name, &version, &sha256);
    match document::read(&document, find).await {
        Ok(url) => {
            let said = Said::File(Voucher { url: Some(url), checksum: Some(checksum), size: None });
            vouched(cache, lookup, said, Level::Addressed)
        }
        Err(error) => document::bad(cache, &asking, &error),
    }
}
