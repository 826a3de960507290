//! Removes what a plan names, and nothing else.
//!
//! Works in short steps, each under the store's exclusive lock, and looks at each item again under
//! that lock: an entry that was saved anew, used or pinned since stays, and a blob goes only where
//! no entry that stands then needs it. Entries go before blobs, so that a run that is killed leaves
//! whole images and blobs that nothing needs.

mod contexts;
mod packages;
mod trash;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use storekit::files::lock::Exclusive;
use storekit::files::state::FileState;
use storekit::images::BESIDE;
use storekit::{
    Age, Batch, Damaged, Digest, Discarded, Event, Images, Key, Kind, Listed, NeededBodies, Standing, Store,
    clock,
};
use toolkit::amount::Setting;

use crate::disk;
use crate::error::{Error, Result};
use crate::events::{TOOL, Told};
use crate::evicted;
use crate::holds::Holds;
use crate::limits::{Part, Why};
use crate::plan::{self, Emptied, Eviction, Left, Plan, Rest, Unmet, Unneeded};
use crate::roots::Roots;
use crate::snapshot::Snapshot;
use crate::survey::{reach, survey};

/// How long one step holds the lock; it ends with the item that it is at.
const STEP: Duration = Duration::from_millis(50);

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept {
    /// The images that went and what referred to them, with the bytes that went with each.
    pub images: Vec<Eviction>,
    /// What stayed although the plan names it.
    pub kept: Vec<Kept>,
    /// How many blobs went.
    pub blobs: u64,
    /// Of these, those that went with no image, or with one that somebody else had removed.
    pub idle: Vec<Unneeded>,
    /// The package entries that went, in the plan's order.
    pub packages: Vec<Went>,
    /// How many bodies of packages went.
    pub bodies: u64,
    /// Of these, those that went with no entry.
    pub idle_bodies: Vec<Unneeded>,
    /// The bytes of these, and of the entries.
    pub package_bytes: u64,
    /// The bytes that went out of images/, and what was unfinished in packages/.
    pub bytes: u64,
    /// Of these, what dead writers had left unfinished: deleted at once.
    pub unfinished: u64,
    /// Of these, what lies in the trash now.
    pub trashed: u64,
    /// The bytes of the folders that this lies in.
    pub trash_folders: u64,
    /// The folders of the trash that were emptied, with the bytes that this freed.
    pub emptied: Vec<Emptied>,
    /// The bytes of what hashctx remembered of folders and that went.
    pub contexts: u64,
    /// Whether the disk was too full to move anything.
    pub disk_full: bool,
    /// Whether it was told to stop.
    pub interrupted: bool,
    /// What is left.
    pub left: Left,
    /// The limits that are not met.
    pub unmet: Vec<Unmet>,
    /// What keeps the rest.
    pub rest: Rest,
    /// How many images the limits would take now: they came, or changed, since the plan was made.
    pub more: u64,
}

/// A package entry that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Went {
    /// Its place in the plan.
    pub place: usize,
    /// The bytes that went with it.
    pub bytes: u64,
}

impl Swept {
    /// The bytes of the trash that was emptied.
    #[must_use]
    pub fn emptied_bytes(&self) -> u64 {
        self.emptied.iter().map(|it| it.bytes).sum()
    }
}

/// Something that stayed although the plan names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is.
    pub what: What,
    /// Its key, its digest, or its URL.
    pub name: String,
    /// Why it stayed.
    pub reason: Reason,
}

/// What is removed one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An image's entry.
    Image,
    /// An image's blob.
    Blob,
    /// What is stored of one URL.
    Package,
    /// A body of packages.
    Body,
}

/// Why something stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is not there any more.
    Gone,
    /// Another image stands under the key, or other responses under the URL.
    SavedAnew,
    /// It was used since.
    Used,
    /// It was pinned since.
    Pinned,
    /// Somebody is writing or reading it.
    InUse,
    /// An entry needs it now.
    Needed,
    /// The image that it refers to stays.
    SubjectStays,
    /// It cannot be read, so that it cannot be seen whether somebody has it.
    Unreadable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Gone,
        Self::SavedAnew,
        Self::Used,
        Self::Pinned,
        Self::InUse,
        Self::Needed,
        Self::SubjectStays,
        Self::Unreadable,
    ];
}

/// Removes what the plan names. `stop` ends the sweep between two steps. Ages are judged as of
/// `since`.
///
/// # Errors
/// A store that cannot be read or written, a lock that is not to be had; parts of the store that
/// cannot be moved to the trash, before anything is removed. What was done by then stands, and the
/// store is whole.
pub fn sweep(store: &Store, plan: &Plan, since: Timestamp, stop: &AtomicBool) -> Result<Swept> {
    sweep_with(Sweep::new(store, plan, stop), since)
}

/// A moment in a sweep at which no lock is held, so that others may do as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The trash is emptied, nothing has gone yet.
    Begun,
    /// Packages have gone.
    PackagesGone,
    /// Entries of images have gone, their blobs are there.
    EntriesGone,
    /// What is needed was read ahead, no blob has gone since.
    ReadAhead,
    /// All has gone, index.json is as it was.
    AllGone,
}

/// How fast a sweep works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How long others have the store between two steps.
    pub pause: Duration,
}

/// As [`sweep`]; `watch` is told of each moment, and the sweep goes on when it returns: for tests
/// of what others do meanwhile.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_watched(
    store: &Store,
    plan: &Plan,
    since: Timestamp,
    stop: &AtomicBool,
    watch: &dyn Fn(Moment),
) -> Result<Swept> {
    sweep_with(Sweep { watch, ..Sweep::new(store, plan, stop) }, since)
}

/// As [`sweep`], at this pace.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_at(
    store: &Store,
    plan: &Plan,
    since: Timestamp,
    stop: &AtomicBool,
    pace: Pace,
) -> Result<Swept> {
    sweep_with(Sweep { pace, ..Sweep::new(store, plan, stop) }, since)
}

fn sweep_with(mut sweep: Sweep<'_>, since: Timestamp) -> Result<Swept> {
    sweep.check_the_trash()?;
    let run = sweep.run().or_else(|error| match error {
        // A stop ends the wait for a lock, too.
        Error::Store(storekit::Error::Locked { .. }) if sweep.stopped() => Ok(()),
        error => Err(error),
    });
    (sweep.watch)(Moment::AllGone);
    // Also for what a failed or stopped run has removed.
    let index = sweep.derive_index();
    sweep.note_evictions();
    run?;
    index?;
    sweep.finish(since)
}

/// With what a blob goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// An image that went, by its place among those.
    Image(usize),
    /// An image of the plan that this run has not removed.
    Another,
    /// The plan names it by itself.
    Nothing,
}

struct Sweep<'a> {
    store: &'a Store,
    plan: &'a Plan,
    time: clock::Time,
    images: Images,
    batch: Batch,
    shred: bool,
    stop: &'a AtomicBool,
    pace: Pace,
    roots: Roots,
    /// Of the packages.
    needed: NeededBodies,
    /// What pins hold, and the states of the folders that this was read from.
    holds: Holds,
    pins: Vec<Option<FileState>>,
    swept: Swept,
    watch: &'a dyn Fn(Moment),
}

impl<'a> Sweep<'a> {
    fn new(store: &'a Store, plan: &'a Plan, stop: &'a AtomicBool) -> Self {
        let images = store.images();
        let roots = Roots::new(&images);
        let trash = store.trash();
        let time = clock::observe(store, Timestamp::now());
        let batch = if plan.shred { trash.shredder() } else { trash.batch(time.latest) };
        let (shred, swept) = (plan.shred, Swept::default());
        let needed = NeededBodies::new(&store.packages(), packages::doomed(plan));
        let (holds, pins) = (Holds::default(), Vec::new());
        let (pace, watch) = (Pace::default(), &|_| {});
        Self { store, plan, time, images, batch, shred, stop, pace, roots, needed, holds, pins, swept, watch }
    }

    /// Whether what goes can be moved to the trash, as far as it is not deleted at once.
    fn check_the_trash(&self) -> Result<()> {
        if self.shred || (self.plan.images.is_empty() && self.plan.blobs.is_empty()) {
            return Ok(());
        }
        for name in ["blobs/sha256", "keys"].into_iter().chain(BESIDE) {
            self.store.trash().can_take(&self.images.folder().join(name))?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        self.empty_trash()?;
        // An empty one frees nothing and goes too; a plan from a file lists none of them.
        if self.plan.abandoned > 0 || !self.plan.is_listed {
            let freed = self.images.sweep_unfinished()? + self.store.packages().sweep_unfinished()?;
            self.count(freed, false);
            self.swept.unfinished = freed;
        }
        (self.watch)(Moment::Begun);
        // What is deleted at once comes first: a full disk has room then.
        self.take_packages()?;
        (self.watch)(Moment::PackagesGone);
        if self.plan.contexts > 0 {
            self.swept.contexts = contexts::remove(self.store)?;
        }
        let plan = self.plan;
        let (images, referrers): (Vec<_>, Vec<_>) = plan.images.iter().partition(|it| it.subject.is_none());
        self.in_steps(images.into_iter(), Self::evict)?;
        for wave in waves(referrers) {
            self.in_steps(wave.into_iter(), Self::evict_referrer)?;
        }
        let went: HashMap<_, _> = self.swept.images.iter().map(|it| it.key.clone()).zip(0_usize..).collect();
        let of_images = plan.images.iter().flat_map(|image| {
            let with = went.get(&image.key).map_or(With::Another, |place| With::Image(*place));
            image.blobs.iter().map(move |digest| (*digest, with))
        });
        let idle = plan.blobs.iter().map(|blob| (blob.digest, With::Nothing));
        (self.watch)(Moment::EntriesGone);
        self.roots.read_ahead();
        (self.watch)(Moment::ReadAhead);
        self.in_steps(of_images.chain(idle), Self::take_blob)
    }

    fn stopped(&mut self) -> bool {
        self.swept.interrupted |= self.stop.load(Ordering::Relaxed);
        self.swept.interrupted
    }

    /// Takes the lock, works for a short while, lets others in, and so on.
    fn in_steps<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        each: impl Fn(&mut Self, &Exclusive, T) -> Result<()>,
    ) -> Result<()> {
        let mut items = items.peekable();
        while items.peek().is_some() && !self.stopped() {
            let lock = self.store.lock_exclusive()?;
            self.read_pins()?;
            self.roots.begin_step();
            self.needed.begin_step();
            let begun = Instant::now();
            while let Some(item) = items.next_if(|_| begun.elapsed() < STEP) {
                each(self, &lock, item)?;
            }
            drop(lock);
            if items.peek().is_some() && !self.pace.pause.is_zero() {
                thread::sleep(self.pace.pause);
            }
        }
        Ok(())
    }

    fn evict(&mut self, lock: &Exclusive, image: &Eviction) -> Result<()> {
        if let Some(reason) = self.reason_to_keep(image)? {
            self.swept.kept.push(Kept { what: What::Image, name: image.key.to_string(), reason });
            return Ok(());
        }
        let mut bytes = 0;
        for name in ["keys"].into_iter().chain(BESIDE) {
            let file = self.images.folder().join(name).join(image.key.as_str());
            bytes += disk::bytes(&file)?.unwrap_or(0);
        }
        if self.discarding(|it| it.images.discard(lock, &image.key, &it.batch))? {
            self.swept.images.push(Eviction { bytes, ..image.clone() });
            self.count(bytes, true);
        }
        Ok(())
    }

    /// A referrer goes only where what it refers to has gone, in a step before this one.
    fn evict_referrer(&mut self, lock: &Exclusive, image: &Eviction) -> Result<()> {
        if let Some(subject) = image.subject
            && self.roots.names(lock, &subject)?
        {
            let name = image.key.to_string();
            self.swept.kept.push(Kept { what: What::Image, name, reason: Reason::SubjectStays });
            return Ok(());
        }
        self.evict(lock, image)
    }

    fn reached(&self, listed: &Listed) -> Result<Vec<Digest>> {
        Ok(reach(&mut self.images.walker(), &listed.entry.descriptor)?.digests().collect())
    }

    /// Reads again what pins hold, where there are others than before. Nobody pins anything while a
    /// step has the lock.
    fn read_pins(&mut self) -> Result<()> {
        let folders = [self.images.pins_folder(), self.images.folder().join("keys")];
        let states = folders.map(|folder| fs::metadata(folder).ok().map(|it| FileState::seen(&it)));
        let is_still = states.iter().zip(&self.pins).all(|(now, before)| match (now, before) {
            (Some(now), Some(before)) => before.is_still(now),
            (None, None) => true,
            _ => false,
        });
        if !is_still || self.pins.is_empty() {
            self.holds = Holds::read(&self.images, Timestamp::now())?;
            self.pins = states.into();
        }
        Ok(())
    }

    fn reason_to_keep(&self, image: &Eviction) -> Result<Option<Reason>> {
        let listed = match self.images.look_at(&image.key)? {
            None => return Ok(Some(Reason::Gone)),
            Some(Standing::Sound(listed)) => listed,
            Some(Standing::Damaged(damaged)) => return Ok(self.reason_to_keep_damaged(image, &damaged)),
        };
        let used = Timestamp::try_from(listed.used).unwrap_or(Timestamp::MAX);
        Ok(if listed.entry.descriptor.digest != image.digest {
            Some(Reason::SavedAnew)
        } else if self.holds.entry(&image.key, &listed.entry, || self.reached(&listed))?
            && !(self.is_forced(&image.key) && self.is_unknown(&listed)?)
        {
            Some(Reason::Pinned)
        } else if used > image.used && !self.images.is_stamped_ahead(&image.key) {
            Some(Reason::Used)
        } else {
            None
        })
    }

    /// Whether it goes although a pin may hold it. A pin of its own key does.
    fn is_forced(&self, key: &Key) -> bool {
        self.plan.forced.contains(key) && !self.holds.has_key(key)
    }

    /// Whether it cannot be told what it needs.
    fn is_unknown(&self, listed: &Listed) -> Result<bool> {
        Ok(!reach(&mut self.images.walker(), &listed.entry.descriptor)?.unknown.is_empty())
    }

    fn reason_to_keep_damaged(&self, image: &Eviction, now: &Damaged) -> Option<Reason> {
        let is_another = now.digest != image.digest;
        let is_held = self.holds.damaged(&now.key, None) && !self.is_forced(&now.key);
        let pinned = is_held.then_some(Reason::Pinned);
        is_another.then_some(Reason::SavedAnew).or(pinned)
    }

    fn take_blob(&mut self, lock: &Exclusive, (digest, with): (Digest, With)) -> Result<()> {
        let keep = |it: &mut Self, reason| {
            it.swept.kept.push(Kept { what: What::Blob, name: digest.to_string(), reason });
        };
        if self.roots.may_need(lock, &digest)? {
            if with == With::Nothing {
                keep(self, Reason::Needed);
            }
            return Ok(());
        }
        let Some(bytes) = disk::bytes(&self.images.blobs().path(&digest))? else { return Ok(()) };
        let done = self.discarding(|it| it.images.discard_blob(lock, &digest, &it.batch));
        if matches!(&done, Err(Error::Store(error)) if error.is_unreadable()) {
            keep(self, Reason::Unreadable);
            return Ok(());
        }
        match done? {
            Discarded::Moved => {
                self.swept.blobs += 1;
                self.count(bytes, true);
                match with {
                    With::Image(place) => self.swept.images[place].bytes += bytes,
                    With::Another | With::Nothing => self.swept.idle.push(Unneeded { digest, bytes }),
                }
            }
            Discarded::InUse => keep(self, Reason::InUse),
            Discarded::Gone => {}
        }
        Ok(())
    }

    /// Does it; where the disk is too full to make a folder in the trash, does it without the
    /// trash.
    fn discarding<T>(&mut self, discard: impl Fn(&Self) -> storekit::Result<T>) -> Result<T> {
        match discard(self) {
            Err(error) if is_full(&error) && !self.shred => {
                self.shred = true;
                self.swept.disk_full = true;
                self.batch = self.store.trash().shredder();
                Ok(discard(self)?)
            }
            done => Ok(done?),
        }
    }

    /// Derives the index anew. Where the disk has no room for it, what this run has moved to the
    /// trash goes at once: on some file systems a full disk takes a move, and no byte more.
    fn derive_index(&mut self) -> storekit::Result<()> {
        if !self.images.folder().is_dir() {
            return Ok(());
        }
        match self.images.sync_index() {
            Err(error) if is_full(&error) && !self.shred => {
                let trash = self.store.trash();
                trash.doom(self.batch.name())?;
                trash.shred()?;
                (self.swept.disk_full, self.swept.trashed) = (true, 0);
                self.images.sync_index()
            }
            done => done,
        }
    }

    fn count(&mut self, bytes: u64, moved: bool) {
        self.swept.bytes += bytes;
        if moved && !self.shred {
            self.swept.trashed += bytes;
        }
    }

    fn note_evictions(&self) {
        let needed = evicted::needed_of_images(self.plan);
        let needed: HashMap<_, _> = self.plan.images.iter().map(|image| &image.key).zip(needed).collect();
        for image in &self.swept.images {
            let event = Event::new(TOOL, Kind::Evict, &image.key, Timestamp::now());
            let (bytes, limit) = (Some(image.bytes), Some(evicted::noted(image.why, &self.plan.limits)));
            let needed = needed.get(&image.key).copied().flatten();
            // Statistics only: a store that has no room for a line goes without.
            let _ = self.store.events().record(&Event { bytes, limit, needed, ..event });
        }
        let packages: Vec<_> = self.swept.packages.iter().map(|it| it.place).collect();
        evicted::note(self.store, self.plan, &packages, Timestamp::now());
        let _ = self.store.events().tidy();
        let _ = self.store.packages().uses().tidy();
        let _ = self.store.packages().first_seen().tidy(SystemTime::now());
    }

    /// What is left is what is found: others may have saved and used images since the plan was
    /// made.
    fn finish(mut self, since: Timestamp) -> Result<Swept> {
        let snapshot = Snapshot { now: since, ..survey(self.store, &Told::default())? };
        let again = plan::decide(&snapshot, &self.plan.limits);
        let own = snapshot.trash.iter().find(|removed| removed.name == self.batch.name());
        self.swept.trash_folders = own.map_or(0, |removed| removed.folders);
        self.swept.left = snapshot.left();
        self.swept.unmet = snapshot.unmet(&self.plan.limits);
        self.swept.unmet.extend(overdue(&again));
        self.swept.more = again.going();
        self.swept.rest = Rest { images: self.swept.left.images, bytes: self.swept.left.bytes, ..again.rest };
        Ok(self.swept)
    }
}

/// That an image is older than a limit of age, by the one that is unused for longest.
fn overdue(plan: &Plan) -> Vec<Unmet> {
    let scoped = (0..).zip(&plan.limits.scoped).filter_map(|(place, limit)| {
        Some((Why::Limit(place, Part::Age), limit.max_age.and_then(Setting::value)?))
    });
    let limits = plan.limits.max_age.map(|age| (Why::MaxAge, age)).into_iter().chain(scoped);
    let over = |(why, limit): (Why, Age)| {
        let old = plan.images.iter().filter(|image| image.why == why);
        let oldest = old.map(|image| plan.time.duration_since(image.used).unsigned_abs().as_secs()).max()?;
        Some(Unmet { why, left: oldest, limit: limit.0.as_secs() })
    };
    limits.filter_map(over).collect()
}

/// Those that refer to images first, then those that refer to the ones before.
fn waves(mut rest: Vec<&Eviction>) -> Vec<Vec<&Eviction>> {
    let mut waves = Vec::new();
    while !rest.is_empty() {
        let digests: HashSet<Digest> = rest.iter().map(|image| image.digest).collect();
        let waits = |image: &&Eviction| image.subject.is_some_and(|subject| digests.contains(&subject));
        let (later, now): (Vec<_>, Vec<_>) = rest.into_iter().partition(waits);
        // In a circle, nothing comes first.
        rest = if now.is_empty() { Vec::new() } else { later.clone() };
        waves.push(if now.is_empty() { later } else { now });
    }
    waves
}

fn is_full(error: &storekit::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, storekit::Error::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
}
