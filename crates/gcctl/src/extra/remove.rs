//! Removes what was chosen of a folder, each looked at again.

use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use storekit::error::At;
use toolkit::tables::ExtraKind;

use super::below::Folder as Open;
pub use super::hub::Moment;
use super::{Folder, Going, hub};
use crate::error::{Error, Result};

/// What became of something that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is gone, and so many bytes on disk with it.
    Removed(u64),
    /// It stays, or is not there any more.
    Kept(Stays),
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stays {
    /// It is not there any more.
    Gone,
    /// It was used since.
    Used,
    /// Other branches or tags name it.
    Named,
    /// A link elsewhere needs it.
    Needed,
    /// A ref of its repository cannot be read, and may name it.
    Unread,
    /// The tool that keeps it is at it.
    InUse,
}

impl Stays {
    /// The reason in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Gone => "gone already",
            Self::Used => "used since",
            Self::Named => "other branches or tags name it now",
            Self::Needed => "a link elsewhere needs it",
            Self::Unread => "a branch or tag of its repository cannot be read",
            Self::InUse => "in use",
        }
    }
}

/// Refuses what lies in no folder that the settings name as one of its kind.
///
/// # Errors
/// [`Error::NoExtra`].
pub fn check(folders: &[Folder], going: &[Going]) -> Result<()> {
    let is_unknown = |it: &&Going| !folders.iter().any(|own| own.path == it.folder && own.kind == it.kind);
    match going.iter().find(is_unknown) {
        None => Ok(()),
        Some(it) => Err(Error::NoExtra { path: it.folder.clone(), kind: it.kind }),
    }
}

/// A folder of a repository that holds nothing goes when it has not changed for so long.
const EMPTY: SignedDuration = SignedDuration::from_hours(1);

/// What becomes of folders of repositories of models in which nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// They go too, where there are limits.
    Goes,
    /// They stay: only what was listed goes.
    Stays,
}

/// What holds of a whole removal.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    /// When it was decided what goes: what was used later stays.
    pub since: Timestamp,
    /// What becomes of empty folders.
    pub empty: Empty,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// How a removal ends early, and who is told of what.
pub(super) struct Call<'a> {
    pub(super) since: Timestamp,
    pub(super) stop: &'a AtomicBool,
    pub(super) watch: &'a dyn Fn(Moment<'_>),
    pub(super) tell: &'a mut dyn FnMut(&Going, Became),
}

/// Removes what goes, until it is told to stop; tells of each when it is done.
///
/// # Errors
/// A folder that the settings do not name: nothing is removed then. What cannot be read or removed.
pub fn remove(
    folders: &[Folder],
    going: &[Going],
    orders: Orders<'_>,
    tell: impl FnMut(&Going, Became),
) -> Result<()> {
    remove_watched(folders, going, orders, &|_| {}, tell)
}

/// As [`remove`]; `watch` is told of each moment, and the removal goes on when it returns: for
/// tests of what others do meanwhile.
///
/// # Errors
/// As [`remove`].
pub fn remove_watched(
    folders: &[Folder],
    going: &[Going],
    orders: Orders<'_>,
    watch: &dyn Fn(Moment<'_>),
    mut tell: impl FnMut(&Going, Became),
) -> Result<()> {
    check(folders, going)?;
    let Orders { since, empty, stop } = orders;
    let mut call = Call { since, stop, watch, tell: &mut tell };
    for folder in folders {
        let own: Vec<_> = going.iter().filter(|it| it.folder == folder.path).collect();
        let may_be_empty = folder.is_limited() && empty == Empty::Goes && folder.kind == ExtraKind::Hf;
        if own.is_empty() && !may_be_empty {
            continue;
        }
        let Some(open) = Open::open(folder.path.as_std_path()).at("open", &folder.path)? else {
            for it in own {
                (call.tell)(it, Became::Kept(Stays::Gone));
            }
            continue;
        };
        if may_be_empty {
            let before = Timestamp::now().checked_sub(EMPTY).unwrap_or(Timestamp::MIN);
            hub::remove_empty(&open, before).at("remove empty folders below", &folder.path)?;
        }
        match folder.kind {
            _ if own.is_empty() => {}
            ExtraKind::Dir => remove_files(&open, folder, &own, &mut call)?,
            ExtraKind::Hf => {
                hub::remove::remove(&open, &folder.path, &own, &mut call).at("remove from", &folder.path)?;
            }
        }
    }
    Ok(())
}

fn remove_files(open: &Open, folder: &Folder, own: &[&Going], call: &mut Call<'_>) -> Result<()> {
    for it in own {
        if call.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        (call.watch)(Moment::Before(&it.path));
        let became = file(open, it).at("remove", &folder.path.join(&it.path))?;
        (call.tell)(it, became);
    }
    Ok(())
}

/// Why a thing stays of which this is known now.
pub(super) fn reason_to_keep(going: &Going, used: Timestamp, refs: &[String]) -> Option<Stays> {
    if used > going.used { Some(Stays::Used) } else { (refs != going.refs).then_some(Stays::Named) }
}

fn file(open: &Open, going: &Going) -> io::Result<Became> {
    let gone = Ok(Became::Kept(Stays::Gone));
    let above = going.path.parent().unwrap_or(Utf8Path::new(""));
    let (Some(above), Some(name)) = (open.below(above.as_std_path())?, going.path.file_name()) else {
        return gone;
    };
    let name = OsStr::new(name);
    match above.look(name)? {
        Some(seen) if seen.is_file() && seen.used.is_none_or(|used| used > going.used) => {
            Ok(Became::Kept(Stays::Used))
        }
        Some(seen) if seen.is_file() && above.remove(name)? => {
            Ok(Became::Removed(if seen.is_single { seen.bytes } else { 0 }))
        }
        _ => gone,
    }
}
