//! What a record names, as it was given: all that a replay serves.
//!
//! Held in memory: what changes in it while it is served is nobody else's, and ends with the
//! server.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storekit::{Digest, Fetched, Given, PackageEntry, PackageKey, Packages, StoredResponse};

use crate::error::Result;
use crate::store::Known;

/// What a record names.
#[derive(Debug, Default)]
pub struct Replayed {
    entries: Mutex<HashMap<Digest, (PackageEntry, Arc<Known>)>>,
    bodies: HashSet<Digest>,
    /// What was not there, by the digests of the keys, with the status of the answer.
    absent: HashMap<Digest, u16>,
    /// What the record names and is not stored any more as it was given, with the reason.
    pub missing: Vec<(Given, &'static str)>,
    /// What the record names and never was stored, with the reason.
    pub unstored: Vec<(Given, &'static str)>,
}

/// Why it is missing.
const NOT_STORED: &str = "it is not stored";
const CHANGED: &str = "what is stored of it is another";
const UNKNOWN: &str = "it was not stored when it was given";
const TUNNEL: &str = "it went through a tunnel";

impl Replayed {
    /// What the record names, as far as it is stored as it was given. What is used of the store
    /// counts as used now.
    ///
    /// # Errors
    /// Entries that cannot be read; I/O errors.
    pub fn of(packages: &Packages, record: &Fetched) -> Result<Self> {
        let mut entries: HashMap<Digest, PackageEntry> = HashMap::new();
        let mut replayed = Self::default();
        for given in record.objects.values() {
            let key = given.entry.as_deref().and_then(key_in);
            if let Some((key, status)) = key.zip(given.status) {
                replayed.absent.insert(key, status);
                continue;
            }
            match key.zip(given.digest) {
                None if given.ecosystem == "tunnel" => replayed.unstored.push((given.clone(), TUNNEL)),
                None => replayed.unstored.push((given.clone(), UNKNOWN)),
                Some((key, digest)) => match found(packages, given, &digest)? {
                    Ok((mut entry, stored)) => {
                        replayed.bodies.insert(digest);
                        entry.responses.clear();
                        entries.entry(key).or_insert(entry).responses.push(stored);
                    }
                    Err(why) => replayed.missing.push((given.clone(), why)),
                },
            }
        }
        let known = |(key, entry): (Digest, PackageEntry)| (key, with_known(entry));
        replayed.entries = Mutex::new(entries.into_iter().map(known).collect());
        Ok(replayed)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Digest, (PackageEntry, Arc<Known>)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands under the key with this digest.
    pub(super) fn find(&self, key: &Digest) -> Option<Arc<Known>> {
        self.entries().get(key).map(|(_, known)| Arc::clone(known))
    }

    /// Changes that.
    pub(super) fn change(&self, key: &PackageKey, change: impl FnOnce(&mut PackageEntry)) {
        let mut entries = self.entries();
        let digest = key.digest();
        let standing = entries.remove(&digest).map(|(entry, _)| entry);
        let mut entry = standing.unwrap_or_else(|| PackageEntry::new(key.clone()));
        change(&mut entry);
        if !entry.responses.is_empty() {
            entries.insert(digest, with_known(entry));
        }
    }

    /// Forgets it.
    pub(super) fn forget(&self, key: &PackageKey) {
        self.entries().remove(&key.digest());
    }

    /// Whether the body was given.
    pub(super) fn has_body(&self, digest: &Digest) -> bool {
        self.bodies.contains(digest)
    }

    /// The status with which it was said that there is nothing.
    pub(super) fn absent(&self, key: &PackageKey) -> Option<u16> {
        self.absent.get(&key.digest()).copied()
    }
}

fn with_known(entry: PackageEntry) -> (PackageEntry, Arc<Known>) {
    let known = Known::new(None, 0, entry.clone());
    (entry, Arc::new(known))
}

/// The digest of a key, of which the path of its entry ends.
fn key_in(path: &str) -> Option<Digest> {
    Digest::from_hex(path.rsplit('/').next()?.strip_suffix(".toml")?)
}

/// The response with this body: from the entry that keeps it, else from that of the URL.
pub(crate) fn found(
    packages: &Packages,
    given: &Given,
    digest: &Digest,
) -> Result<Result<(PackageEntry, StoredResponse), &'static str>> {
    let mut why = NOT_STORED;
    for path in [&given.kept, &given.entry].into_iter().flatten() {
        let Some(entry) = packages.get_at(path)? else { continue };
        let is_it = |it: &&StoredResponse| it.digest == *digest && it.selecting == given.form;
        let Some(stored) = entry.responses.iter().find(is_it).cloned() else {
            why = CHANGED;
            continue;
        };
        if !packages.blobs().contains(digest) {
            return Ok(Err(NOT_STORED));
        }
        packages.touch(&entry.key);
        return Ok(Ok((PackageEntry { key: entry.key.of_given(), ..entry }, stored)));
    }
    Ok(Err(why))
}
