//! From an image archive into the store.
//!
//! A pipe is read once: what looks like a layer goes straight into the blob store, and once the archive's own
//! documents are known, it is decided what it all was. A plain tar in a file is looked through first, so that
//! layers which are stored already are only hashed.
//!
//! What a pipe brings and no image needs leaves nothing behind: a blob gets its name when a manifest needs it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::{
    Blobs, Committed, Descriptor, Digest, Entry, Event, Images, Key, Kind, Lease, Overwrite, Store,
};

use crate::archive;
use crate::assemble::Assembler;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::form::{self, Form};
use crate::image::Stored;
use crate::known::Known;
use crate::progress::Progress;
use crate::resolve::{self, Plan};
use crate::show::{self, ArtifactInfo};

/// Where an archive comes from.
pub enum Source {
    /// Something that can be read once.
    Stream(Box<dyn Read + Send>),
    /// A file.
    File(Utf8PathBuf),
}

/// What a save notes besides the image.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// How long the build took, in seconds.
    pub build_seconds: Option<f64>,
    /// hashctx's manifest of the inputs.
    pub inputs: Option<Vec<u8>>,
    /// The names to remember; those in the archive where this is `None`.
    pub names: Option<Vec<String>>,
    /// Whether what is stored under the key is replaced.
    pub force: bool,
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
    pub absent: Vec<storekit::Descriptor>,
    /// Names in the archive that no engine takes: they were left out.
    pub bad_names: Vec<String>,
    /// Configs in the archive that are named by another digest than theirs: the names, the digests.
    pub misnamed: Vec<(String, Digest)>,
    /// What is no image in it.
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

/// Saves an archive's images under a key. The first save under a key wins, unless `force`; a key whose blobs are
/// not all there and sound counts as unsaved.
///
/// # Errors
/// A hostile, damaged or incomplete archive: nothing stands under the key then. I/O errors.
pub fn import(
    store: &Store,
    key: &Key,
    source: Source,
    notes: &Notes,
    progress: &dyn Progress,
) -> Result<Imported> {
    prepare(store)?;
    let ready = match standing(store, key, notes)? {
        Standing::Stays(imported) => return drain(source).map(|()| *imported),
        Standing::Save(ready) => ready,
    };
    match source {
        Source::Stream(stream) => import_stream(store, key, (stream, "-"), ready, progress),
        Source::File(path) => {
            let (file, plain) = open(&path)?;
            if plain {
                return import_file(store, key, (&file, path.as_str()), ready, progress);
            }
            import_stream(store, key, (Box::new(file), path.as_str()), ready, progress)
        }
    }
}

/// Whoever writes into a pipe is not to fail because its image is stored already.
pub(crate) fn drain(source: Source) -> Result<()> {
    match source {
        Source::Stream(mut stream) => {
            io::copy(&mut stream, &mut io::sink()).map(drop).map_err(|source| Error::read("-", source))
        }
        Source::File(_) => Ok(()),
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
    pub(crate) notes: Cow<'n, Notes>,
    /// The blobs that were read through on the way, and are sound.
    pub(crate) sound: BTreeSet<Digest>,
}

/// Looks at what stands under the key, and reads it through: the one time that a save does. Damaged blobs are moved
/// aside by this, so that they are written anew.
pub(crate) fn standing<'n>(store: &Store, key: &Key, notes: &'n Notes) -> Result<Standing<'n>> {
    let images = store.images();
    let save = |notes, sound| Ok(Standing::Save(Ready { notes, sound }));
    let unsound = |sound| save(Cow::Owned(Notes { force: true, ..notes.clone() }), sound);
    if notes.force {
        return save(Cow::Borrowed(notes), BTreeSet::new());
    }
    let entry = match images.get(key) {
        Ok(Some(entry)) => entry,
        Ok(None) => return save(Cow::Borrowed(notes), BTreeSet::new()),
        // A key file that cannot be understood is no reason not to save; one of a newer format is.
        Err(error) if error.is_corrupt() => return unsound(BTreeSet::new()),
        Err(error) => return Err(error.into()),
    };
    match crate::verify::verify(&images, std::slice::from_ref(key), &()) {
        Ok(report) if report.problems.is_empty() => {
            Ok(Standing::Stays(Box::new(Imported::already(&images, key, entry))))
        }
        Ok(report) => unsound(report.sound),
        Err(_) => unsound(BTreeSet::new()),
    }
}

type Named<'a, T> = (T, &'a str);

fn import_file(
    store: &Store,
    key: &Key,
    (file, name): Named<'_, &File>,
    ready: Ready<'_>,
    progress: &dyn Progress,
) -> Result<Imported> {
    let blobs = store.images().blobs();
    if let Ok(metadata) = file.metadata() {
        progress.expect(metadata.len());
    }
    let mut catalog = Catalog::new(&blobs, Some(file), progress);
    archive::walk_file(file, name, &mut |item, input| catalog.take(item, input))?;
    save(store, key, &catalog, ready)
}

pub(crate) fn import_stream(
    store: &Store,
    key: &Key,
    (mut stream, name): Named<'_, Box<dyn Read + Send>>,
    ready: Ready<'_>,
    progress: &dyn Progress,
) -> Result<Imported> {
    let blobs = store.images().blobs();
    let failed = |source| Error::read(name, source);
    let head = form::read_head(&mut stream).map_err(failed)?;
    check_head(&head, name)?;
    let form = Form::of(&head);
    let mut stream = form.decoder(io::Cursor::new(head).chain(stream)).map_err(failed)?;
    let head = form::read_head(&mut stream).map_err(failed)?;
    if form != Form::Plain && !may_be_tar(&head) {
        let reason = format!("`{name}` is compressed, and not a tar inside");
        return Err(Error::NoImage { reason });
    }
    let stream = io::Cursor::new(head).chain(stream);
    let mut catalog = Catalog::new(&blobs, None, progress);
    archive::walk(stream, name, &mut |item, input| catalog.take(item, input))?;
    save(store, key, &catalog, ready)
}

pub(crate) fn prepare(store: &Store) -> Result<Blobs> {
    store.images().prepare()?;
    // What a killed writer left is of no use to anybody; what living ones write is locked.
    store.images().sweep_unfinished()?;
    Ok(store.images().blobs())
}

/// Opens an archive file, and tells whether it is plain.
fn open(path: &Utf8Path) -> Result<(File, bool)> {
    let failed = |source| Error::Input { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    // A named pipe or a device is read once, like any stream.
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok((file, false));
    }
    let head = form::read_head(&mut file).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    check_head(&head, path.as_str())?;
    Ok((file, Form::of(&head) == Form::Plain))
}

pub(crate) fn check_head(head: &[u8], name: &str) -> Result<()> {
    if head.is_empty() {
        return Err(Error::NoImage { reason: format!("`{name}` is empty") });
    }
    if let Some(form) = form::unread(head) {
        return Err(Error::compressed(name, form, "imgtar import KEY -"));
    }
    if Form::of(head) == Form::Plain && !may_be_tar(head) {
        return Err(Error::NoImage { reason: format!("`{name}` is no tar, and neither gzip nor zstd") });
    }
    Ok(())
}

fn may_be_tar(head: &[u8]) -> bool {
    form::is_tar(head) || head.get(148..156).is_some_and(is_octal)
}

/// Whether this may be the checksum of a tar's header.
fn is_octal(field: &[u8]) -> bool {
    field.iter().any(u8::is_ascii_digit) && field.iter().all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0))
}

/// Writes what the archive holds, and the key last.
fn save(store: &Store, key: &Key, catalog: &Catalog<'_>, ready: Ready<'_>) -> Result<Imported> {
    let Ready { notes, sound } = ready;
    let plan = resolve::resolve(catalog)?;
    let known = Known::scan(store, &sound)?;
    let mut assembler = Assembler::new(catalog, &known);
    let descriptor = assembler.plan(&plan)?;
    let (written, reused) = (assembler.written, assembler.reused);
    let names = notes.names.clone().unwrap_or_else(|| all_names(&plan));
    let entry = Entry {
        names,
        build_seconds: notes.build_seconds,
        ..Entry::new(bare(&descriptor), Timestamp::now())
    };
    let leases = assembler.into_leases();
    let (saved, entry) = commit(store, key, entry, &notes, &leases)?;
    known.remember(catalog.blobs, &leases);
    if !saved {
        return Ok(Imported::already(&store.images(), key, entry));
    }
    let images = plan.roots.iter().flat_map(|root| root.node.images());
    let ids = images.map(|image| Digest::of(&image.config)).collect();
    let has_artifacts = plan.roots.iter().any(|root| root.node.has_artifact());
    let stored = if has_artifacts { Stored::open(&store.images(), key)? } else { None };
    let artifacts = stored.as_ref().map_or_else(Vec::new, show::artifacts);
    let Plan { absent, bad_names, misnamed, .. } = plan;
    Ok(Imported { ids, written, reused, absent, bad_names, misnamed, artifacts, ..Imported::new(entry) })
}

/// A descriptor without what belongs into an index only.
fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size)
}

fn all_names(plan: &Plan) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in plan.roots.iter().flat_map(|root| &root.names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
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
    crate::inputs::check_platform(&store.images().blobs(), key, notes.inputs.as_deref(), &entry.descriptor)?;
    let overwrite = if notes.force { Overwrite::Yes } else { Overwrite::No };
    match store.images().commit(key, &entry, notes.inputs.as_deref(), leases, overwrite)? {
        Committed::AlreadyThere => Ok((false, store.images().get(key)?.unwrap_or(entry))),
        Committed::Saved => {
            let mut event = Event::new("imgtar", Kind::Save, key, Timestamp::now());
            event.seconds = entry.build_seconds;
            // A note for statistics: a save that cannot be noted is a save.
            let _ = store.events().record(&event);
            Ok((true, entry))
        }
    }
}
