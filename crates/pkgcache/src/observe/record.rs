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

use http::uri::Authority;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storekit::images::fetched::{MOST, Place};
use storekit::{Digest, Given, Level, PackageEntry, PackageKey, StoredResponse};
use tokio::sync::mpsc;

use crate::ecosystem::Ecosystem;
use crate::observe::meter;
use crate::observe::trace::Trace;

/// The ecosystem of what nobody could see.
const TUNNEL: &str = "tunnel";

/// All that came in at an entrance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
        let objects: BTreeMap<Place, Given> = all.map(|given| (given.place(), given)).collect();
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
    /// What was asked for.
    pub(crate) asked: PackageKey,
    /// Where it is stored, or would be.
    pub(crate) key: PackageKey,
    /// The fetch that may be storing it still.
    pub(crate) flight: Option<Digest>,
    /// The stored response that was handed on, where that was settled.
    pub(crate) stored: Option<Arc<StoredResponse>>,
    /// Whether another answer may stand under the same URL one day.
    pub(crate) changes: bool,
    /// The status of the answer.
    pub(crate) status: u16,
    /// Whether only the head was asked for.
    pub(crate) heads: bool,
}

/// What a response was made from, where that is stored.
#[derive(Clone, Debug)]
pub(crate) struct MadeFrom {
    /// Under what.
    pub(crate) key: PackageKey,
    /// Which of the stored responses.
    pub(crate) stored: Arc<StoredResponse>,
}

impl Note {
    /// Of what is stored under the key, or will be.
    pub(crate) fn of(key: PackageKey) -> Self {
        Self { asked: key.clone(), key, flight: None, stored: None, changes: true, status: 200, heads: false }
    }

    /// Of a tunnel.
    pub(crate) fn of_tunnel(to: &Uri) -> Self {
        let to = to.authority().map_or("", Authority::as_str);
        Self::of(PackageKey::new(TUNNEL, to, to, None))
    }

    /// The same with the answer: what it was made from, and its status. `None` where it gives
    /// nothing, and does not say either that there is nothing.
    #[must_use]
    pub(crate) fn answered(mut self, status: StatusCode, origin: Option<MadeFrom>) -> Option<Self> {
        self.status = status.as_u16();
        if let Some(MadeFrom { key, stored }) = origin {
            (self.key, self.stored) = (key, Some(stored));
        }
        let gives = !self.heads && (status.is_success() || status == StatusCode::NOT_MODIFIED);
        (gives || self.is_absent()).then_some(self)
    }

    /// Whether it is that there is nothing, on which a client may act.
    #[must_use]
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.status, 403 | 404 | 410 | 451)
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
pub(crate) struct Recorder {
    taken: Mutex<Taken>,
    /// What the cache looked at for it.
    pub(crate) trace: Arc<Trace>,
}

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
    /// The stored responses that were handed on, in one form each.
    stored: Vec<Arc<StoredResponse>>,
    time: Timestamp,
    sent: u64,
    /// Whether it was asked for by the cache alone.
    needed: bool,
}

impl Recorder {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response has ended.
    pub(crate) fn add(&self, note: Option<Note>, result: meter::Result, sent: u64) {
        let mut taken = self.taken();
        let sums = &mut taken.sums;
        let is_absent = note.as_ref().is_some_and(Note::is_absent);
        match result {
            _ if result.is_hit() => (sums.hits, sums.saved) = (sums.hits + 1, sums.saved + sent),
            _ if result.is_miss() => (sums.misses, sums.fetched) = (sums.misses + 1, sums.fetched + sent),
            meter::Result::Tunnel => sums.fetched += sent,
            _ if is_absent => {}
            _ => return,
        }
        if let Some(note) = note {
            taken.add(note, sent);
        }
    }

    /// All that was noted: the sums, and the objects that a record is to tell.
    pub(crate) fn take(&self) -> (Record, Vec<Object>) {
        let Taken { mut sums, mut objects } = std::mem::take(&mut *self.taken());
        for (key, known) in self.trace.take() {
            let digest = key.digest();
            if objects.get(&digest).is_some_and(|object| !object.note.is_absent()) {
                continue;
            }
            // Of what changes, the newest of each form; what the cache has worked out, whole.
            let mut object = Object::new(Note::of(key), true);
            for stored in known {
                if object.is_own() || !object.has_form_of(&stored) {
                    object.stored.push(stored);
                }
            }
            if objects.len() >= MOST && !objects.contains_key(&digest) {
                sums.left_out += 1;
                continue;
            }
            objects.entry(digest).or_insert(object);
        }
        (sums, objects.into_values().collect())
    }
}

impl Taken {
    fn add(&mut self, note: Note, sent: u64) {
        let key = if note.is_absent() { &note.asked } else { &note.key };
        let digest = key.digest();
        if !self.objects.contains_key(&digest) && self.objects.len() >= MOST {
            self.sums.left_out += 1;
            return;
        }
        let object = self.objects.entry(digest).or_insert_with(|| Object::new(note.clone(), false));
        // What was not there at another time is there now.
        if note.is_absent() && !object.note.is_absent() {
            return;
        }
        object.sent += sent;
        if let Some(stored) = &note.stored {
            object.stored.retain(|it| it.selecting != stored.selecting);
            object.stored.push(Arc::clone(stored));
        }
        let changes = object.note.changes && note.changes;
        object.note = Note { changes, ..note };
    }
}

impl Object {
    fn new(note: Note, needed: bool) -> Self {
        Self { note, stored: Vec::new(), time: Timestamp::now(), sent: 0, needed }
    }

    /// Whether the cache has worked it out: no request has a fragment.
    fn is_own(&self) -> bool {
        self.note.key.url.contains('#')
    }

    fn has_form_of(&self, stored: &StoredResponse) -> bool {
        self.stored.iter().any(|it| it.selecting == stored.selecting)
    }

    /// The fetch that may be storing it still.
    pub(crate) fn flight(&self) -> Option<Digest> {
        self.note.flight
    }

    /// Where it is stored, or would be.
    pub(crate) fn key(&self) -> &PackageKey {
        &self.note.key
    }

    /// What was given, with what the store's entry knows of it. `keep` sees to it that an answer
    /// stays that the upstream may change, and tells where.
    pub(crate) fn given(
        self,
        entry: Option<&PackageEntry>,
        keep: impl Fn(&PackageEntry, &StoredResponse) -> Option<String>,
    ) -> Vec<Given> {
        if self.note.is_absent() {
            let Note { asked, status, .. } = self.note;
            let (url, entry, status) = (shown(&asked), Some(asked.path()), Some(status));
            let ecosystem = asked.ecosystem;
            return vec![Given { time: self.time, url, entry, status, ecosystem, ..Given::default() }];
        }
        let mut all = self.stored.clone();
        if let Some(entry) = entry.filter(|_| all.is_empty()) {
            // The newest, or all that the cache has worked out meanwhile.
            let most = if self.is_own() { usize::MAX } else { 1 };
            let found = entry.responses.iter().filter(|it| it.status == 200 || self.is_own());
            all.extend(found.take(most).cloned().map(Arc::new));
        }
        let told = self.told(entry);
        if all.is_empty() {
            // The cache found nothing where it looked, and went on without.
            return if self.needed { Vec::new() } else { vec![told] };
        }
        let of_response = |stored: &Arc<StoredResponse>| {
            let changes = self.note.changes || stored.announced.is_none();
            Given {
                kept: entry.filter(|_| changes).and_then(|entry| keep(entry, stored)),
                form: stored.selecting.clone(),
                digest: Some(stored.digest),
                level: (stored.level != Level::None).then(|| stored.level.name().to_owned()),
                bytes: stored.size,
                ..told.clone()
            }
        };
        all.iter().map(of_response).collect()
    }

    /// All that no response says.
    fn told(&self, entry: Option<&PackageEntry>) -> Given {
        let (key, asked) = (&self.note.key, shown(&self.note.asked));
        let url = shown(key);
        Given {
            time: self.time,
            asked: Some(asked).filter(|asked| *asked != url),
            url,
            ecosystem: key.ecosystem.clone(),
            name: entry.and_then(|entry| entry.name.clone()),
            version: entry.and_then(|entry| entry.package_version.clone()),
            architecture: entry.and_then(|entry| entry.architecture.clone()),
            entry: entry.map(|entry| entry.key.path()),
            bytes: self.sent,
            needed: self.needed,
            ..Given::default()
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
        Given { url: url.to_owned(), bytes, ..Given::default() }
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
        let note = |url: &str| Some(Note::of(PackageKey::new("python", "h", url, None)));
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
            recorder.add(Some(Note::of(key)), meter::Result::Hit, 1);
        }
        let taken = recorder.taken();
        assert_eq!((taken.objects.len(), taken.sums.left_out, taken.sums.hits), (MOST, 2, MOST as u64 + 2));
    }
}
