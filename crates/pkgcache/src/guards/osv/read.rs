//! Files of advisories: one as JSON, a zip of them, or a folder of both.
//!
//! What the files say is believed no more than an index: sizes, counts and depths have limits, and
//! memory holds one advisory at a time beside what counts.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Mode, OFlags};
use zip::ZipArchive;

use super::Advisories;
use crate::error::{Error, Result};
use crate::guards::OsvFiles;

/// No advisory is larger: 16 MiB.
const LARGEST: u64 = 16 << 20;
/// There are no more of them.
const MOST: usize = 2_000_000;
/// All of them have no more bytes, unpacked: 16 GiB.
const ALL: u64 = 16 << 30;
/// No file of a zip is packed more tightly.
const RATIO: u64 = 200;
/// What is small may be.
const SMALL: u64 = 64 << 10;
/// Folders are no deeper.
const DEEPEST: usize = 8;

/// What tells whether files are still the same: of each, its time, its size and its number.
pub(crate) type Stamp = Vec<(Utf8PathBuf, Option<SystemTime>, u64, u64)>;

/// The state of the files.
///
/// # Errors
/// One that is not there; folders that are too deep, or have too many files.
pub(crate) fn stamp(files: &OsvFiles) -> Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for path in &files.paths {
        list(path, 0, &mut found)?;
    }
    let state = |path: Utf8PathBuf| {
        let metadata = fs::metadata(&path).map_err(|error| wrong(&path, &error))?;
        Ok((path, metadata.modified().ok(), metadata.len(), metadata.ino()))
    };
    found.into_iter().map(state).collect()
}

/// Reads them.
///
/// # Errors
/// What cannot be read, or is beyond the limits.
pub(crate) fn read(files: &OsvFiles, stamp: &Stamp) -> Result<Advisories> {
    let mut reading = Reading { found: Advisories::default(), files, count: 0, left: ALL };
    for (path, ..) in stamp {
        let is_zip = path.extension() == Some("zip");
        let done = open(path)
            .and_then(|file| if is_zip { reading.zip(file) } else { reading.one(&mut BufReader::new(file)) });
        done.map_err(|why| wrong(path, &why))?;
    }
    Ok(reading.found)
}

/// A pipe would be waited for without end, and a device read for ever.
fn open(path: &Utf8Path) -> Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        File::from(rustix::fs::open(path.as_std_path(), flags, Mode::empty()).map_err(|it| it.to_string())?);
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if metadata.is_file() { Ok(file) } else { Err("it is not a file".to_owned()) }
}

fn wrong(path: &Utf8Path, why: &dyn fmt::Display) -> Error {
    Error::Osv { path: path.to_owned(), reason: why.to_string() }
}

/// The files at the path: of a folder, those whose names end in `.json` or `.zip`.
fn list(path: &Utf8Path, depth: usize, found: &mut Vec<Utf8PathBuf>) -> Result<()> {
    let is_folder = fs::metadata(path).map_err(|error| wrong(path, &error))?.is_dir();
    if !is_folder {
        if found.len() == MOST {
            return Err(wrong(path, &"there are more than 2,000,000 files"));
        }
        found.push(path.to_owned());
        return Ok(());
    }
    if depth == DEEPEST {
        return Err(wrong(path, &"it is more than 8 folders deep"));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(Path::new(path)).map_err(|error| wrong(path, &error))? {
        let entry = entry.map_err(|error| wrong(path, &error))?;
        // A link may lead back to where it is.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let path = path.join(name);
        if is_folder || matches!(path.extension(), Some("json" | "zip")) {
            names.push(path);
        }
    }
    names.sort();
    names.iter().try_for_each(|path| list(path, depth + 1, found))
}

struct Reading<'r> {
    found: Advisories,
    files: &'r OsvFiles,
    count: usize,
    /// Bytes that may still come.
    left: u64,
}

impl Reading<'_> {
    fn one(&mut self, from: &mut dyn Read) -> Result<(), String> {
        if self.count == MOST {
            return Err("there are more than 2,000,000 advisories".to_owned());
        }
        self.count += 1;
        let mut json = Vec::new();
        from.take(LARGEST + 1).read_to_end(&mut json).map_err(|error| error.to_string())?;
        let size = json.len() as u64;
        if size > LARGEST {
            return Err("an advisory is larger than 16 MiB".to_owned());
        }
        self.left = self.left.checked_sub(size).ok_or("the advisories have more than 16 GiB")?;
        self.found.add(&json, self.files)
    }

    /// What is packed in a zip, but for other zips.
    fn zip(&mut self, file: File) -> Result<(), String> {
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| error.to_string())?;
        if archive.len() > MOST {
            return Err("it has more than 2,000,000 files".to_owned());
        }
        for at in 0..archive.len() {
            let mut packed = archive.by_index(at).map_err(|error| error.to_string())?;
            let name = storekit::printable(packed.name()).to_string();
            if !packed.is_file() || Utf8Path::new(&name).extension() != Some("json") {
                continue;
            }
            let most = SMALL.max(packed.compressed_size().saturating_mul(RATIO));
            if packed.size() > most {
                return Err(format!("`{name}` in it is packed more than 200 to 1"));
            }
            // What its head says need not be true.
            let mut capped = (&mut packed).take(most);
            self.one(&mut capped).map_err(|why| format!("`{name}` in it: {why}"))?;
        }
        Ok(())
    }
}
