//! The cache of `huggingface_hub`: `models--ORG--NAME/{blobs,refs,snapshots}`.
//!
//! A revision is a folder of links to blobs: `snapshots/COMMIT/FILE`. A ref is a file that has a
//! commit in it: `refs/main`. What is not as that is counted and held, such as a link that leads
//! elsewhere.
//!
//! Source: the documentation of `huggingface_hub`, "Understand caching"; its `scan_cache_dir` and
//! `delete_revisions`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, openat};

use super::below::{Folder, Seen};
use super::{Found, Item, sum_of};

/// Where a revision lies while it is removed, at the same depth as before, so that its links still
/// lead to its blobs. The library does not look there.
pub(super) const GOING: &str = ".larder-going";

/// Longer files are no refs.
const REF_CAP: u64 = 1000;

/// Of one revision, what it consists of and what it needs.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Of its own repository, by their paths below the hub.
    pub(super) blobs: BTreeSet<Utf8PathBuf>,
    /// Where other links lead, below the hub.
    held: Vec<Utf8PathBuf>,
    bytes: u64,
    used: Option<Timestamp>,
}

/// All repositories below the hub.
pub(super) fn read(hub: &Folder, at: &Utf8Path) -> io::Result<Found> {
    let mut sum = sum_of(hub)?;
    hub.walk(Path::new(""), &mut |_, _, seen| {
        sum.add(&seen);
        Ok(())
    })?;
    let mut found = Found { bytes: sum.bytes, ..Found::default() };
    for name in hub.names()? {
        if let Some(name) = name.to_str().filter(|name| is_repository(name)) {
            repository(hub, at, Utf8Path::new(name), &mut found)?;
        }
    }
    Ok(found)
}

fn is_repository(name: &str) -> bool {
    ["models--", "datasets--", "spaces--"].iter().any(|kind| name.starts_with(kind))
}

/// Removes the folders of repositories in which nothing is but folders, none of which has changed
/// since `before`: the library makes them a moment before it writes into them.
pub(super) fn remove_empty(hub: &Folder, before: Timestamp) -> io::Result<()> {
    for name in hub.names()?.into_iter().filter(|name| name.to_str().is_some_and(is_repository)) {
        let is_old = |seen: &Seen| seen.is_folder() && seen.used.is_some_and(|used| used < before);
        let path = Path::new(&name);
        let mut is_empty = hub.look(&name)?.is_some_and(|seen| is_old(&seen));
        hub.walk(path, &mut |_, _, seen| {
            is_empty &= is_old(&seen);
            Ok(())
        })?;
        if is_empty {
            hub.remove_empty(path)?;
        }
    }
    Ok(())
}

/// The folders of a repository's revisions, below the hub, those that are being removed too.
fn revisions(hub: &Folder, repository: &Utf8Path) -> io::Result<Vec<Utf8PathBuf>> {
    let mut paths = Vec::new();
    for name in ["snapshots", GOING] {
        let path = repository.join(name);
        let Some(folder) = hub.below(path.as_std_path())? else { continue };
        for name in folder.names()? {
            let is_folder = folder.look(&name)?.is_some_and(|seen| seen.is_folder());
            paths.extend(name.to_str().filter(|_| is_folder).map(|name| path.join(name)));
        }
    }
    Ok(paths)
}

fn repository(hub: &Folder, at: &Utf8Path, repository: &Utf8Path, found: &mut Found) -> io::Result<()> {
    let refs = refs(hub, repository)?;
    for path in revisions(hub, repository)? {
        let Needs { blobs, held, mut bytes, used } = needs(hub, at, &path)?;
        found.held.extend(held);
        let mut sizes = Vec::new();
        let mut used = used.unwrap_or(Timestamp::UNIX_EPOCH);
        for blob in blobs {
            let Some(seen) = look(hub, &blob)? else { continue };
            used = used.max(seen.used.unwrap_or(Timestamp::MAX));
            sizes.push((blob, if seen.is_single { seen.bytes } else { 0 }));
        }
        if let Some(seen) = look(hub, &path)? {
            bytes += seen.bytes;
            used = used.max(seen.used.unwrap_or(Timestamp::MAX));
        }
        let is_going = path.parent().and_then(Utf8Path::file_name) == Some(GOING);
        let commit = path.file_name().unwrap_or_default();
        let refs = refs.get(commit).filter(|_| !is_going).cloned().unwrap_or_default();
        for name in &refs {
            let seen = look(hub, &repository.join("refs").join(name))?.filter(|seen| seen.is_single);
            bytes += seen.map_or(0, |seen| seen.bytes);
        }
        // What a run that was killed was about to remove is older than all else.
        let used = if is_going { Timestamp::UNIX_EPOCH } else { used };
        found.items.push(Item { path, used, refs, bytes, linked: 0, blobs: sizes });
    }
    Ok(())
}

pub(super) fn look(hub: &Folder, path: &Utf8Path) -> io::Result<Option<super::below::Seen>> {
    let Some(name) = path.file_name() else { return Ok(None) };
    let above = hub.below(path.parent().unwrap_or(Utf8Path::new("")).as_std_path())?;
    above.map_or(Ok(None), |above| above.look(OsStr::new(name)))
}

/// What a revision consists of and needs; `path` is that of its folder below the hub, `at` the
/// hub's own.
pub(super) fn needs(hub: &Folder, at: &Utf8Path, path: &Utf8Path) -> io::Result<Needs> {
    let mut needs = Needs::default();
    let repository = path.parent().and_then(Utf8Path::parent).unwrap_or(path);
    hub.walk(path.as_std_path(), &mut |folder, path, seen| {
        needs.bytes += if seen.is_single || seen.is_folder() { seen.bytes } else { 0 };
        if seen.is_file() {
            // A file in the place of a link to one, as where there are no links.
            needs.used = needs.used.max(Some(seen.used.unwrap_or(Timestamp::MAX)));
        }
        let Some(name) = path.file_name().filter(|_| seen.is_link()) else { return Ok(()) };
        let Some(target) = folder.link(name)? else { return Ok(()) };
        let direct = lexical(&path.parent().unwrap_or(path).join(&target));
        match direct.and_then(|path| Utf8PathBuf::from_path_buf(path).ok()) {
            Some(blob) if blob.parent() == Some(&repository.join("blobs")) => {
                needs.blobs.insert(blob);
            }
            _ => needs.held.extend(behind(at, path)),
        }
        Ok(())
    })?;
    Ok(needs)
}

/// Where a link leads by its text alone; `None` where that is outside.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            _ => return None,
        }
    }
    Some(inside)
}

/// Where a link leads behind all others, where that is below the hub.
fn behind(at: &Utf8Path, link: &Path) -> Option<Utf8PathBuf> {
    let target = std::fs::canonicalize(at.as_std_path().join(link)).ok()?;
    Utf8PathBuf::from_path_buf(target.strip_prefix(at).ok()?.to_owned()).ok()
}

/// The refs of a repository, sorted, by the commit that they name.
pub(super) fn refs(hub: &Folder, repository: &Utf8Path) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut refs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let root = repository.join("refs");
    hub.walk(root.as_std_path(), &mut |folder, path, seen| {
        let (Some(name), true) = (path.file_name(), seen.is_file()) else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(folder.fd(), name, flags, Mode::empty()) else { return Ok(()) };
        let mut text = String::new();
        let read = std::fs::File::from(file).take(REF_CAP).read_to_string(&mut text);
        let path = path.strip_prefix(&root).ok().and_then(Path::to_str);
        if let (Ok(_), Some(path)) = (read, path) {
            refs.entry(text.trim().to_owned()).or_default().push(path.to_owned());
        }
        Ok(())
    })?;
    for names in refs.values_mut() {
        names.sort();
    }
    Ok(refs)
}

/// What the revisions of a repository need, but for this one.
pub(super) fn needed_beside(
    hub: &Folder,
    at: &Utf8Path,
    repository: &Utf8Path,
    but: &Utf8Path,
) -> io::Result<BTreeSet<Utf8PathBuf>> {
    let mut needed = BTreeSet::new();
    for path in revisions(hub, repository)?.into_iter().filter(|path| path != but) {
        let Needs { blobs, held, .. } = needs(hub, at, &path)?;
        needed.extend(blobs.into_iter().chain(held));
    }
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_where_its_text_says_or_outside() {
        let leads = |path: &str| lexical(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(leads("m/snapshots/c/../../blobs/x").as_deref(), Some("m/blobs/x"));
        assert_eq!(leads("m/snapshots/c/../../../../x"), None);
        assert_eq!(leads("/etc/passwd"), None);
    }
}
