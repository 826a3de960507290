//! What every save does: what it notes, what stands under its key before, and the key that it
//! writes last.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use storekit::{
    Beside, Blobs, Committed, Descriptor, Digest, Entry, Event, Fetched, Images, Key, Kind, Lease, Origin,
    Overwrite, Store,
};

use crate::error::Result;
use crate::image::Stored;
use crate::image::show::{self, ArtifactInfo};
use crate::image::signature::Signer;
use crate::image::{inputs, verify};
use crate::tally::Tally;

/// What a save notes besides the image.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// How long the build took, in seconds.
    pub build_seconds: Option<f64>,
    /// hashctx's manifest of the inputs.
    pub inputs: Option<Vec<u8>>,
    /// What the build fetched.
    pub fetched: Option<Fetched>,
    /// The names to remember; those in the archive where this is `None`.
    pub names: Option<Vec<String>>,
    /// Whether what is stored under the key is replaced.
    pub force: bool,
    /// Where the image came from.
    pub origin: Origin,
    /// Who vouches for it.
    pub signer: Option<Arc<Signer>>,
}

/// What an import did.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Whether the key was written now; `false` where an earlier save stands.
    pub saved: bool,
    /// What is stored.
    pub entry: Entry,
    /// The IDs of its images, as far as they could be read.
    pub ids: Vec<Digest>,
    /// How many layers were written.
    pub written: usize,
    /// How many layers were there already.
    pub reused: usize,
    /// What an index lists and the archive did not hold.
    pub absent: Vec<Descriptor>,
    /// Names in the archive that no engine takes: they were left out.
    pub bad_names: Vec<String>,
    /// Configs in the archive that are named by another digest than theirs: the names, the digests.
    pub misnamed: Vec<(String, Digest)>,
    /// What is not an image in it.
    pub artifacts: Vec<ArtifactInfo>,
    /// How an engine gave it, where it was one: by a push, or why not so.
    pub way: Option<String>,
}

impl Imported {
    /// Nothing was written: this stands.
    pub(crate) fn already(images: &Images, key: &Key, entry: Entry) -> Self {
        // It may be gone again: then it was stored all the same.
        let stored = Stored::open(images, key).ok().flatten();
        let ids = stored.as_ref().map_or_else(Vec::new, Stored::ids);
        let artifacts = stored.as_ref().map_or_else(Vec::new, show::artifacts);
        Self { saved: false, ids, artifacts, ..Self::new(entry) }
    }

    /// This was copied from another place: whether it was saved, and what stands.
    pub(crate) fn copied(images: &Images, key: &Key, standing: (bool, Entry), tally: &Tally) -> Self {
        let count = |blobs| usize::try_from(blobs).unwrap_or(usize::MAX);
        let (written, reused) = (count(tally.moved_blobs), count(tally.skipped_blobs));
        let (saved, entry) = standing;
        Self { saved, written, reused, ..Self::already(images, key, entry) }
    }

    /// This was saved.
    pub(crate) fn new(entry: Entry) -> Self {
        Self {
            saved: true,
            entry,
            ids: Vec::new(),
            written: 0,
            reused: 0,
            absent: Vec::new(),
            bad_names: Vec::new(),
            misnamed: Vec::new(),
            artifacts: Vec::new(),
            way: None,
        }
    }
}

/// What becomes of a save, by what stands under its key.
pub(crate) enum Standing<'n> {
    /// An image that is whole and sound stays.
    Stays(Box<Imported>),
    /// It goes on.
    Save(Ready<'n>),
}

/// A save that goes on.
pub(crate) struct Ready<'n> {
    /// What it notes; what stands and is not sound is replaced.
    pub(crate) notes: Box<Cow<'n, Notes>>,
    /// The blobs that were read through on the way, and are sound.
    pub(crate) sound: BTreeSet<Digest>,
}

/// Looks at what stands under the key, and reads it through: the one time that a save does. Damaged
/// blobs are moved aside by this, so that they are written anew.
pub(crate) fn standing<'n>(store: &Store, key: &Key, notes: &'n Notes) -> Result<Standing<'n>> {
    let images = store.images();
    let save = |notes, sound| Ok(Standing::Save(Ready { notes: Box::new(notes), sound }));
    let unsound = |sound| save(Cow::Owned(Notes { force: true, ..notes.clone() }), sound);
    if notes.force {
        return save(Cow::Borrowed(notes), BTreeSet::new());
    }
    let entry = match images.get(key) {
        Ok(Some(entry)) => entry,
        Ok(None) => return save(Cow::Borrowed(notes), BTreeSet::new()),
        // A key file that cannot be understood is replaced; one of a newer format is an error.
        Err(error) if error.is_corrupt() => return unsound(BTreeSet::new()),
        Err(error) => return Err(error.into()),
    };
    match verify::verify(&images, std::slice::from_ref(key), &()) {
        Ok(report) if report.problems.is_empty() => {
            Ok(Standing::Stays(Box::new(Imported::already(&images, key, entry))))
        }
        Ok(report) => unsound(report.sound),
        Err(_) => unsound(BTreeSet::new()),
    }
}

pub(crate) fn prepare(store: &Store) -> Result<Blobs> {
    store.images().prepare()?;
    // What a killed writer left is useless; what running ones write is locked.
    store.images().sweep_unfinished()?;
    Ok(store.images().blobs())
}

/// Writes the key. Returns whether it was written, and the entry that stands now.
///
/// # Errors
/// An image for another platform than that of the inputs; those of the store.
pub(crate) fn commit(
    store: &Store,
    key: &Key,
    entry: Entry,
    notes: &Notes,
    leases: &[Lease],
) -> Result<(bool, Entry)> {
    inputs::check_platform(&store.images().blobs(), key, notes.inputs.as_deref(), &entry.descriptor)?;
    let mut entry = Entry { origin: notes.origin.clone(), ..entry };
    if let Some(signer) = &notes.signer {
        signer.sign(key, &mut entry, notes.inputs.as_deref().map(Digest::of));
    }
    let overwrite = if notes.force { Overwrite::Yes } else { Overwrite::No };
    let fetched = fetched(store, key, &entry, notes)?.map(|fetched| fetched.to_text());
    let beside = Beside { inputs: notes.inputs.as_deref(), fetched: fetched.as_deref().map(str::as_bytes) };
    match store.images().commit_with(key, &entry, beside, leases, overwrite)? {
        Committed::AlreadyThere => Ok((false, store.images().get(key)?.unwrap_or(entry))),
        Committed::Saved => {
            let mut event = Event::new("imgtar", Kind::Save, key, Timestamp::now());
            event.seconds = entry.build_seconds;
            event.bytes = Some(leases.iter().map(storekit::Lease::size).sum());
            // A note for statistics: a save that cannot be noted is a save.
            let _ = store.events().record(&event);
            Ok((true, entry))
        }
    }
}

/// What is on record of what the key's builds fetched, with what this one did. A record that
/// cannot be read or understood is begun anew.
fn fetched(store: &Store, key: &Key, entry: &Entry, notes: &Notes) -> Result<Option<Fetched>> {
    let images = store.images();
    let record = |key: &Key| Fetched::parse(&images.fetched(key).ok()??).ok();
    let Some(now) = notes.fetched.clone() else {
        // The same image again: what its builds fetched is as true as before.
        let standing = images.peek(key).ok().flatten();
        let is_same = standing.is_some_and(|it| it.entry.descriptor.digest == entry.descriptor.digest);
        return Ok(is_same.then(|| record(key)).flatten());
    };
    let before = match record(key) {
        None if !now.complete => earlier(&images, key, entry)?.iter().find_map(record).map(Fetched::doubted),
        before => before,
    };
    Ok(now.after(before))
}

/// The keys of earlier images of the same name in larder.toml and in engines, the newest first: the
/// engine may have had steps of theirs, which fetched nothing this time.
fn earlier(images: &Images, key: &Key, entry: &Entry) -> Result<Vec<Key>> {
    let Some(image) = &entry.origin.image else { return Ok(Vec::new()) };
    let repositories = |entry: &Entry| -> BTreeSet<String> {
        entry
            .names
            .iter()
            .map(|name| name.rsplit_once(':').map_or(name.as_str(), |it| it.0).to_owned())
            .collect()
    };
    let own = repositories(entry);
    let mut found = images.list_sound()?;
    found.retain(|it| {
        let theirs = repositories(&it.entry);
        let is_same = own.intersection(&theirs).next().is_some() || (own.is_empty() && theirs.is_empty());
        it.key != *key && it.entry.origin.image.as_ref() == Some(image) && is_same
    });
    found.sort_by_key(|it| std::cmp::Reverse(it.entry.saved));
    Ok(found.into_iter().map(|it| it.key).collect())
}
