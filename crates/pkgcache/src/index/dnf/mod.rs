//! Repositories of RPM packages: repomd.xml, the indexes that it names, and packages.
//!
//! A repomd.xml names its indexes with their checksums; one of these names the packages. All stay
//! stored for a few generations, so that a client that holds the older repomd.xml gets what belongs
//! to it.

mod pair;

use std::io::Read;
use std::sync::Arc;

use http::Uri;
use storekit::{Digest, Level, printable};

use crate::cache::{self, Cache};
use crate::ecosystem::dnf::{self, Listed};
use crate::ecosystem::ruling::Expected;
use crate::ecosystem::table::{Table, TableBuilder};
use crate::ecosystem::{Asked, BadIndex, Class};
use crate::index::document::{self, Document};
use crate::index::ruled::{Known, Plan, at, pinned, plain, ruled, vouched, whole};
use crate::known::repomds::Vouched;
use crate::proxy::lookup::Lookup;
use crate::wire::peer::Peer;

/// So many generations are kept beside the newest.
const GENERATIONS: usize = 3;

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked, client: Peer) -> Plan {
    let below = lookup.target.below.clone();
    match asked.class {
        Class::Index => match dnf::place(&below) {
            Some((base, rest)) => match rest.rsplit('.').next() {
                Some("xml") => repomd(cache, lookup, client).await,
                Some("asc") => pair::signature(cache, lookup, &base, client).await,
                _ => Plan::Lookup(Box::new(ruled(lookup, Known::Index))),
            },
            None => Plan::Lookup(Box::new(mirrors(lookup))),
        },
        Class::Artifact => package(cache, lookup, client).await,
        _ => match dnf::place(&below) {
            Some((base, rest)) => sub_index(cache, lookup, asked, (&base, &rest), client).await,
            None => Plan::Lookup(Box::new(ruled(lookup, plain(asked.class)))),
        },
    }
}

/// A list of servers, as its own server writes it. That a client counts itself by it is left out:
/// the answer is the same.
fn mirrors(mut lookup: Lookup) -> Lookup {
    if let Some(url) = uncounted(&lookup.target.url) {
        lookup.target.url = url;
        lookup.key = cache::key(&lookup.target, &lookup.headers);
    }
    ruled(lookup, Known::Index)
}

fn uncounted(url: &Uri) -> Option<Uri> {
    let query = url.query()?;
    let others: Vec<_> = query.split('&').filter(|part| !part.starts_with("countme=")).collect();
    if others.len() == query.split('&').count() {
        return None;
    }
    let question = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    format!("{scheme}://{authority}{}{question}", url.path()).parse().ok()
}

fn generations(lookup: Lookup) -> Lookup {
    let mut lookup = ruled(lookup, Known::Index);
    lookup.ruling.generations = GENERATIONS;
    lookup
}

/// The lookup of a whole document of the repository, by its path.
fn beside(lookup: &Lookup, path: &str) -> Option<Lookup> {
    at(&whole(lookup), path).map(generations)
}

/// A repomd.xml. The client's answer is that of the lookup; what it was given is remembered.
async fn repomd(cache: &Arc<Cache>, lookup: Lookup, client: Peer) -> Plan {
    let lookup = generations(lookup);
    let asking = whole(&lookup);
    let document = match document::current(cache, &asking).await {
        Ok(document) => document,
        Err(plan) => return plan,
    };
    let document = match usable(cache, &asking, document).await {
        Ok(document) => document,
        Err(plan) => return plan,
    };
    cache.index.given.give(client, &asking.key.url, document.digest);
    document::whole(&lookup, &document)
}

/// The document with its signature; where it cannot be used, one that was stored before it and may
/// stand in.
async fn usable(cache: &Arc<Cache>, asking: &Lookup, document: Document) -> Result<Document, Plan> {
    let refused = match pair::with_signature(cache, asking, document).await {
        Ok(document) => match read(cache, asking, &document).await {
            Ok(_) => return Ok(document),
            Err(error) => document::bad(cache, asking, &document, &error),
        },
        Err(refused) => refused,
    };
    for document in document::earlier(cache, asking).await {
        if read(cache, asking, &document).await.is_ok() {
            return Ok(document);
        }
    }
    Err(refused)
}

/// What a stored repomd.xml says. Where there is a keyring, it counts only if one of its keys
/// signed it.
async fn read(cache: &Arc<Cache>, asking: &Lookup, document: &Document) -> Result<Vouched, BadIndex> {
    // A verdict is that of one keyring: another one may be set meanwhile.
    let key = (document.digest, asking.target.keyring.as_deref().map(Digest::of));
    if let Some(known) = cache.index.dnf.get(key) {
        return Ok(known);
    }
    let level = match &asking.target.keyring {
        None => Level::Indexed,
        Some(keyring) => {
            let signature = pair::stored(cache, asking, document.digest).await;
            let signature = signature.ok_or_else(|| {
                BadIndex::Malformed("its signature, `repomd.xml.asc`, cannot be had".to_owned())
            })?;
            pair::verify(document, &signature, Arc::clone(keyring)).await?;
            Level::Signed
        }
    };
    let repomd = document::read(document, |read| dnf::repomd(read)).await?;
    let vouched = Vouched { repomd: Arc::new(repomd), level };
    if let Some(list) = vouched.repomd.unread_primary() {
        let (url, list) = (&asking.target.url, printable(list));
        cache.outside.warning(&format!(
            "{url} has its list of packages as {list} alone, which is not read here: nobody vouches for its packages"
        ));
    }
    cache.index.dnf.keep(key, &vouched);
    Ok(vouched)
}

/// The generations of a repository's repomd.xml that are stored: the one that the client was given,
/// then the newest, then older ones.
async fn stored(cache: &Arc<Cache>, lookup: &Lookup, base: &str, client: Peer) -> Vec<Vouched> {
    let Some(asking) = beside(lookup, &dnf::repomd_of(base)) else { return Vec::new() };
    let Some(known) = cache.shelf.find(&asking.key) else { return Vec::new() };
    let mut digests: Vec<_> = cache.index.given.of(client, &asking.key.url).into_iter().collect();
    for response in &known.responses {
        if !digests.contains(&response.stored.digest) {
            digests.push(response.stored.digest);
        }
    }
    let mut found = Vec::new();
    for digest in digests {
        if let Some(document) = document::stored_as(cache, &asking, &digest).await {
            found.extend(read(cache, &asking, &document).await.ok());
        }
    }
    found
}

fn expected(listed: &Listed) -> Expected {
    Expected { checksum: listed.checksum, size: listed.size }
}

/// An index of a repository. What the client's repomd.xml says of it counts; where no stored one
/// names it, so does the checksum in its name.
async fn sub_index(
    cache: &Arc<Cache>,
    lookup: Lookup,
    asked: &Asked,
    (base, rest): (&str, &str),
    client: Peer,
) -> Plan {
    for Vouched { repomd, level } in stored(cache, &lookup, base, client).await {
        if let Some(listed) = repomd.file(rest) {
            let mut lookup = ruled(lookup, Known::File(level, Some(expected(listed))));
            let in_name = asked.class == Class::SelfCertifying(listed.checksum);
            lookup.ruling.generations = if in_name { 0 } else { GENERATIONS };
            return Plan::Lookup(Box::new(lookup));
        }
    }
    Plan::Lookup(Box::new(ruled(lookup, plain(asked.class))))
}

/// A package: what the list of packages of the client's generation says of it, else that of another
/// one. Its repository may be in any folder above.
async fn package(cache: &Arc<Cache>, lookup: Lookup, client: Peer) -> Plan {
    let mut why = "no repomd.xml of a folder above it is stored";
    for (base, name) in dnf::bases(&lookup.target.below) {
        let generations = stored(cache, &lookup, &base, client).await;
        for (place, generation) in generations.iter().enumerate() {
            why = if generation.repomd.unread_primary().is_some() {
                "its repository has its list of packages in bzip2 or zchunk alone, which is not read here"
            } else {
                "no list of packages of its repository that can be had names it"
            };
            // A client that has the list from elsewhere asks for none: then it is fetched for us.
            let table = table(cache, &lookup, &base, generation, place == 0).await;
            if let Some(said) = table.and_then(|table| table.get(&name)) {
                return of_generations(vouched(lookup, said, generation.level));
            }
        }
    }
    pinned(lookup, why)
}

/// A repository may put another file in the place of one: each generation has its own.
fn of_generations(plan: Plan) -> Plan {
    match plan {
        Plan::Lookup(mut lookup) => {
            lookup.ruling.generations = GENERATIONS;
            Plan::Lookup(lookup)
        }
        answer @ Plan::Answer(..) => answer,
    }
}

/// What the list of packages says that this repomd.xml names; `None` where it cannot be had or
/// read.
async fn table(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    base: &str,
    generation: &Vouched,
    fetch: bool,
) -> Option<Arc<Table>> {
    let (listed, packing) = generation.repomd.primary()?;
    let asking = at(&whole(lookup), &format!("{base}/{}", listed.path))?;
    let mut asking = ruled(asking, Known::File(generation.level, Some(expected(listed))));
    asking.ruling.generations = GENERATIONS;
    asking.package = crate::ecosystem::Package::default();
    let mut document = standing(cache, &asking).await;
    if document.is_none() && fetch {
        document::current(cache, &asking).await.ok()?;
        document = standing(cache, &asking).await;
    }
    let read = move |read: &mut dyn Read, table: &mut TableBuilder| dnf::vouch(packing, read, table);
    document::table(&cache.index, &document?, "dnf", read).await.ok()
}

/// The document that is stored and is what is expected.
async fn standing(cache: &Arc<Cache>, asking: &Lookup) -> Option<Document> {
    let known = cache.shelf.find(&asking.key);
    let fits = known.as_ref().and_then(|it| it.responses.iter().find(|it| asking.ruling.accepts(&it.stored)));
    let expected = asking.ruling.expected?;
    let digest = fits.map(|it| it.stored.digest).or_else(|| expected.checksum.digest())?;
    document::body(cache, &digest).await
}
