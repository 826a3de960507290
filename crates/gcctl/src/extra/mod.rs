//! Folders of other tools (`[[extra]]`): what is in them, and what of it may go, so that the tool
//! still understands the rest.
//!
//! - [`settings`]: which folders. [`survey`]: what is in one.
//! - [`fn@choose`]: what would go. [`remove`]: removes what was chosen and is still as it was.
//! - `below`: never through a link. `hub`: models as `huggingface_hub` keeps them.
//!
//! Limit: what cannot be read of a folder, or has a name that is not UTF-8, is counted and stays.

mod below;
mod choose;
mod hub;
pub mod remove;
pub mod settings;

use std::fmt;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storekit::error::At;
use storekit::{Age, WrittenSize};
use toolkit::tables::ExtraKind;

use self::below::{Folder as Open, Sum};
use crate::error::Result;

pub use choose::choose;

/// A folder that is listed and kept within limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is: absolute, behind links.
    pub path: Utf8PathBuf,
    /// What it holds.
    pub kind: ExtraKind,
    /// How many bytes on disk; `None` where there is no limit.
    pub max_size: Option<WrittenSize>,
    /// How long a thing may stay unused.
    pub max_age: Option<Age>,
    /// The settings file that names it; the nearest, where several do.
    pub file: Utf8PathBuf,
}

impl Folder {
    /// Whether something may go of it.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_size.is_some() || self.max_age.is_some()
    }
}

/// One thing in such a folder: a file, or a revision of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it is, below the folder.
    pub path: Utf8PathBuf,
    /// When it was last used or changed.
    pub used: Timestamp,
    /// The branches and tags that name it, sorted.
    pub refs: Vec<String>,
    /// The bytes on disk of what is its own in any case.
    pub bytes: u64,
    /// The part of `bytes` that is what files hold: not folders, links and refs.
    pub data: u64,
    /// The bytes on disk of a file that has other names: it frees none of them.
    pub linked: u64,
    /// What it needs and others may need too, by path, with the bytes on disk.
    pub blobs: Vec<(Utf8PathBuf, u64)>,
    /// Whether it stays whatever the limits are.
    pub is_held: bool,
}

/// What is in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All bytes on disk.
    pub bytes: u64,
    /// The things, in no order.
    pub items: Vec<Item>,
    /// Paths that are needed by links that are in no item.
    pub held: Vec<Utf8PathBuf>,
    /// Refs that cannot be read, below the folder: all of their repositories stays.
    pub unread: Vec<Utf8PathBuf>,
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It was unused for longer than `max-age`.
    MaxAge,
    /// The folder has more than `max-size`.
    MaxSize,
}

impl Why {
    /// All limits of a folder.
    pub const ALL: [Self; 2] = [Self::MaxAge, Self::MaxSize];
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxAge => "max-age",
            Self::MaxSize => "max-size",
        })
    }
}

/// A thing that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// The folder that it is in.
    pub folder: Utf8PathBuf,
    /// What that holds.
    pub kind: ExtraKind,
    /// Where it is, below the folder.
    pub path: Utf8PathBuf,
    /// When it was last used.
    pub used: Timestamp,
    /// The branches and tags that name it.
    pub refs: Vec<String>,
    /// Why it goes.
    pub why: Why,
    /// How many bytes on disk this frees after what goes before.
    pub bytes: u64,
}

/// What is in a folder; nothing where there is no such folder.
///
/// # Errors
/// What cannot be read.
pub fn survey(folder: &Folder) -> Result<Found> {
    let Some(open) = Open::open(folder.path.as_std_path()).at("open", &folder.path)? else {
        return Ok(Found::default());
    };
    let found = match folder.kind {
        ExtraKind::Dir => files(&open),
        ExtraKind::Hf => hub::read(&open, &folder.path),
    };
    Ok(found.at("read", &folder.path)?)
}

/// Every file by itself.
fn files(open: &Open) -> std::io::Result<Found> {
    let mut found = Found::default();
    let mut sum = sum_of(open)?;
    open.walk(Path::new(""), &mut |_, path, seen| {
        sum.add(&seen);
        let path = Utf8Path::from_path(path).filter(|_| seen.is_file());
        if let Some((path, used)) = path.zip(seen.used) {
            // One with other names frees nothing.
            let (bytes, linked) = if seen.is_single { (seen.bytes, 0) } else { (0, seen.bytes) };
            let (path, refs, blobs) = (path.to_owned(), Vec::new(), Vec::new());
            let (data, is_held) = (bytes, false);
            found.items.push(Item { path, used, refs, bytes, data, linked, blobs, is_held });
        }
        Ok(())
    })?;
    found.bytes = sum.bytes;
    Ok(found)
}

/// The sum of all bytes, with the folder itself in it so far.
fn sum_of(open: &Open) -> std::io::Result<Sum> {
    let mut sum = Sum::default();
    sum.add(&open.own()?);
    Ok(sum)
}
