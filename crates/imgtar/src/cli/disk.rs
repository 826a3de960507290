//! Disk images on the command line: which files are one, where they go, and what is said of it.

use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use clap::ValueEnum;
use imgtar::disk::{self, Saved};
use imgtar::format::compression::{self, Form};
use imgtar::format::disk_magic::{self, MAGIC};
use imgtar::image::commit::Notes;
use imgtar::image::disk::{Disk, Format};
use imgtar::source::Source;
use imgtar::{Error, layer};
use miette::Result;
use serde::Serialize;
use storekit::files::lfs::quoted;
use storekit::files::output::is_device;
use storekit::files::replace::{Durability, Staged};
use storekit::{Blobs, ByteSize, Digest, Key, Store};
use toolkit::words::count;
use toolkit::{Outcome, Output};

use crate::cli::Compress;
use crate::cli::run::{Invocation, Keep, folder_of, of_file, terminal, write_file};

/// What a file to import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileType {
    /// An image archive
    Archive,
    /// A disk, byte for byte
    Raw,
    /// A disk in QEMU's format
    Qcow2,
}

/// What `import --json` prints for a disk.
#[derive(Serialize)]
struct SavedDiskLine<'a> {
    key: &'a Key,
    /// `false` where an earlier save stands.
    saved: bool,
    digest: Digest,
    media_type: &'a str,
    format: Option<&'static str>,
    virtual_bytes: Option<u64>,
    file_bytes: Option<u64>,
    chunks_written: usize,
    chunks_reused: usize,
}

/// Which kind of disk is to be imported; none where it is an archive. A file is asked for its first
/// bytes, and then for the end of its name: raw disks have no mark of their own. One in gzip or
/// zstd is looked at as it is inside. Gives the source back, whole, and a disk decompressed.
pub(crate) fn kind(
    source: Source,
    name: &Utf8Path,
    told: Option<FileType>,
) -> Result<(Source, Option<Format>)> {
    match told {
        Some(FileType::Archive) => return Ok((source, None)),
        Some(FileType::Raw) => return Ok((source, Some(Format::Raw))),
        Some(FileType::Qcow2) => {
            let (head, source) = peek(source)?;
            let is_plain = Form::of(&head) == Form::Plain;
            let source = if is_plain { source } else { inside(source, name, &head)?.1 };
            return Ok((source, Some(Format::Qcow2)));
        }
        None => {}
    }
    let (head, source) = peek(source)?;
    if let Some(form) = compression::unread(&head) {
        return Err(unread(name, form).into());
    }
    if Form::of(&head) == Form::Plain {
        let format = judged(&head, name, ends_as_vhd(&source))?;
        return Ok((source, format));
    }
    let file = match &source {
        Source::File(path) => Some(Source::File(path.clone())),
        Source::Stream(_) => None,
    };
    match (inside(source, name, &head), file) {
        // The archive's reader says more of what is wrong.
        (Err(_), Some(file)) => Ok((file, None)),
        (inside, file) => {
            let (inner, plain) = inside?;
            let format = judged(&inner, &inner_name(name), false)?;
            Ok((file.filter(|_| format.is_none()).unwrap_or(plain), format))
        }
    }
}

/// The first bytes of what is compressed, and all of it, decompressed.
fn inside(source: Source, name: &Utf8Path, head: &[u8]) -> Result<(Vec<u8>, Source)> {
    let failed = |source| Error::read(name.as_str(), source);
    let packed: Box<dyn Read + Send> = match source {
        Source::Stream(stream) => stream,
        Source::File(path) => {
            Box::new(File::open(&path).map_err(|source| Error::Input { path: path.clone(), source })?)
        }
    };
    let mut plain = Form::of(head).decoder(packed).map_err(failed)?;
    let inner = compression::read_head(&mut plain).map_err(failed)?;
    Ok((inner.clone(), Source::Stream(Box::new(Cursor::new(inner).chain(plain)))))
}

/// The name of a compressed file without the end that says so.
fn inner_name(name: &Utf8Path) -> Utf8PathBuf {
    let is_packed = matches!(name.extension(), Some("gz" | "zst" | "zstd" | "xz" | "bz2" | "lz4" | "lz"));
    if is_packed { name.with_extension("") } else { name.to_owned() }
}

fn is_raw(name: &Utf8Path) -> bool {
    matches!(name.extension(), Some("raw" | "img"))
}

/// What to do with a compression that is not read here.
fn unread(name: &Utf8Path, form: &'static str) -> Error {
    let raw = if is_raw(&inner_name(name)) { " --type raw" } else { "" };
    Error::compressed(name.as_str(), form, &format!("imgtar import KEY -{raw}"))
}

/// What to do with a disk that is not stored.
fn foreign_disk(name: &Utf8Path, format: &'static str) -> Error {
    let called = if format == "vhd" { "vpc" } else { format };
    let file = if name == "-" { "FILE".to_owned() } else { quoted(name.as_str()) };
    let made =
        if name == "-" { "FILE.qcow2".to_owned() } else { quoted(name.with_extension("qcow2").as_str()) };
    let remedy = format!("qemu-img convert -f {called} -O qcow2 {file} {made}");
    Error::ForeignDisk { name: name.to_string(), format, remedy }
}

/// Whether a file is a vhd of a fixed size, which has its mark in its last sector.
fn ends_as_vhd(source: &Source) -> bool {
    let Source::File(path) = source else { return false };
    let mut sector = [0; 512];
    let last = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-512))?;
        file.read_exact(&mut sector)
    });
    last.is_ok() && disk_magic::is_vhd(&sector)
}

/// What bytes that are not compressed are, by the first of them and by the name.
fn judged(head: &[u8], name: &Utf8Path, ends_as_vhd: bool) -> Result<Option<Format>> {
    let named_raw = is_raw(name);
    let is_tar = head.get(257..262) == Some(b"ustar");
    let foreign = disk_magic::foreign(head).or((ends_as_vhd && !named_raw).then_some("vhd"));
    match (head.starts_with(MAGIC), named_raw, is_tar) {
        (true, ..) => Ok(Some(Format::Qcow2)),
        (false, _, false) if let Some(format) = foreign => Err(foreign_disk(name, format).into()),
        (false, true, false) => Ok(Some(Format::Raw)),
        (false, true, true) => Err(Error::Usage {
            message: format!("`{name}` has the name of a raw disk and begins like an archive"),
            help: "say which with `--type raw` or `--type archive`",
        }
        .into()),
        // An archive without anything in it, or a disk whose first sector is empty.
        (false, false, false) if head.iter().all(|byte| *byte == 0) && !head.is_empty() => {
            Err(Error::NoImage { reason: format!("`{name}` begins with nothing but zeros") }.into())
        }
        (false, false, _) => Ok(None),
    }
}
fn peek(source: Source) -> Result<(Vec<u8>, Source)> {
    match source {
        Source::Stream(mut stream) => {
            let head = compression::read_head(&mut stream).map_err(|source| Error::read("-", source))?;
            Ok((head.clone(), Source::Stream(Box::new(Cursor::new(head).chain(stream)))))
        }
        Source::File(path) => {
            let failed = |source| Error::Input { path: path.clone(), source };
            let mut file = File::open(&path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if metadata.is_dir() {
                let message = format!("`{path}` is a folder");
                return Err(
                    Error::Usage { message, help: "`imgtar pack KEY DIR` makes an image of one" }.into()
                );
            }
            if metadata.is_file() {
                let head = compression::read_head(&mut file).map_err(failed)?;
                return Ok((head, Source::File(path)));
            }
            // A named pipe gives its first bytes once.
            peek(Source::Stream(Box::new(file)))
        }
    }
}

impl Invocation<'_> {
    pub(crate) fn import_disk(
        &self,
        key: &Key,
        source: Source,
        format: Format,
        notes: &Notes,
        file: &Utf8Path,
    ) -> Result<Outcome> {
        let store = Store::open_or_create(&self.root)?;
        let saved = of_file(file, disk::import(&store, key, source, format, notes, &self.bar()))?;
        self.disk_saved(key, &saved)?;
        Ok(Outcome::Yes)
    }

    fn disk_saved(&self, key: &Key, saved: &Saved) -> Result<()> {
        if let Some(header) = &saved.header {
            if let Some(backing) = &header.backing {
                let backing = backing.escape_debug();
                self.view.warn(&format!("the disk is complete only with `{backing}`, which is not stored"));
            }
            if header.external {
                let file = header
                    .data_file
                    .as_deref()
                    .map_or("another file".to_owned(), |file| format!("`{}`", file.escape_debug()));
                self.view.warn(&format!("the disk's bytes are in {file}, which is not stored"));
            }
        }
        let what = saved.disk.as_ref().map_or_else(
            || "image".to_owned(),
            |disk| format!("{} disk of {}", disk.format.name(), ByteSize(disk.virtual_size)),
        );
        let Saved { written, reused, .. } = *saved;
        self.view.say(&if saved.saved {
            format!("saved {key}: {what}, {}, {reused} stored already", count(written, "new chunk"))
        } else {
            format!("{key} is stored already: {what}; it stays (`--force` would replace it)")
        });
        if self.view.common.json {
            let descriptor = &saved.entry.descriptor;
            let disk = saved.disk.as_ref();
            crate::cli::run::out(Output::report().json(&SavedDiskLine {
                key,
                saved: saved.saved,
                digest: descriptor.digest,
                media_type: &descriptor.media_type,
                format: disk.map(|disk| disk.format.name()),
                virtual_bytes: disk.map(|disk| disk.virtual_size),
                file_bytes: disk.map(|disk| disk.size),
                chunks_written: written,
                chunks_reused: reused,
            }))?;
        }
        Ok(())
    }

    /// Writes a disk's file: with its holes where it is a file, all bytes where it is a pipe or a
    /// device.
    pub(crate) fn export_disk(
        &self,
        export: &DiskExport<'_>,
        file: &Utf8Path,
        compress: Option<Compress>,
    ) -> Result<()> {
        let DiskExport { blobs, key, disk } = *export;
        let bar = self.bar();
        let stream = |out: &mut dyn Write| match compress {
            Some(Compress::Zstd) => packed(out, |out| disk::to_stream(blobs, key, disk, out, &bar)),
            Some(Compress::None) | None => disk::to_stream(blobs, key, disk, out, &bar),
        };
        if file == "-" {
            if io::stdout().is_terminal() {
                return Err(terminal().into());
            }
            return Ok(stream(&mut Output::listing())?);
        }
        if compress == Some(Compress::Zstd) || is_device(file) {
            return write_file(file, |out| stream(out).map(|()| Keep::Yes));
        }
        // With its holes, which a stream has not.
        let mut staged = Staged::new(folder_of(file))?;
        disk::to_file(blobs, key, disk, (staged.file(), file.as_str()), &bar)?;
        staged.publish(file, Durability::Unsynced)?;
        Ok(())
    }
}

/// A stored disk that is to be written to a file.
pub(crate) struct DiskExport<'a> {
    pub(crate) blobs: &'a Blobs,
    pub(crate) key: &'a Key,
    pub(crate) disk: &'a Disk,
}

/// One zstd stream, which has no end where `write` fails.
fn packed(
    out: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> imgtar::Result<()>,
) -> imgtar::Result<()> {
    let failed = |source| Error::write("-", source);
    let mut encoder = layer::encoder(out, None).map_err(failed)?;
    write(&mut encoder)?;
    encoder.finish().and_then(Write::flush).map_err(failed)
}
