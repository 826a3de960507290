//! What came in at one entrance, and what was given there: each object once.
//!
//! While requests are answered, only keys are noted. What is known of the objects (their packages,
//! their digests) is read from the store's entries at the end, by the caller.
//!
//! Limits: what a client has in a cache of its own, and does not ask for, is not seen. The bytes
//! from upstreams are those that were passed on from there, not those that an index had before it
//! was written anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;
use http::uri::Authority;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storekit::{Digest, Level, PackageEntry, PackageKey, StoredResponse};
use tokio::sync::mpsc;

use crate::ecosystem::Ecosystem;
use crate::observe::meter;

/// So many objects are told; more are counted.
const MOST: usize = 20_000;
/// The ecosystem of what nobody could see.
const TUNNEL: &str = "tunnel";

/// What a client was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// When it was asked for, RFC 3339.
    pub time: Timestamp,
    /// Where it is from, without a user's name and password; without a query where no package
    /// client asked for it: it may hold a secret.
    pub url: String,
    /// For which kind of client it was fetched; `tunnel` for a tunnel, whose `url` is `HOST:PORT`.
    pub ecosystem: String,
    /// The package's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The package's version, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The package's architecture, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Where its entry is below `packages/entries`, where one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The digest of the body as it is stored, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Who vouches for it; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Its size; where that is not known, the bytes that were sent.
    pub bytes: u64,
}

/// All that came in at an entrance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Answers from what was stored.
    pub hits: u64,
    /// Answers from upstreams.
    pub misses: u64,
    /// Bytes that came from upstreams.
    pub fetched: u64,
    /// Bytes that were sent without coming from an upstream.
    pub saved: u64,
    /// How many objects there were that are not told.
    pub left_out: u64,
    /// Whether something that came in may be missing: who took the notes ended before telling.
    pub is_partial: bool,
    /// The objects, sorted by URL.
    pub objects: Vec<Given>,
}

impl Record {
    /// Of what nobody could tell.
    #[must_use]
    pub fn lost() -> Self {
        Self { is_partial: true, ..Self::default() }
    }

    /// With what another one says; of an object that both tell, the later counts.
    #[must_use]
    pub fn and(mut self, mut later: Self) -> Self {
        let objects = std::mem::take(&mut self.objects);
        let all = objects.into_iter().chain(std::mem::take(&mut later.objects));
        // URLs that differ in what may be secret alone have entries of their own.
        let place = |given: &Given| (given.url.clone(), given.entry.clone());
        let objects: BTreeMap<_, Given> = all.map(|given| (place(&given), given)).collect();
        let more = objects.len().saturating_sub(MOST) as u64;
        let sum = |of: fn(&Self) -> u64| of(&self).saturating_add(of(&later));
        Self {
            hits: sum(|it| it.hits),
            misses: sum(|it| it.misses),
            fetched: sum(|it| it.fetched),
            saved: sum(|it| it.saved),
            left_out: sum(|it| it.left_out).saturating_add(more),
            is_partial: self.is_partial || later.is_partial,
            objects: objects.into_values().take(MOST).collect(),
        }
    }
}

/// What a response is of, for the record.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Where it is stored, or would be.
    pub(crate) key: PackageKey,
    /// The fetch that may be storing it still.
    pub(crate) flight: Option<Digest>,
    /// The stored response that was handed on, where that was settled.
    pub(crate) stored: Option<Arc<StoredResponse>>,
}

impl Note {
    /// Of a tunnel.
    pub(crate) fn of_tunnel(to: &Uri) -> Self {
        let to = to.authority().map_or("", Authority::as_str);
        Self { key: PackageKey::new(TUNNEL, to, to, None), flight: None, stored: None }
    }
}

/// What a connection holds that came in at an entrance.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// Who takes notes of it.
    pub(crate) recorder: Arc<Recorder>,
    /// Dropped with the connection, so that the entrance knows when all are gone.
    _guest: mpsc::Sender<()>,
}

impl Visit {
    pub(crate) fn new(recorder: Arc<Recorder>, guest: mpsc::Sender<()>) -> Self {
        Self { recorder, _guest: guest }
    }
}

/// Takes notes of what comes in at one entrance.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Taken>);

/// What was noted so far.
#[derive(Debug, Default)]
struct Taken {
    sums: Record,
    objects: HashMap<Digest, Object>,
}

/// An object that was asked for.
#[derive(Debug)]
pub(crate) struct Object {
    note: Note,
    time: Timestamp,
    sent: u64,
}

impl Recorder {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response has ended.
    pub(crate) fn add(&self, note: Option<Note>, result: meter::Result, sent: u64) {
        let mut taken = self.taken();
        let sums = &mut taken.sums;
        match result {
            meter::Result::Hit
            | meter::Result::Revalidated
            | meter::Result::Stale
            | meter::Result::Remote
            | meter::Result::Collapsed => (sums.hits, sums.saved) = (sums.hits + 1, sums.saved + sent),
            meter::Result::Miss | meter::Result::Pass => {
                (sums.misses, sums.fetched) = (sums.misses + 1, sums.fetched + sent);
            }
            meter::Result::Tunnel => sums.fetched += sent,
            meter::Result::Own | meter::Result::Error => return,
        }
        let Some(note) = note else { return };
        let digest = note.key.digest();
        if !taken.objects.contains_key(&digest) && taken.objects.len() >= MOST {
            taken.sums.left_out += 1;
            return;
        }
        let new = Object { note: note.clone(), time: Timestamp::now(), sent: 0 };
        let object = taken.objects.entry(digest).or_insert(new);
        object.sent += sent;
        object.note = note;
    }

    /// All that was noted: the sums, and the objects that a record is to tell.
    pub(crate) fn take(&self) -> (Record, Vec<Object>) {
        let Taken { sums, objects } = std::mem::take(&mut *self.taken());
        (sums, objects.into_values().collect())
    }
}

impl Object {
    /// The fetch that may be storing it still.
    pub(crate) fn flight(&self) -> Option<Digest> {
        self.note.flight
    }

    /// Where it is stored, or would be.
    pub(crate) fn key(&self) -> &PackageKey {
        &self.note.key
    }

    /// What was given, with what the store's entry knows of it.
    pub(crate) fn given(self, entry: Option<&PackageEntry>) -> Given {
        let Self { note: Note { key, stored, .. }, time, sent } = self;
        let newest = || entry?.responses.iter().find(|response| response.status == 200);
        let stored = stored.as_deref().or_else(newest);
        let level = stored.map(|stored| stored.level).filter(|level| *level != Level::None);
        Given {
            time,
            url: shown(&key),
            name: entry.and_then(|entry| entry.name.clone()),
            version: entry.and_then(|entry| entry.package_version.clone()),
            architecture: entry.and_then(|entry| entry.architecture.clone()),
            entry: entry.map(|entry| entry.key.path()),
            digest: stored.map(|stored| stored.digest),
            level: level.map(|level| level.name().to_owned()),
            bytes: stored.map_or(sent, |stored| stored.size),
            ecosystem: key.ecosystem,
        }
    }
}

/// The URL without what may be a secret.
fn shown(key: &PackageKey) -> String {
    let mut url = key.url.clone();
    if let Some((scheme, rest)) = key.url.split_once("://") {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        url = format!("{scheme}://{host}{path}");
    }
    if key.ecosystem == Ecosystem::Generic.name()
        && let Some((before, _)) = url.split_once('?')
    {
        url = before.to_owned();
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(url: &str, bytes: u64) -> Given {
        Given {
            time: Timestamp::UNIX_EPOCH,
            url: url.to_owned(),
            ecosystem: "python".to_owned(),
            name: None,
            version: None,
            architecture: None,
            entry: None,
            digest: None,
            level: None,
            bytes,
        }
    }

    #[test]
    fn secrets_in_urls_are_not_told() {
        let shows = |ecosystem: &str, url: &str, expected: &str| {
            assert_eq!(shown(&PackageKey::new(ecosystem, "h", url, None)), expected);
        };
        shows("generic", "https://u:p@h.example/a?token=x", "https://h.example/a");
        shows("generic", "https://h.example?token=x", "https://h.example");
        shows("npm", "https://u@h.example:1/a?b=1", "https://h.example:1/a?b=1");
        shows("tunnel", "h.example:443", "h.example:443");
    }

    #[test]
    fn two_records_are_one_with_each_object_once() {
        let one =
            Record { hits: 1, fetched: 5, objects: vec![given("a", 1), given("c", 1)], ..Record::default() };
        let two = Record {
            misses: 2,
            fetched: 7,
            objects: vec![given("b", 2), given("c", 2)],
            ..Record::default()
        };
        let both = one.and(two);
        assert_eq!((both.hits, both.misses, both.fetched, both.left_out), (1, 2, 12, 0));
        assert_eq!(both.objects, [given("a", 1), given("b", 2), given("c", 2)]);
    }

    #[test]
    fn an_object_is_noted_once_and_what_is_not_answered_is_not() {
        let recorder = Recorder::default();
        let note = |url: &str| {
            Some(Note { key: PackageKey::new("python", "h", url, None), flight: None, stored: None })
        };
        recorder.add(note("https://h/a"), meter::Result::Miss, 10);
        recorder.add(note("https://h/a"), meter::Result::Hit, 10);
        recorder.add(note("https://h/b"), meter::Result::Error, 3);
        recorder.add(None, meter::Result::Own, 3);
        let taken = recorder.taken();
        let sums = &taken.sums;
        assert_eq!((sums.hits, sums.misses, sums.fetched, sums.saved), (1, 1, 10, 10));
        assert_eq!(taken.objects.values().map(|object| object.sent).collect::<Vec<_>>(), [20]);
    }

    #[test]
    fn more_objects_than_are_told_are_counted() {
        let recorder = Recorder::default();
        for n in 0..MOST + 2 {
            let key = PackageKey::new("npm", "h", format!("https://h/{n}"), None);
            recorder.add(Some(Note { key, flight: None, stored: None }), meter::Result::Hit, 1);
        }
        let taken = recorder.taken();
        assert_eq!((taken.objects.len(), taken.sums.left_out, taken.sums.hits), (MOST, 2, MOST as u64 + 2));
    }
}
