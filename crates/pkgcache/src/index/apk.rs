//! Repositories of apk: an index, handed on as it came, and the packages that it names.

use std::io::Read;
use std::sync::Arc;

use http::HeaderMap;
use http::header::RANGE;
use storekit::Level;

use crate::cache::Cache;
use crate::ecosystem::contents::Contents;
use crate::ecosystem::table::{Said, Table, Voucher};
use crate::ecosystem::{Asked, BadIndex, Class, apk};
use crate::fetch::ask_for_the_bytes;
use crate::index::document::{self, Document};
use crate::index::looked_at;
use crate::index::ruled::{Known, Plan, at, names, pinned, ruled, vouched, whole};
use crate::proxy::lookup::Lookup;

/// An index of which a signature is checked is not larger: 64 MiB.
const LARGEST_SIGNED: u64 = 64 << 20;

pub(super) async fn plan(cache: &Arc<Cache>, mut lookup: Lookup, asked: &Asked) -> Plan {
    match asked.class {
        Class::Index => {
            // What is signed are the bytes.
            as_bytes(&mut lookup.headers);
            let lookup = ruled(lookup, Known::Index);
            if lookup.target.below.ends_with(apk::INDEX) {
                return index(cache, lookup).await;
            }
            Plan::Lookup(Box::new(lookup))
        }
        _ => package(cache, lookup, asked).await,
    }
}

/// Asks for the file as it is; conditions and ranges stay the client's.
fn as_bytes(headers: &mut HeaderMap) {
    let range = headers.get(RANGE).cloned();
    ask_for_the_bytes(headers);
    headers.extend(range.map(|range| (RANGE, range)));
}

async fn index(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let asking = whole(&lookup);
    let asking = &asking;
    let read = |document: Document| async move { table(cache, asking, &document).await };
    let good = document::good(cache, asking, read).await;
    good.map_or_else(|refused| refused, |(document, _)| document::whole(&lookup, &document))
}

/// What an index says. Where there is a keyring, it counts only if one of its keys signed it.
async fn table(cache: &Cache, asking: &Lookup, document: &Document) -> Result<Arc<Table>, BadIndex> {
    if let Some(keyring) = asking.target.keyring.clone() {
        let verify = move |from: &mut dyn Read| {
            let mut bytes = Vec::new();
            from.take(LARGEST_SIGNED).read_to_end(&mut bytes)?;
            apk::signature::verify(&bytes, &keyring)
        };
        document::read(document, verify).await?;
    }
    document::table(&cache.index, document, "apk", apk::vouch).await
}

/// A package: what the index of its folder says of it.
async fn package(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let Some((index, name)) = names(asked) else {
        return pinned(lookup, "its address does not say which index names it");
    };
    let asking = at(&whole(&lookup), index).map(|mut asking| {
        asking.package = crate::ecosystem::Package::default();
        as_bytes(&mut asking.headers);
        ruled(asking, Known::Index)
    });
    let Some(asking) = asking else { return pinned(lookup, "its folder has no index") };
    let document = match document::stored(cache, &asking).await {
        Some(document) => Some(document),
        None => document::current(cache, &asking).await.ok(),
    };
    let said = match document {
        Some(document) => table(cache, &asking, &document).await.ok().and_then(|table| table.get(name)),
        None => None,
    };
    let level = if asking.target.keyring.is_some() { Level::Signed } else { Level::Indexed };
    match said {
        Some(Said::File(Voucher { checksum: Some(checksum), size, .. })) => {
            looked_at::plan(cache, lookup, level, Contents::Apk(checksum), size).await
        }
        Some(said) => vouched(lookup, said, level),
        None => pinned(lookup, "the index of its folder cannot be had, or does not name it"),
    }
}
