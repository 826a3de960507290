//! `config.json`, index files and crates.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use storekit::{Checksum, Level};

use crate::cache::Cache;
use crate::ecosystem::table::{Said, Standing, Voucher};
use crate::ecosystem::{Asked, Class, cargo};
use crate::index::document::{self, Document};
use crate::index::guarded;
use crate::index::named;
use crate::index::ruled::{Known, Plan, base, beside, names, pinned, ruled, vouched, whole};
use crate::proxy::lookup::Lookup;

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    match asked.class {
        Class::Index if lookup.target.mount.is_some() && asked.package.name.is_none() => {
            config(cache, lookup).await
        }
        Class::Index if asked.package.name.is_some() => index_file(cache, lookup, asked).await,
        Class::Index => config_as_it_is(cache, lookup).await,
        Class::SelfCertifying(checksum) => the_crate(cache, lookup, asked, checksum).await,
        Class::Artifact => under_its_own_name(cache, lookup, asked).await,
        _ => Plan::Lookup(Box::new(lookup)),
    }
}

/// A crate that is asked for where the upstream has it: its index file says what it has to be.
async fn under_its_own_name(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let Some((path, name)) = names(asked) else {
        return pinned(lookup, "its address does not say which index file names it");
    };
    let Some(asking) = beside(&lookup, path, HeaderMap::new()) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let document = match document::stored(cache, &asking).await {
        Some(document) => Some(document),
        None => document::current(cache, &asking).await.ok(),
    };
    let table = match document {
        Some(document) => named::table(cache, &asking, &document).await.ok(),
        None => None,
    };
    match table.and_then(|table| table.get(name)) {
        Some(said) => vouched(lookup, said, Level::Indexed),
        None => pinned(lookup, "its index file cannot be had, or does not name it"),
    }
}

/// An index file, handed on as it is where it can be one, but for what clients are not to see:
/// cargo leaves out what it cannot read, and would find no such crate in half a file.
async fn index_file(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let lookup = ruled(lookup, Known::Index);
    let asking = whole(&lookup);
    let asking = &asking;
    let (lookup, name) = (&lookup, &asked.package.name.clone().unwrap_or_default());
    let page = |document: Document| async move {
        named::table(cache, asking, &document).await?;
        if lookup.target.mount.is_none() {
            return Ok(document::whole(lookup, &document));
        }
        let (_, view) = document::view(cache, lookup, &document, name, cargo::releases).await?;
        if view.hidden.is_empty() {
            return Ok(document::whole(lookup, &document));
        }
        let (salt, hidden) = (format!("cargo {}", view.hidden.salt()), view.hidden.clone());
        let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
            cargo::render(read, &hidden, out)
        };
        let page = document::render(cache, lookup, &document, &salt, "text/plain", write).await?;
        Ok(document::with_hidden(page, &view.hidden))
    };
    document::good(cache, asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

/// Who vouches for a crate whose address has its checksum: the index file, where one is stored that
/// says the same. Where a guard has to know, it is asked for.
async fn level(cache: &Arc<Cache>, lookup: &Lookup, asked: &Asked, checksum: Checksum) -> (Level, Standing) {
    let indexed = async {
        let (path, name) = names(asked)?;
        let asking = beside(lookup, path, HeaderMap::new())?;
        let document = match document::stored(cache, &asking).await {
            Some(document) => document,
            None if guarded::needs_index(lookup) => document::current(cache, &asking).await.ok()?,
            None => return None,
        };
        match named::table(cache, &asking, &document).await.ok()?.get(name)? {
            Said::File(voucher) if voucher.checksum == Some(checksum) => {
                Some((Level::Indexed, voucher.standing))
            }
            Said::File(_) | Said::Contradiction => None,
        }
    };
    indexed.await.unwrap_or((Level::Addressed, Standing::default()))
}

/// The configuration as the upstream has it, where it can be one.
async fn config_as_it_is(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    named::as_it_is_if(cache, ruled(lookup, Known::Index), |_, _, read| cargo::check_config(read)).await
}

async fn config(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let path = lookup.target.below.clone();
    let (Some(asking), Some(base)) = (beside(&lookup, &path, HeaderMap::new()), base(&lookup)) else {
        return Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here");
    };
    let salt = format!("{base:?}");
    let page = |document: Document| {
        let (lookup, salt, base) = (&lookup, &salt, base.clone());
        async move {
            let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
                cargo::render_config(read, &base, out)
            };
            document::render(cache, lookup, &document, salt, "application/json", write).await
        }
    };
    document::good(cache, &asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
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
            Err(refused) => return named::of_file(refused, &asking, &format!("{name} {version}")),
        },
    };
    let sha256 = checksum.digest().map(|digest| digest.hex()).unwrap_or_default();
    let find = move |read: &mut dyn std::io::Read| cargo::download_url(read, &name, &version, &sha256);
    match document::read(&document, find).await {
        Ok(url) => {
            let (level, standing) = level(cache, &lookup, asked, checksum).await;
            let said = Said::File(Voucher { url: Some(url), checksum: Some(checksum), size: None, standing });
            vouched(lookup, said, level)
        }
        Err(error) => document::bad(cache, &asking, &document, &error),
    }
}
