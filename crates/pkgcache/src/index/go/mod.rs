//! Go's modules. What a checksum database says of a version, its zip and its go.mod have to be.

mod sumdb;

use std::sync::Arc;

use http::StatusCode;
use storekit::Level;

use crate::cache::Cache;
use crate::ecosystem::contents::Contents;
use crate::ecosystem::go::sumdb::shown;
use crate::ecosystem::go::{self, Kind, Query, Request, What};
use crate::ecosystem::ruling::Expected;
use crate::index::document::{self, Document};
use crate::index::guarded;
use crate::index::ruled::{Known, Plan, pinned, ruled, whole};
use crate::index::{looked_at, named};
use crate::proxy::lookup::Lookup;

/// What becomes of a request for something that a Go client asks for.
pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let Some(Request { what, .. }) = go::parse(&lookup.target.below) else {
        return Plan::Lookup(Box::new(lookup));
    };
    match what {
        What::Index if guarded::judges(&lookup) && lookup.target.mount.is_some() => {
            judged(cache, ruled(lookup, Known::Index)).await
        }
        What::Index => Plan::Lookup(Box::new(ruled(lookup, Known::Index))),
        What::File(Kind::Info) => pinned(lookup, "a checksum database says nothing of a version's `.info`"),
        What::File(kind) => file(cache, lookup, kind == Kind::Mod).await,
        What::Sumdb(name, query) => of_database(cache, lookup, &name, query).await,
    }
}

/// A module's list without what clients are not to see; of its newest version, or what a branch is,
/// whether they may have that.
async fn judged(cache: &Arc<Cache>, mut lookup: Lookup) -> Plan {
    named::legible(&mut lookup.headers);
    let (asking, lookup) = (&whole(&lookup), &lookup);
    let name = &lookup.package.name.clone().unwrap_or_default();
    let is_list = lookup.target.below.ends_with("/@v/list");
    let page = |document: Document| async move {
        let read = if is_list { go::releases } else { go::release };
        let (_, mut view) = document::view(cache, lookup, &document, name, read).await?;
        if let Some(refused) = view.refused(cache) {
            return Ok(refused);
        }
        if view.hidden.is_empty() {
            return Ok(document::whole(lookup, &document));
        }
        let (salt, hidden) = (format!("go {}", view.hidden.salt()), view.hidden.clone());
        let write =
            move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| go::render(read, &hidden, out);
        let page =
            document::render(cache, lookup, &document, &salt, "text/plain; charset=utf-8", write).await?;
        Ok(document::with_hidden(page, &view.hidden))
    };
    document::good(cache, asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

/// What a database is asked for. The one that is set for the mount is reached through it, and no
/// other: a client that is told so asks that itself.
async fn of_database(cache: &Arc<Cache>, lookup: Lookup, name: &str, query: Query) -> Plan {
    let found = lookup.target.sumdb.clone().filter(|it| it.key.name == name);
    let Some(database) = found else {
        let text = format!("the checksum database `{}` is not one that is asked here", shown(name));
        return Plan::refused(StatusCode::NOT_FOUND, text);
    };
    match query {
        Query::Supported => Plan::answered("this checksum database is asked here\n"),
        Query::Latest => sumdb::latest(cache, lookup, &database).await,
        Query::Lookup => sumdb::lookup(cache, lookup, &database).await,
        Query::Tile(place) => sumdb::tile(cache, lookup, &database, place).await,
    }
}

/// A version's zip, or its go.mod.
async fn file(cache: &Arc<Cache>, lookup: Lookup, is_mod: bool) -> Plan {
    let lookup = match verified(cache, lookup) {
        Ok(known) => return known,
        Err(lookup) => *lookup,
    };
    let Some(database) = lookup.target.sumdb.clone() else {
        return pinned(lookup, "no checksum database is set for the mount (`sumdb`)");
    };
    let package = lookup.package.clone();
    let (Some(module), Some(version)) = (package.name, package.version) else {
        return pinned(lookup, "its address does not say which version it is");
    };
    if !database.may_know(&module) {
        return pinned(lookup, "`no-sumdb` keeps its module from the checksum database");
    }
    if guarded::kept_from(&lookup, &database.url, &module).is_some() {
        return pinned(lookup, "the guard `namespace` keeps its module from the checksum database");
    }
    let record = sumdb::proven(cache, &lookup, &database, (&module, &version)).await;
    match record.and_then(|record| record.sum(&module, &version, is_mod)) {
        Some(sum) => {
            let contents = if is_mod { Contents::GoMod(sum) } else { Contents::GoZip(sum) };
            looked_at::plan(cache, lookup, Level::Signed, contents, None).await
        }
        None => pinned(lookup, "the checksum database does not have it, or cannot be asked"),
    }
}

/// What is stored and was compared with its record: that never changes.
fn verified(cache: &Cache, lookup: Lookup) -> Result<Plan, Box<Lookup>> {
    let known = cache.shelf.find(&lookup.key);
    let found = known.as_ref().and_then(|known| {
        known
            .responses
            .iter()
            .find(|it| it.answer.status == StatusCode::OK && it.stored.level == Level::Signed)
    });
    let Some(digest) = found.map(|it| it.stored.digest).filter(|_| lookup.target.sumdb.is_some()) else {
        return Err(Box::new(lookup));
    };
    let expected = Some(Expected { checksum: digest.into(), size: None });
    Ok(Plan::Lookup(Box::new(ruled(lookup, Known::File(Level::Signed, expected)))))
}
