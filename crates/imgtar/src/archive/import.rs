//! From an image archive into the store.
//!
//! A pipe is read once: what looks like a layer goes straight into the blob store, and once the
//! archive's own documents are known, it is decided what it all was. A plain tar in a file is
//! looked through first, so that layers which are stored already are only hashed.
//!
//! What a pipe brings and no image needs leaves nothing behind: a blob gets its name when a
//! manifest needs it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use camino::Utf8Path;
use jiff::Timestamp;
use storekit::{Descriptor, Digest, Entry, Key, Store};

use crate::archive::assemble::Assembler;
use crate::archive::catalog::Catalog;
use crate::archive::resolve::{self, Plan};
use crate::archive::walk;
use crate::error::{Error, Result};
use crate::format::compression::{self, Form};
use crate::image::Stored;
use crate::image::commit::{Imported, Notes, Ready, Standing, commit, prepare, standing};
use crate::image::show;
use crate::layer::known::Known;
use crate::progress::Progress;
use crate::source::{Source, drain};

/// Saves an archive's images under a key. The first save under a key wins, unless `force`; a key
/// whose blobs are not all there and sound counts as unsaved.
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
    walk::walk_file(file, name, &mut |item, input| catalog.take(item, input))?;
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
    let head = compression::read_head(&mut stream).map_err(failed)?;
    check_head(&head, name)?;
    let form = Form::of(&head);
    let mut stream = form.decoder(io::Cursor::new(head).chain(stream)).map_err(failed)?;
    let head = compression::read_head(&mut stream).map_err(failed)?;
    if form != Form::Plain && !may_be_tar(&head) {
        let reason = format!("`{name}` is compressed, and not a tar inside");
        return Err(Error::NoImage { reason });
    }
    let stream = io::Cursor::new(head).chain(stream);
    let mut catalog = Catalog::new(&blobs, None, progress);
    walk::walk(stream, name, &mut |item, input| catalog.take(item, input))?;
    save(store, key, &catalog, ready)
}

/// Opens an archive file, and tells whether it is plain.
fn open(path: &Utf8Path) -> Result<(File, bool)> {
    let failed = |source| Error::Input { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    // A named pipe or a device is read once, like any stream.
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok((file, false));
    }
    let head = compression::read_head(&mut file).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    check_head(&head, path.as_str())?;
    Ok((file, Form::of(&head) == Form::Plain))
}

pub(crate) fn check_head(head: &[u8], name: &str) -> Result<()> {
    if head.is_empty() {
        return Err(Error::NoImage { reason: format!("`{name}` is empty") });
    }
    if let Some(form) = compression::unread(head) {
        return Err(Error::compressed(name, form, "imgtar import KEY -"));
    }
    if Form::of(head) == Form::Plain && !may_be_tar(head) {
        return Err(Error::NoImage { reason: format!("`{name}` is not a tar, and neither gzip nor zstd") });
    }
    Ok(())
}

fn may_be_tar(head: &[u8]) -> bool {
    compression::is_tar(head) || head.get(148..156).is_some_and(is_octal)
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
