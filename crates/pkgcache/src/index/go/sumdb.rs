//! A checksum database: its records are handed on, and count once they are proven to be in a tree
//! whose root is signed.

use std::io::Read;
use std::sync::Arc;

use http::{HeaderMap, Uri};
use storekit::Level;

use crate::cache::{self, Cache};
use crate::config::hosts::is_address;
use crate::config::target::normal;
use crate::ecosystem::BadIndex;
use crate::ecosystem::go::sumdb::{LARGEST, Record, Sumdb};
use crate::ecosystem::go::tiles::{FULL, Hash, Place, Tree, root_of};
use crate::guards::Refusal;
use crate::index::document::{self, Document};
use crate::index::guarded;
use crate::index::ruled::{Known, Plan, ruled, whole};
use crate::known::sumdbs::Edge;
use crate::proxy::lookup::Lookup;
use crate::rules::invalidate::is_same_origin;

/// The newest head.
pub(super) async fn latest(cache: &Arc<Cache>, lookup: Lookup, database: &Arc<Sumdb>) -> Plan {
    let Some(lookup) = at(lookup, database, "latest", Known::Index) else { return elsewhere() };
    let read = |document: Document| {
        let database = Arc::clone(database);
        async move { said(&document, move |text| database.head(text)).await }
    };
    let good = document::good(cache, &whole(&lookup), read).await;
    good.map_or_else(|refused| refused, |(document, _)| document::whole(&lookup, &document))
}

/// A record, for a client. One that is not in the tree is refused; where that cannot be told, the
/// client sees for itself.
pub(super) async fn lookup(cache: &Arc<Cache>, lookup: Lookup, database: &Arc<Sumdb>) -> Plan {
    let package = lookup.package.clone();
    let (Some(module), Some(version)) = (package.name, package.version) else { return elsewhere() };
    if let Some(refusal) = guarded::kept_from(&lookup, &database.url, &module) {
        let text = format!("{}; GONOSUMDB or GOPRIVATE has to name it", refusal.text);
        return guarded::refused(cache, Refusal { text, ..refusal });
    }
    let path = Sumdb::lookup(&module, &version);
    let Some(lookup) = at(lookup, database, &path, FIXED) else { return elsewhere() };
    let good = record(cache, &whole(&lookup), database).await;
    good.map_or_else(|refused| refused, |(document, _)| document::whole(&lookup, &document))
}

/// A tile, for a client: one that does not belong to the largest tree that is known is handed on,
/// and not stored.
pub(super) async fn tile(cache: &Arc<Cache>, lookup: Lookup, database: &Arc<Sumdb>, place: Place) -> Plan {
    let Some(lookup) = at(lookup, database, &place.path(), FIXED) else { return elsewhere() };
    let edge = cache.index.sumdbs.get(&database.key);
    let same = |edge: &Arc<Edge>| edge.tree.tile(place.level, place.number * FULL + place.width - 1);
    let Some((edge, found)) = edge.and_then(|edge| Some((Arc::clone(&edge), same(&edge)?))) else {
        return Plan::Lookup(Box::new(ruled(lookup, Known::Interface)));
    };
    let asking = whole(&lookup);
    let document = match document::current(cache, &asking).await {
        Ok(document) => document,
        Err(refused) => return refused,
    };
    let tree = Reader { cache, lookup: &asking, database, edge };
    match tree.has(&document, place, found).await {
        Ok(()) => document::whole(&lookup, &document),
        Err(error) => document::bad(cache, &asking, &document, &error),
    }
}

/// What a database says of a version, proven to be in its tree. `None` where it says nothing,
/// cannot be asked, or says something that is not in the tree.
pub(super) async fn proven(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    database: &Arc<Sumdb>,
    (module, version): (&str, &str),
) -> Option<Record> {
    let asking = at(ours(lookup), database, &Sumdb::lookup(module, version), FIXED)?;
    record(cache, &asking, database).await.ok()?.1
}

/// What has its path for ever.
const FIXED: Known = Known::File(Level::Pinned, None);

/// The same upstream, asked for this program's own use.
fn ours(lookup: &Lookup) -> Lookup {
    let mut other = lookup.clone();
    (other.headers, other.wire, other.package) =
        (HeaderMap::new(), None, crate::ecosystem::Package::default());
    other.method = http::Method::GET;
    other
}

fn elsewhere() -> Plan {
    Plan::refused(http::StatusCode::BAD_REQUEST, "the path is not valid here")
}

/// The lookup of a path of the database. Nothing of a client's comes there but what is harmless.
fn at(mut lookup: Lookup, database: &Sumdb, path: &str, known: Known) -> Option<Lookup> {
    let url: Uri = format!("{}/{path}", database.url.to_string().trim_end_matches('/')).parse().ok()?;
    if !is_same_origin(&url, &lookup.target.url) {
        crate::fetch::redirect::leave_harmless(&mut lookup.headers);
    }
    let is_named = database.url.host().is_some_and(is_address);
    lookup.target.private = lookup.config.allow_private || is_named;
    lookup.target.url = normal(&url)?;
    lookup.key = cache::key(&lookup.target, &lookup.headers);
    Some(ruled(lookup, known))
}

/// The answer to a lookup, and the record in it, if it is proven; one that cannot be used is
/// forgotten.
async fn record(
    cache: &Arc<Cache>,
    asking: &Lookup,
    database: &Arc<Sumdb>,
) -> Result<(Document, Option<Record>), Plan> {
    let read = |document: Document| async move {
        let own = Arc::clone(database);
        let record = said(&document, move |text| own.record(text)).await?;
        match in_tree(cache, asking, database, &record).await {
            Ok(()) => Ok(Some(record)),
            Err(error) if error.is_of_the_index() => Err(error),
            Err(_) => Ok(None),
        }
    };
    document::good(cache, asking, read).await
}

/// What a small document says.
async fn said<T: Send + 'static>(
    document: &Document,
    read: impl FnOnce(&str) -> Result<T, BadIndex> + Send + 'static,
) -> Result<T, BadIndex> {
    let all = |from: &mut dyn Read| {
        let mut text = String::new();
        from.take(LARGEST).read_to_string(&mut text)?;
        read(&text)
    };
    document::read(document, all).await
}

/// Proves the record: by the largest tree that is known, else by its own.
async fn in_tree(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    database: &Arc<Sumdb>,
    record: &Record,
) -> Result<(), BadIndex> {
    let known = cache.index.sumdbs.get(&database.key).filter(|edge| record.id < edge.tree.size);
    let edge = match known {
        Some(edge) => edge,
        None => edge(cache, lookup, database, record.tree).await?,
    };
    Reader { cache, lookup, database, edge }.has_hash(0, record.id, record.leaf).await
}

/// The tiles at a tree's edge, compared with its root.
async fn edge(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    database: &Arc<Sumdb>,
    tree: Tree,
) -> Result<Arc<Edge>, BadIndex> {
    let mut tiles = Vec::new();
    let mut documents = Vec::new();
    for place in tree.edge() {
        let (asking, document, hashes) = fetched(cache, lookup, database, place).await?;
        tiles.push(hashes);
        documents.push((asking, document));
    }
    if !tree.has_edge(&tiles) {
        let wrong = BadIndex::Malformed("the tiles at the tree's edge do not belong to its root".to_owned());
        for (asking, document) in &documents {
            drop(document::bad(cache, asking, document, &wrong));
        }
        return Err(wrong);
    }
    let edge = Arc::new(Edge { tree, tiles: tree.edge().into_iter().zip(tiles).collect() });
    cache.index.sumdbs.keep(&database.key, &edge);
    Ok(edge)
}

/// A tile as it is stored, or fetched; nothing is compared.
async fn fetched(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    database: &Sumdb,
    place: Place,
) -> Result<(Lookup, Document, Vec<Hash>), BadIndex> {
    let missing = |why: &str| BadIndex::Own(format!("{}: {why}", place.path()));
    let asking =
        at(ours(lookup), database, &place.path(), FIXED).ok_or_else(|| missing("not a valid path"))?;
    let document = document::current(cache, &asking).await.map_err(|_| missing("it cannot be had"))?;
    match hashes(&document, place).await {
        Ok(hashes) => Ok((asking, document, hashes)),
        Err(error) => {
            drop(document::bad(cache, &asking, &document, &error));
            Err(error)
        }
    }
}

async fn hashes(document: &Document, place: Place) -> Result<Vec<Hash>, BadIndex> {
    let read = move |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(FULL * 32 + 1).read_to_end(&mut bytes)?;
        let wrong = || BadIndex::Malformed(format!("a tile of {} hashes has as many bytes", place.width));
        place.hashes(&bytes).ok_or_else(wrong)
    };
    document::read(document, read).await
}

/// Reads a tree whose edge is known to be its own.
struct Reader<'a> {
    cache: &'a Arc<Cache>,
    lookup: &'a Lookup,
    database: &'a Sumdb,
    edge: Arc<Edge>,
}

impl Reader<'_> {
    /// Proves that the tree has this hash there: upwards, until it comes to the edge. Where it does
    /// not, none of the tiles on the way is believed.
    async fn has_hash(&self, level: u32, number: u64, hash: Hash) -> Result<(), BadIndex> {
        let (mut level, mut number, mut hash) = (level, number, hash);
        let mut passed = Vec::new();
        loop {
            let outside = || BadIndex::Malformed("it is not in the tree".to_owned());
            let place = self.edge.tree.tile(level, number).ok_or_else(outside)?;
            let known = self.known(place);
            let is_edge = known.is_some();
            let tile = if let Some(hashes) = known {
                hashes
            } else {
                let (asking, document, hashes) =
                    fetched(self.cache, self.lookup, self.database, place).await?;
                passed.push((asking, document));
                hashes
            };
            let there = usize::try_from(number % FULL).ok().and_then(|at| tile.get(at));
            if there != Some(&hash) {
                let wrong = BadIndex::Malformed("the tree has something else in its place".to_owned());
                for (asking, document) in &passed {
                    drop(document::bad(self.cache, asking, document, &wrong));
                }
                return Err(wrong);
            }
            if is_edge {
                return Ok(());
            }
            (level, number, hash) = (level + 1, place.number, root_of(&tile));
        }
    }

    /// The tile, where it is at the edge.
    fn known(&self, place: Place) -> Option<Vec<Hash>> {
        self.edge.tiles.iter().find(|(it, _)| *it == place).map(|(_, hashes)| hashes.clone())
    }

    /// Whether these are the first hashes of the tile that the tree has there.
    async fn has(&self, document: &Document, place: Place, found: Place) -> Result<(), BadIndex> {
        let said = hashes(document, place).await?;
        let known = self.known(found);
        let is_edge = known.is_some();
        let full = match known {
            Some(hashes) => hashes,
            None if place.width == FULL => said.clone(),
            None => fetched(self.cache, self.lookup, self.database, found).await?.2,
        };
        if !is_edge {
            self.has_hash(place.level + 1, place.number, root_of(&full)).await?;
        }
        if full.starts_with(&said) {
            return Ok(());
        }
        Err(BadIndex::Malformed("the tree has other hashes in its place".to_owned()))
    }
}
