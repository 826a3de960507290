//! What is needed at this very moment, read again in each step of a sweep, under its lock.
//!
//! Looks at every key file, and reads those that are not the ones that it read last. An entry's
//! blobs follow from its descriptor alone, so they are followed once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::rc::Rc;

use camino::Utf8Path;
use storekit::error::At;
use storekit::files::lock::Exclusive;
use storekit::files::state::FileState;
use storekit::{Descriptor, Digest, Images, Key, Standing, Walker};

use crate::error::Result;
use crate::survey;

/// A descriptor, by all that decides what it reaches.
type Root = (String, Digest, u64);

/// Remembers between the steps what it has read.
pub(crate) struct Roots {
    images: Images,
    walker: Walker,
    /// Without a descriptor where the file cannot be understood.
    entries: BTreeMap<Key, (FileState, Option<Descriptor>)>,
    /// What each needs, as far as that is known.
    reached: HashMap<Root, Rc<Vec<Digest>>>,
    /// Whether an entry stands of which it is not known what it needs: it may need any blob.
    unknown: bool,
    index: Option<FileState>,
    foreign: BTreeSet<Digest>,
    needed: HashSet<Digest>,
    stale: bool,
    of_this_step: bool,
}

impl Roots {
    pub(crate) fn new(images: &Images) -> Self {
        Self {
            images: images.clone(),
            walker: images.walker(),
            entries: BTreeMap::new(),
            reached: HashMap::new(),
            unknown: false,
            index: None,
            foreign: BTreeSet::new(),
            needed: HashSet::new(),
            stale: true,
            of_this_step: false,
        }
    }

    /// Reads ahead, without the lock, so that the steps are short. What cannot be read is found out
    /// in a step.
    pub(crate) fn read_ahead(&mut self) {
        let _ = self.refresh();
    }

    /// What was read before the lock was taken is looked at again.
    pub(crate) fn begin_step(&mut self) {
        self.of_this_step = false;
    }

    /// Whether something needs the blob, or may. Looks once in each step: no process writes an
    /// entry under its lock.
    pub(crate) fn may_need(&mut self, lock: &Exclusive, digest: &Digest) -> Result<bool> {
        Ok(self.names(lock, digest)? || self.unknown)
    }

    /// Whether something names the blob, as far as that is known.
    pub(crate) fn names(&mut self, _lock: &Exclusive, digest: &Digest) -> Result<bool> {
        if !self.of_this_step {
            self.refresh()?;
            self.of_this_step = true;
        }
        Ok(self.needed.contains(digest))
    }

    fn refresh(&mut self) -> Result<()> {
        // Where a step below fails, all is collected anew the next time.
        let stale = std::mem::replace(&mut self.stale, true);
        let entries = self.read_entries()?;
        let index = self.read_index()?;
        if stale || entries || index || self.unknown {
            self.needed = self.collect()?;
        }
        self.stale = false;
        Ok(())
    }

    /// Reads the key files that are not the ones that were read last. Returns whether anything is
    /// new.
    fn read_entries(&mut self) -> Result<bool> {
        let mut before = std::mem::take(&mut self.entries);
        let mut new = false;
        for key in self.images.keys()? {
            let path = self.images.folder().join("keys").join(key.as_str());
            let Some(state) = state(&path)? else { continue };
            match before.remove(&key) {
                Some(known) if known.0.is_still(&state) => {
                    self.entries.insert(key, known);
                }
                _ => {
                    let descriptor = match self.images.look_at(&key)? {
                        None => continue,
                        Some(Standing::Sound(listed)) => Some(listed.entry.descriptor),
                        Some(Standing::Damaged(_)) => None,
                    };
                    self.entries.insert(key, (state, descriptor));
                    new = true;
                }
            }
        }
        Ok(new || !before.is_empty())
    }

    fn read_index(&mut self) -> Result<bool> {
        let index = state(&self.images.folder().join("index.json"))?;
        if self.index.zip(index).is_some_and(|(before, now)| before.is_still(&now)) {
            return Ok(false);
        }
        self.foreign = survey::foreign(&self.images)?;
        self.index = index;
        Ok(true)
    }

    fn collect(&mut self) -> Result<HashSet<Digest>> {
        let mut needed: HashSet<_> = self.foreign.iter().copied().collect();
        self.unknown = self.entries.values().any(|(_, descriptor)| descriptor.is_none());
        for descriptor in self.entries.values().filter_map(|(_, descriptor)| descriptor.as_ref()) {
            let name = (descriptor.media_type.clone(), descriptor.digest, descriptor.size);
            let reached = if let Some(reached) = self.reached.get(&name) {
                Rc::clone(reached)
            } else {
                let reach = survey::reach(&mut self.walker, descriptor)?;
                if !reach.unknown.is_empty() {
                    // It is followed again the next time: a save may have mended it.
                    self.unknown = true;
                    needed.extend(reach.digests());
                    continue;
                }
                let reached = Rc::new(reach.digests().collect());
                Rc::clone(self.reached.entry(name).or_insert(reached))
            };
            needed.extend(reached.iter());
        }
        Ok(needed)
    }
}

fn state(path: &Utf8Path) -> Result<Option<FileState>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        metadata => Ok(Some(FileState::seen(&metadata.at("read", path)?))),
    }
}
