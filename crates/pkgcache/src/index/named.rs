//! What the index that names a file says of it.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use storekit::printable;

use crate::cache::Cache;
use crate::ecosystem::table::{Said, Table};
use crate::ecosystem::{BadIndex, Ecosystem, cargo, npm, python};
use crate::index::document::{self, Document};
use crate::index::ruled::{Plan, whole};
use crate::proxy::lookup::{Lookup, NOT_STORED};
use crate::response::reply::own;
use crate::rules::fields::cache_status::CacheStatus;

/// What the index says of the file of this name: as it is stored, whatever its age; where that does
/// not name the file, as it is now.
///
/// # Errors
/// The answer that tells the client why there is no index, or none that can be used.
pub(super) async fn said(cache: &Arc<Cache>, asking: &Lookup, name: &str) -> Result<Option<Said>, Plan> {
    if let Some(document) = document::stored(cache, asking).await
        && let Ok(table) = table(cache, asking, &document).await
        && let Some(said) = table.get(name)
    {
        return Ok(Some(said));
    }
    let document =
        document::current(cache, asking).await.map_err(|refused| of_file(refused, asking, name))?;
    match table(cache, asking, &document).await {
        Ok(table) => Ok(table.get(name)),
        Err(error) => Err(document::bad(cache, asking, &document, &error)),
    }
}

/// The refusal of an index as one of the file that it names: offline, that is what is missing.
pub(super) fn of_file(refused: Plan, asking: &Lookup, name: &str) -> Plan {
    let Plan::Answer(response, result) = refused else { return refused };
    if !asking.is_offline() || response.status() != StatusCode::GATEWAY_TIMEOUT {
        return Plan::Answer(response, result);
    }
    let (url, name) = (&asking.target.url, name.rsplit('/').next().unwrap_or(name));
    let text = if asking.config.replays {
        format!("{name}: the index that names this file, {url}, is not in the record that is replayed")
    } else {
        let who = if asking.config.offline { "the proxy is offline" } else { "the mount is read-only" };
        format!("{name}: {who}, and the index that names this file, {url}, is not stored")
    };
    let status = CacheStatus { detail: Some(NOT_STORED), ..CacheStatus::default() };
    Plan::answer(own(StatusCode::GATEWAY_TIMEOUT, text, Some(&status)), result)
}

/// The table of an index document.
///
/// # Errors
/// [`BadIndex`].
pub(super) async fn table(
    cache: &Cache,
    asking: &Lookup,
    document: &Document,
) -> Result<Arc<Table>, BadIndex> {
    let (index, url) = (&cache.index, asking.target.url.clone());
    let salt = format!("{} {url}", asking.target.kind.name());
    match asking.target.kind {
        Ecosystem::Python => {
            let sent =
                python::sent(document.content_type()).ok_or_else(|| neither(document.content_type()))?;
            let read =
                move |read: &mut dyn std::io::Read, table: &mut _| python::vouch(&url, sent, read, table);
            document::table(index, document, &salt, read).await
        }
        Ecosystem::Npm => {
            let read = move |read: &mut dyn std::io::Read, table: &mut _| npm::vouch(&url, read, table);
            document::table(index, document, &salt, read).await
        }
        _ => document::table(index, document, "cargo", cargo::vouch).await,
    }
}

/// The index as its upstream has it, where it can be one: for the forward mode, in which nothing is
/// written anew.
pub(super) async fn as_it_is(cache: &Arc<Cache>, mut lookup: Lookup) -> Plan {
    legible(&mut lookup.headers);
    let asking = whole(&lookup);
    let asking = &asking;
    let table = |document: Document| async move { table(cache, asking, &document).await };
    let good = document::good(cache, asking, table).await;
    good.map_or_else(|refused| refused, |(document, _)| document::whole(&lookup, &document))
}

/// The same of an index that names no files, where `check` finds nothing wrong.
pub(super) async fn as_it_is_if<F>(cache: &Arc<Cache>, mut lookup: Lookup, check: F) -> Plan
where
    F: Fn(&Uri, &str, &mut dyn std::io::Read) -> Result<(), BadIndex> + Clone + Send + 'static,
{
    legible(&mut lookup.headers);
    let asking = &whole(&lookup);
    let read = |document: Document| {
        let (check, url, sent) =
            (check.clone(), asking.target.url.clone(), document.content_type().to_owned());
        async move { document::read(&document, move |read| check(&url, &sent, read)).await }
    };
    let good = document::good(cache, asking, read).await;
    good.map_or_else(|refused| refused, |(document, ())| document::whole(&lookup, &document))
}

/// Asks for an encoding that can be read here, of those that the client takes.
pub(super) fn legible(headers: &mut HeaderMap) {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    let gzip = values.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case("gzip"));
    let encoding = if gzip { "gzip" } else { "identity" };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
}

/// A page whose form, by the media type that was sent, is not known.
pub(super) fn neither(content_type: &str) -> BadIndex {
    BadIndex::Malformed(format!("it came as `{}`", printable(content_type)))
}
