//! What is stored, and since when: looked through by one request at a time, and not again too soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Uri};
use jiff::Timestamp;
use storekit::packages::index::Summary;
use storekit::{At, Level, PackageKey, Packages};
use tokio::task::spawn_blocking;

use crate::cache::Cache;
use crate::config::Config;
use crate::config::target::path_below;
use crate::ecosystem::{Class, Ecosystem};
use crate::status::days::days;
use crate::status::looks::{Look, Seen};
use crate::status::{IndexAge, MOST, OfEcosystem, Stored};

/// What was seen at the last look, if there was one; another one is begun where that is too long
/// ago.
pub(super) fn known(cache: &Arc<Cache>) -> Option<Arc<Seen>> {
    let last = cache.looks.last();
    if !last.as_ref().is_some_and(Look::is_good) {
        let cache = Arc::clone(cache);
        // What goes wrong is said to whoever waits for it.
        tokio::spawn(async move { seen(&cache).await.map(drop) });
    }
    last.map(|it| it.seen)
}

/// What was seen at the last look, where another one takes long.
pub(super) fn meanwhile(cache: &Arc<Cache>) -> Option<Arc<Seen>> {
    cache.looks.last().filter(Look::is_shown_meanwhile).and_then(|_| known(cache))
}

/// What is stored, as it is or was not long ago.
///
/// # Errors
/// I/O errors.
pub(super) async fn seen(cache: &Arc<Cache>) -> storekit::Result<Arc<Seen>> {
    let _turn = cache.looks.turn().await;
    if let Some(look) = cache.looks.last().filter(Look::is_good) {
        return Ok(look.seen);
    }
    let (began, asked) = (Instant::now(), Arc::clone(cache));
    let looked = spawn_blocking(move || look_through(&asked)).await;
    let seen = Arc::new(looked.map_err(std::io::Error::other).at("look through", cache.store.root())??);
    cache.looks.keep(Look { seen: Arc::clone(&seen), ended: Instant::now(), took: began.elapsed() });
    Ok(seen)
}

fn look_through(cache: &Cache) -> storekit::Result<Seen> {
    let (now, packages) = (Timestamp::now(), cache.store.packages());
    let mut found = Found::of(&cache.config());
    let mut sizes = packages.body_sizes()?;
    packages.overview(&mut |summary, used| {
        let bytes = summary.bodies.iter().filter_map(|body| sizes.remove(body)).sum();
        found.add(summary, used, bytes);
    })?;
    let stored = found.stored(&packages, now);
    Ok(Seen { stored, days: days(&cache.store.events(), now)? })
}

/// What was found of entries.
struct Found {
    ecosystems: BTreeMap<String, OfEcosystem>,
    /// The upstreams that know their packages.
    mounts: Vec<(Ecosystem, Uri)>,
    indexes: Last<(Ecosystem, PackageKey)>,
    unverified: Last<String>,
    unverified_count: u64,
}

impl Found {
    fn of(config: &Config) -> Self {
        let mounts = config.upstreams.iter().map(|it| (it.kind, it.url.clone()));
        let registries = config
            .registries
            .iter()
            .map(|it| (if it.has_models { Ecosystem::Ollama } else { Ecosystem::Oci }, it.url.clone()));
        Self {
            mounts: mounts.chain(registries).collect(),
            ecosystems: BTreeMap::new(),
            indexes: Last::default(),
            unverified: Last::default(),
            unverified_count: 0,
        }
    }

    fn add(&mut self, summary: &Summary<'_>, used: Timestamp, bytes: u64) {
        let sum = self.ecosystems.entry(summary.ecosystem.to_owned()).or_default();
        sum.urls += 1;
        sum.bytes = sum.bytes.saturating_add(bytes);
        let class = self.class(summary);
        let is_index = matches!(class, Some((_, Class::Index | Class::SubIndex | Class::Tag)));
        // An index has no checksum anywhere, but for a signature; and what is not there, none.
        let is_unverified = summary.level == Level::None && !is_index && !summary.absent;
        if is_unverified {
            self.unverified_count += 1;
            let sum = self.ecosystems.entry(summary.ecosystem.to_owned()).or_default();
            sum.unverified += 1;
        }
        if summary.scope.is_some() {
            return;
        }
        if is_unverified {
            self.unverified.add(used, || without_query(summary.url));
        }
        if let Some((kind, Class::Index | Class::Tag)) = class {
            let key = || PackageKey::new(summary.ecosystem, summary.source, summary.url, None);
            self.indexes.add(used, || (kind, key()));
        }
    }

    /// What its path says that it is, where a mount knows that.
    fn class(&self, summary: &Summary<'_>) -> Option<(Ecosystem, Class)> {
        let url = summary.url.parse::<Uri>().ok()?;
        let mut mounts = self.mounts.iter().filter(|(kind, _)| kind.name() == summary.ecosystem);
        let found = mounts.find_map(|(kind, upstream)| Some((*kind, path_below(upstream, &url)?)));
        // In the forward mode nothing is mounted.
        let whole = || Some((Ecosystem::named(summary.ecosystem)?, url.path().to_owned()));
        let (kind, below) = found.or_else(whole)?;
        Some((kind, kind.ask(&Method::GET, &below, url.query()).class))
    }

    fn stored(self, packages: &Packages, now: Timestamp) -> Stored {
        let named = |(ecosystem, sum): (String, OfEcosystem)| OfEcosystem { ecosystem, ..sum };
        let mut ecosystems: Vec<_> = self.ecosystems.into_iter().map(named).collect();
        ecosystems.sort_by_key(|it| std::cmp::Reverse(it.bytes));
        let checked = |(kind, key): (Ecosystem, PackageKey)| {
            let entry = packages.get(&key).ok()??;
            let checked = entry.responses.first()?.received.min(now);
            Some(IndexAge { ecosystem: kind.name().to_owned(), url: without_query(&key.url), checked })
        };
        Stored {
            time: now,
            ecosystems,
            indexes: self.indexes.into_newest().filter_map(checked).collect(),
            unverified: self.unverified_count,
            unverified_urls: self.unverified.into_newest().collect(),
        }
    }
}

/// A query may be a signature that gives access.
pub(super) fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// Those of very many that were used last.
struct Last<T> {
    kept: BTreeMap<(Timestamp, u64), T>,
    count: u64,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), count: 0 }
    }
}

impl<T> Last<T> {
    fn add(&mut self, used: Timestamp, value: impl FnOnce() -> T) {
        self.count += 1;
        if self.kept.len() == MOST {
            if self.kept.first_key_value().is_some_and(|((oldest, _), _)| *oldest >= used) {
                return;
            }
            self.kept.pop_first();
        }
        self.kept.insert((used, self.count), value());
    }

    fn into_newest(self) -> impl Iterator<Item = T> {
        self.kept.into_values().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept() {
        let mut last = Last::default();
        let most = i64::try_from(MOST).unwrap();
        for number in [5, 1, 9, 3].into_iter().chain(10..10 + most) {
            last.add(Timestamp::from_second(number).unwrap(), || number);
        }
        let kept: Vec<_> = last.into_newest().collect();
        assert_eq!(kept.len(), MOST);
        assert_eq!((kept[0], kept[MOST - 1]), (9 + most, 10));
    }

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!(without_query("https://a/b?X-Amz-Signature=1"), "https://a/b");
    }
}
