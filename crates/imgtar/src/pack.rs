//! An image from a folder or a tar, without an engine. The same input gives the same image ID.
//!
//! A folder becomes one layer: sorted by the bytes of the names, owned by 0:0, modes 755 or 644,
//! one time for all. A tar is taken as the layer byte for byte.
//!
//! Limit: hard links become files of their own; set-uid bits and extended attributes are not kept
//! (pack a tar for that).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use storekit::{Descriptor, Entry, Key, Store};

use crate::archive::assemble;
use crate::error::{Error, Result};
use crate::format::compression;
use crate::format::oci::{self, Manifest, Platform, RootFs};
use crate::image::commit::{self, Imported, Notes, Ready, Standing};
use crate::layer::known::Known;
use crate::layer::{self, Announced};
use crate::progress::Progress;

/// 1980-01-02T00:00:00Z: the earliest day that every archive format can hold in every time zone.
pub const EPOCH: i64 = 315_619_200;

/// What is packed.
pub enum Input {
    /// A folder's content.
    Folder(Utf8PathBuf),
    /// A tar, plain or compressed, and its file's name, or `-`.
    Tar(Utf8PathBuf, Box<dyn Read + Send>),
}

/// What the image's config says.
#[derive(Clone, Debug)]
pub struct Config {
    /// For which machine.
    pub platform: Platform,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// The arguments that the entry point gets by default.
    pub cmd: Vec<String>,
    /// `NAME=VALUE`, in this order.
    pub env: Vec<String>,
    /// Where it starts.
    pub workdir: Option<String>,
    /// As whom.
    pub user: Option<String>,
    /// `NAME=VALUE`; sorted by name in the config.
    pub labels: Vec<(String, String)>,
    /// The time of everything, in seconds since 1970.
    pub time: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            platform: Platform::host(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            workdir: None,
            user: None,
            labels: Vec::new(),
            time: EPOCH,
        }
    }
}

/// Packs an image of one layer and saves it under the key.
///
/// # Errors
/// Files that cannot be read or have no place in an image; as
/// [`import`](crate::archive::import::import).
pub fn pack(
    store: &Store,
    key: &Key,
    input: Input,
    config: &Config,
    notes: &Notes,
    progress: &dyn Progress,
) -> Result<Imported> {
    let blobs = commit::prepare(store)?;
    let Ready { notes, sound } = match commit::standing(store, key, notes)? {
        Standing::Stays(imported) => return Ok(*imported),
        Standing::Save(ready) => ready,
    };
    let made = match input {
        Input::Folder(folder) => read_folder(&blobs, &folder, config.time, progress)?,
        Input::Tar(name, tar) => read_tar(&blobs, name.as_str(), tar, progress)?,
    };
    let (shape, known) = (made.shape, Known::scan(store, &sound)?);
    // Where the layer is stored in another form, this one leaves nothing behind.
    let other = known.other(&blobs, &shape.diff_id, &shape.digest)?;
    let (layer, lease, reused) = if let Some((other, lease)) = other {
        (assemble::again(&other, shape.plain_size), lease, 1)
    } else {
        let reused = usize::from(known.has(&blobs, &shape.diff_id, &shape));
        (assemble::describe(&shape), made.publish()?.lease, reused)
    };
    let bytes = config.to_bytes(shape.diff_id)?;
    let config_lease = blobs.put(&bytes)?;
    let id = config_lease.digest();
    let config = Descriptor::new(oci::CONFIG, id, config_lease.size());
    let manifest = blobs.put(&oci::to_bytes(&Manifest::new(config, vec![layer])))?;
    let entry = Entry {
        names: notes.names.clone().unwrap_or_default(),
        build_seconds: notes.build_seconds,
        ..Entry::new(Descriptor::new(oci::MANIFEST, manifest.digest(), manifest.size()), Timestamp::now())
    };
    let leases = [lease, config_lease, manifest];
    let (saved, entry) = commit::commit(store, key, entry, &notes, &leases)?;
    if !saved {
        return Ok(Imported::already(&store.images(), key, entry));
    }
    Ok(Imported { ids: vec![id], written: 1 - reused, reused, ..Imported::new(entry) })
}

impl Config {
    fn to_bytes(&self, diff_id: storekit::Digest) -> Result<Vec<u8>> {
        let created = Timestamp::from_second(self.time).map_err(|_| Error::Usage {
            message: format!("`{}` is not a time", self.time),
            help: "SOURCE_DATE_EPOCH is a number of seconds since 1970",
        })?;
        let created = created.to_string();
        let platform = &self.platform;
        let mut document = json!({
            "architecture": platform.architecture(),
            "config": self.run_config(),
            "created": created,
            "history": [{ "created": created, "created_by": "imgtar pack" }],
            "os": platform.os(),
            "rootfs": RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        });
        if let (Some(variant), Some(fields)) = (platform.variant(), document.as_object_mut()) {
            fields.insert("variant".to_owned(), Value::from(variant));
        }
        Ok(oci::to_bytes(&document))
    }

    fn run_config(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        for (name, list) in [("Cmd", &self.cmd), ("Entrypoint", &self.entrypoint), ("Env", &self.env)] {
            if !list.is_empty() {
                set(name, Value::from(list.clone()));
            }
        }
        for (name, text) in [("User", &self.user), ("WorkingDir", &self.workdir)] {
            if let Some(text) = text {
                set(name, Value::from(text.as_str()));
            }
        }
        if !self.labels.is_empty() {
            set(
                "Labels",
                self.labels
                    .iter()
                    .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                    .collect::<Map<_, _>>()
                    .into(),
            );
        }
        fields
    }
}

/// Takes the tar as it is, if it is one and whole.
fn read_tar(
    blobs: &storekit::Blobs,
    name: &str,
    mut tar: Box<dyn Read + Send>,
    progress: &dyn Progress,
) -> Result<layer::Made> {
    let head = compression::read_head(&mut tar).map_err(|source| Error::read(name, source))?;
    if head.is_empty() {
        return Err(Error::Unpackable { path: name.into(), reason: "it is empty".to_owned() });
    }
    if let Some(form) = compression::unread(&head) {
        return Err(Error::compressed(name, form, "imgtar pack KEY -"));
    }
    let announced = Announced { tar: true, ..Announced::default() };
    layer::read(blobs, &mut io::Cursor::new(head).chain(tar), announced, name, progress).map_err(|error| {
        match error {
            Error::Damaged { reason } => Error::Unpackable { path: name.into(), reason },
            error => error,
        }
    })
}

/// Makes the layer's tar in a thread of its own, while it is hashed and compressed.
fn read_folder(
    blobs: &storekit::Blobs,
    folder: &Utf8Path,
    time: i64,
    progress: &dyn Progress,
) -> Result<layer::Made> {
    let time = u64::try_from(time).unwrap_or(0);
    let entries = walk(folder)?;
    thread::scope(|scope| {
        let (writer, mut reader) = layer::pipe();
        let packing = scope.spawn(move || write_tar(folder, &entries, time, writer));
        let made = layer::read(blobs, &mut reader, Announced::default(), folder.as_str(), progress);
        drop(reader);
        // Where the store fails, the packer meets a broken pipe, and knows less of why.
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let made = made?;
        packed.map(|()| made)
    })
}

/// Something in a folder.
struct FolderEntry {
    /// Below the folder.
    path: PathBuf,
    kind: What,
}

enum What {
    Folder,
    File { executable: bool, size: u64 },
    Link(PathBuf),
}

/// All that is below the folder, sorted by the bytes of the paths.
fn walk(folder: &Utf8Path) -> Result<Vec<FolderEntry>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let path = folder.as_std_path().join(&below);
        for entry in fs::read_dir(&path).map_err(|source| input(&path, source))? {
            let entry = entry.map_err(|source| input(&path, source))?;
            let one = inspect(&entry.path(), below.join(entry.file_name()))?;
            if matches!(one.kind, What::Folder) {
                folders.push(one.path.clone());
            }
            found.push(one);
        }
    }
    found.sort_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
    Ok(found)
}

fn inspect(path: &Path, below: PathBuf) -> Result<FolderEntry> {
    let metadata = fs::symlink_metadata(path).map_err(|source| input(path, source))?;
    let kind = if metadata.is_dir() {
        What::Folder
    } else if metadata.is_symlink() {
        What::Link(fs::read_link(path).map_err(|source| input(path, source))?)
    } else if metadata.is_file() {
        What::File { executable: metadata.permissions().mode() & 0o111 != 0, size: metadata.len() }
    } else {
        return Err(unpackable(path, "it is neither a file, a folder nor a symbolic link"));
    };
    Ok(FolderEntry { path: below, kind })
}

fn input(path: &Path, source: io::Error) -> Error {
    Error::Input { path: lossy(path), source }
}

fn unpackable(path: &Path, reason: &str) -> Error {
    Error::Unpackable { path: lossy(path), reason: reason.to_owned() }
}

fn lossy(path: &Path) -> Utf8PathBuf {
    path.to_string_lossy().into_owned().into()
}

fn write_tar(folder: &Utf8Path, entries: &[FolderEntry], time: u64, to: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(to);
    for FolderEntry { path, kind } in entries {
        let full = folder.as_std_path().join(path);
        let failed = |source: io::Error| input(&full, source);
        let mut header = header(kind, time);
        match kind {
            What::Folder => {
                let name = [path.as_os_str().as_bytes(), b"/"].concat();
                tar.append_data(&mut header, OsStr::from_bytes(&name), io::empty()).map_err(failed)?;
            }
            What::Link(target) => tar.append_link(&mut header, path, target).map_err(failed)?,
            What::File { size, .. } => {
                let file = File::open(&full).map_err(failed)?;
                let mut content = Sized { file, left: *size };
                tar.append_data(&mut header, path, &mut content).map_err(failed)?;
                content.check().map_err(|reason| unpackable(&full, reason))?;
            }
        }
    }
    let failed = |source| input(folder.as_std_path(), source);
    tar.into_inner().and_then(|mut to| to.flush()).map_err(failed)
}

fn header(kind: &What, time: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let (entry_type, mode, size) = match kind {
        What::Folder => (tar::EntryType::Directory, 0o755, 0),
        What::File { executable: true, size } => (tar::EntryType::Regular, 0o755, *size),
        What::File { size, .. } => (tar::EntryType::Regular, 0o644, *size),
        What::Link(_) => (tar::EntryType::Symlink, 0o777, 0),
    };
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A file that must have exactly the size that its header says.
struct Sized {
    file: File,
    left: u64,
}

impl Sized {
    fn check(&mut self) -> Result<(), &'static str> {
        let more = self.file.read(&mut [0]).is_ok_and(|count| count > 0);
        if self.left > 0 || more { Err("it changed while it was packed") } else { Ok(()) }
    }
}

impl Read for Sized {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..wanted])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads an entrypoint or a command: a JSON list of strings, or one word.
///
/// # Errors
/// A JSON list of something else than strings.
pub fn words(text: &str) -> Result<Vec<String>> {
    if !text.trim_start().starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    serde_json::from_str(text).map_err(|error| Error::Usage {
        message: format!("`{text}` is not a list of strings: {error}"),
        help: "write one word such as `/app`, or a JSON list such as `[\"/app\", \"--serve\"]`",
    })
}
