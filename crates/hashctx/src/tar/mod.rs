//! Writes the hashed files as a tar, and hashes exactly what it writes.
//!
//! The bytes of the tar depend on nothing but the inputs and the time given: sorted paths, every
//! folder spelled out, owner 0, modes as far as they enter the key, GNU headers. The named contexts
//! of a build are hashed and not written.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::config::Config;
use crate::context::reader::{Reader, stat_of};
use crate::context::tar_dockerfile::{self, Extra};
use crate::context::{self, Hashed};
use crate::error::HashError;
use crate::files::entry::{Content, Entry, FileMode, ModePolicy};
use crate::files::stat::Kind;
use crate::listed::Listed;
use crate::path::RelPath;
use crate::warning::Warning;

mod sound;

/// What a tar is made of.
const BLOCK: usize = 512;

/// No header, nor the end. Engines take a tar that stops where a header may stand.
const SPOILED: [u8; BLOCK] = [0xff; BLOCK];

/// 1980-01-02T00:00:00Z: the first full day that every archive format in use can say.
pub const DEFAULT_MTIME: u64 = 315_619_200;

/// Writes the tar of a context and returns what was hashed on the way. `mtime` is every entry's
/// time, in seconds.
///
/// # Errors
/// Where an input cannot be read, or changes while it is written (it may, if the configuration
/// allows that, as long as it is not cut short). The tar then ends in what is not a tar, so that no
/// engine takes it. Errors of the writer are kept as they are.
pub fn tar(config: &Config, mtime: u64, out: impl Write) -> Result<Hashed, HashError> {
    let mut plan = context::plan(config, true, None)?;
    // A build from the tar reads nothing else.
    plan.warnings.retain(|warning| !matches!(warning, Warning::HiddenSource { .. }));
    let reader = Reader::open(&config.root, config.mode, None)?.allow_changing(config.allow_changing);
    let open = Cell::new(true);
    let out = Builder::new(Valve { out, open: &open });
    let folders = HashSet::new();
    let mut archive = Archive {
        out,
        folders,
        mtime,
        policy: config.mode,
        reader: &reader,
        short: false,
        pinned: plan.pinned.take(),
    };
    let listed = std::mem::take(&mut plan.listed);
    plan.warnings.extend(plan.extra.as_ref().and_then(|extra| extra.warning(config)));
    plan.warnings.extend(sound::hidden(config, &listed)?);
    let written = archive.fill(plan.extra.as_ref(), listed).and_then(|entries| {
        sound::check(config, &plan, &entries)?;
        plan.warnings.extend(reader.take_warnings());
        context::finish(config, plan, entries)
    });
    let hashed = written.inspect_err(|error| {
        if !matches!(error, HashError::Write(_)) {
            archive.spoil();
        }
        // A builder that is dropped ends the archive; this one must not.
        open.set(false);
    })?;
    archive.out.into_inner().and_then(|mut out| out.flush()).map_err(HashError::Write)?;
    Ok(hashed)
}

/// Lets nothing through once it is shut.
struct Valve<'a, W> {
    out: W,
    open: &'a Cell<bool>,
}

impl<W: Write> Write for Valve<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.get() { self.out.write(bytes) } else { Err(io::ErrorKind::Other.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Archive<'a, W: Write> {
    out: Builder<W>,
    /// Those that the tar has already.
    folders: HashSet<Vec<u8>>,
    mtime: u64,
    policy: ModePolicy,
    reader: &'a Reader<'a>,
    /// The tar stops in the middle of a file.
    short: bool,
    /// A file that is in the tar with other bytes than on disk.
    pinned: Option<(RelPath, Vec<u8>)>,
}

impl<W: Write> Archive<'_, W> {
    fn fill(&mut self, extra: Option<&Extra>, listed: Vec<Listed>) -> Result<Vec<Entry>, HashError> {
        // The folders that the extra file lies in come before it, each once, as the inputs they
        // are.
        let holds = |one: &Listed| {
            let parents = |extra: &Extra| extra.path.parents().any(|folder| folder == one.path.as_bytes());
            one.kind == Kind::Dir && extra.is_some_and(parents)
        };
        let (above, rest): (Vec<_>, Vec<_>) = listed.into_iter().partition(holds);
        let mut entries = above.into_iter().map(|one| self.add(one)).collect::<Result<Vec<_>, _>>()?;
        extra.map(|extra| self.extra(extra)).transpose()?;
        for one in rest {
            entries.push(self.add(one)?);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Sees to it that no engine takes what was written for a tar. A file that is cut short does it
    /// alone: what follows would be taken for its rest.
    fn spoil(&mut self) {
        if !self.short {
            let out = self.out.get_mut();
            // An error of its own is what makes it worthless.
            let _ = out.write_all(&SPOILED).and_then(|()| out.flush());
        }
    }

    fn extra(&mut self, extra: &Extra) -> Result<(), HashError> {
        self.parents(&extra.path)?;
        self.regular(&extra.path, &extra.bytes)
    }

    fn regular(&mut self, path: &RelPath, bytes: &[u8]) -> Result<(), HashError> {
        let mut header = self.header(EntryType::Regular, tar_dockerfile::MODE);
        header.set_size(bytes.len() as u64);
        self.out.append_data(&mut header, path.as_path(), bytes).map_err(HashError::Write)
    }

    fn add(&mut self, listed: Listed) -> Result<Entry, HashError> {
        self.parents(&listed.path)?;
        if let Some((_, bytes)) = self.pinned.take_if(|(path, _)| *path == listed.path) {
            // What is hashed is the file on disk: the digests are in the key by themselves.
            self.regular(&listed.path, &bytes)?;
            return self.reader.entry(listed);
        }
        if listed.kind == Kind::File {
            let content = self.file(&listed.path)?;
            return Ok(Entry { path: listed.path, content });
        }
        let kind = listed.kind;
        let entry = self.reader.entry(listed)?;
        match &entry.content {
            Content::File { mode, .. } if kind == Kind::Socket => self.empty(&entry.path, *mode)?,
            Content::File { .. } => return Err(HashError::Vanished { path: entry.path.to_string() }),
            Content::Link { target } => self.link(&entry.path, target)?,
            Content::Dir { permissions } => {
                self.folder(entry.path.as_bytes(), permissions.unwrap_or(tar_dockerfile::FOLDER_MODE))?;
            }
        }
        Ok(entry)
    }

    fn file(&mut self, path: &RelPath) -> Result<Content, HashError> {
        let (file, before) = self.reader.open_file(path)?;
        let mode = self.reader.mode_of(path, before.mode);
        let mut header = self.header(EntryType::Regular, self.permissions(mode));
        header.set_size(before.size);
        let mut tee = Tee { file: (&file).take(before.size), hasher: blake3::Hasher::new(), failed: false };
        let written = self.out.append_data(&mut header, path.as_path(), &mut tee);
        let missing = tee.file.limit();
        // What was read is filled up to a whole block.
        let read = before.size.saturating_sub(missing);
        self.short = tee.failed || read.next_multiple_of(BLOCK as u64) < before.size;
        match written {
            Err(source) if tee.failed => Err(HashError::Read { path: path.to_string(), source }),
            Err(source) => Err(HashError::Write(source)),
            Ok(()) if missing > 0 => Err(HashError::Changing { path: path.to_string() }),
            Ok(()) => {
                if stat_of(&file, path)? != before {
                    self.reader.unsteady(path)?;
                }
                // What was hashed is what is in the tar, whatever the file has become.
                Ok(Content::File { digest: tee.hasher.finalize().into(), mode })
            }
        }
    }

    /// What the engines make of a socket.
    fn empty(&mut self, path: &RelPath, mode: FileMode) -> Result<(), HashError> {
        let mut header = self.header(EntryType::Regular, self.permissions(mode));
        self.out.append_data(&mut header, path.as_path(), io::empty()).map_err(HashError::Write)
    }

    fn link(&mut self, path: &RelPath, target: &[u8]) -> Result<(), HashError> {
        let mut header = self.header(EntryType::Symlink, 0o777);
        let target = Path::new(OsStr::from_bytes(target));
        self.out.append_link(&mut header, path.as_path(), target).map_err(HashError::Write)
    }

    /// Engines make folders that are not spelled out, but with the time of the day.
    fn parents(&mut self, path: &RelPath) -> Result<(), HashError> {
        let mut missing: Vec<&[u8]> =
            path.parents().take_while(|folder| !self.folders.contains(*folder)).collect();
        missing.reverse();
        missing.into_iter().try_for_each(|folder| self.folder(folder, tar_dockerfile::FOLDER_MODE))
    }

    fn folder(&mut self, path: &[u8], permissions: u16) -> Result<(), HashError> {
        self.folders.insert(path.to_owned());
        let mut header = self.header(EntryType::Directory, permissions);
        let name = [path, b"/"].concat();
        let path = Path::new(OsStr::from_bytes(&name));
        self.out.append_data(&mut header, path, io::empty()).map_err(HashError::Write)
    }

    /// Where modes do not enter the key, the tar must not depend on them either: better too much
    /// may be executed than too little.
    fn permissions(&self, mode: FileMode) -> u16 {
        match mode {
            FileMode::Plain if self.policy != ModePolicy::None => 0o644,
            FileMode::Plain | FileMode::Executable => 0o755,
            FileMode::Bits(bits) => bits,
        }
    }

    fn header(&self, kind: EntryType, permissions: u16) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(permissions.into());
        header.set_mtime(self.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
    }
}

/// Hashes what is read through it.
struct Tee<'f> {
    file: io::Take<&'f File>,
    hasher: blake3::Hasher,
    failed: bool,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer).inspect_err(|_| self.failed = true)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
