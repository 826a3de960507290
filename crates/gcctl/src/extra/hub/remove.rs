//! Removes revisions, each looked at again just before, and the blobs that nothing else needs.
//!
//! All that go are moved aside first, one by one; then the hub is read once for what is needed, the
//! blobs are moved aside too, and it is read once more for what has come to need one meanwhile. So
//! the work is in proportion to the hub, and not to its square. Killed, it goes on with the next
//! run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::sync::atomic::Ordering;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, openat, renameat};
use rustix::io::Errno;

use super::super::Going;
use super::super::below::{Folder, Seen};
use super::super::remove::{Became, Call, Stays, reason_to_keep};
use super::refs::{self, Refs};
use super::{GOING, Moment, Revision, Scan};

/// So many refs are read for each revision that goes.
const READ_AT_ONCE: usize = 16;

/// Where the blobs lie that go, in the folder of a revision aside.
const BLOBS: &str = ".larder-blobs";

/// Removes what goes of the hub, which is `at`.
pub(in super::super) fn remove<'a>(
    hub: &'a Folder,
    at: &'a Utf8Path,
    going: &[&'a Going],
    call: &mut Call<'_>,
) -> io::Result<()> {
    let scan = Scan::of(hub, at, call.watch)?;
    let since = call.since;
    let (refs, aside, others) = (HashMap::new(), Vec::new(), BTreeSet::new());
    let mut removal = Removal { hub, at, since, scan, refs, aside, others };
    let mut moved = Ok(());
    for it in going {
        if call.stop.load(Ordering::SeqCst) {
            break;
        }
        (call.watch)(Moment::Before(&it.path));
        match removal.take(it) {
            Ok(None) => {}
            Ok(Some(reason)) => (call.tell)(it, Became::Kept(reason)),
            Err(error) => {
                moved = Err(error);
                break;
            }
        }
    }
    // Also after an error: what is aside would be there for nobody.
    removal.finish(call).and(moved)
}

/// A revision that was moved aside.
struct Aside<'a> {
    it: &'a Going,
    /// Where it is now, below the hub.
    now: Utf8PathBuf,
    needs: BTreeSet<Utf8PathBuf>,
    /// The bytes on disk that go with it.
    bytes: u64,
}

struct Removal<'a> {
    hub: &'a Folder,
    at: &'a Utf8Path,
    /// What was used later stays.
    since: Timestamp,
    /// The hub before anything goes.
    scan: Scan,
    /// The refs of each repository as they were last read, and for how many revisions that will do.
    refs: HashMap<Utf8PathBuf, (Refs, usize)>,
    aside: Vec<Aside<'a>>,
    /// Folders aside that are not revisions: for blobs of repositories of which none goes.
    others: BTreeSet<Utf8PathBuf>,
}

impl<'a> Removal<'a> {
    /// Moves a revision aside, unless there is a reason to keep it. First its refs go, so that none
    /// names what is not there.
    fn take(&mut self, it: &'a Going) -> io::Result<Option<Stays>> {
        self.read_refs(Utf8Path::new(repository_of(&it.path)))?;
        let Some(revision) = self.scan.find(&it.path) else { return Ok(Some(Stays::Gone)) };
        let known = reason_to_keep(it, revision.used, &revision.refs).or(revision.hold);
        let reason = if known.is_some() { known } else { self.look_again(it, revision)? };
        if reason.is_some() {
            return Ok(reason);
        }
        let (needs, bytes) = (revision.needs.clone(), revision.bytes);
        let now = match revision.named() {
            None => it.path.clone(),
            Some((repository, commit)) => {
                let now = place_aside(self.hub, &repository, commit)?;
                for name in &it.refs {
                    refs::unlink(self.hub, &repository, name, commit)?;
                }
                if !move_to(self.hub, &it.path, &now)? {
                    return Ok(Some(Stays::Gone));
                }
                now
            }
        };
        self.aside.push(Aside { it, now, needs, bytes });
        Ok(None)
    }

    /// Reads the refs of the repository again: each time, but where there are very many, that the
    /// work is no more than a few for each revision. Those that are missed in this way bring it
    /// back when it is aside.
    fn read_refs(&mut self, repository: &Utf8Path) -> io::Result<()> {
        match self.refs.get_mut(repository) {
            Some((_, left)) if *left > 0 => *left -= 1,
            _ => {
                let refs = refs::read(self.hub, repository)?;
                let left = refs.count() / READ_AT_ONCE;
                self.refs.insert(repository.to_owned(), (refs, left));
            }
        }
        Ok(())
    }

    /// Why a revision stays by what is there now.
    fn look_again(&self, it: &Going, before: &Revision) -> io::Result<Option<Stays>> {
        for blob in before.needs.iter().filter(|need| is_blob(need)) {
            if lock(self.hub, blob)?.is_none() {
                return Ok(Some(Stays::InUse));
            }
        }
        let Some((repository, commit)) = before.named() else { return Ok(None) };
        let Some((refs, _)) = self.refs.get(&repository) else { return Ok(None) };
        if refs.unread.is_some() {
            return Ok(Some(Stays::Unread));
        }
        if refs.of(commit).map_or(&[][..], |named| &named.names) != it.refs {
            return Ok(Some(Stays::Named));
        }
        let Some(own) = look(self.hub, &it.path)?.filter(Seen::is_folder) else {
            return Ok(Some(Stays::Gone));
        };
        let mut now = Revision::new(it.path.clone());
        now.add(&own);
        self.hub.walk(it.path.as_std_path(), &mut |_, _, seen| {
            now.add(&seen);
            Ok(())
        })?;
        let is_used = now.changed > it.used || self.is_blob_used(before)?;
        Ok(is_used.then_some(Stays::Used))
    }

    /// Whether a blob of the revision was used since the hub was read, or the plan was made: as
    /// nobody can say of which revision that was, it counts for all.
    fn is_blob_used(&self, revision: &Revision) -> io::Result<bool> {
        for (blob, before) in revision.needs.iter().filter_map(|need| self.scan.blobs.get_key_value(need)) {
            let is_later = |used: Timestamp| used > self.since || Some(used) > before.used;
            if look(self.hub, blob)?.is_some_and(|now| now.used.is_none_or(is_later)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes what is aside, with the blobs that nothing else needs.
    fn finish(&mut self, call: &mut Call<'_>) -> io::Result<()> {
        if self.aside.is_empty() {
            return Ok(());
        }
        (call.watch)(Moment::Aside);
        let needed = self.needed(call)?;
        let needed = self.return_needed(needed, call)?;
        let taken = self.move_blobs(&needed)?;
        (call.watch)(Moment::BlobsAside);
        let needed = self.needed(call)?;
        self.move_back(&needed, &taken)?;
        for Aside { it, now, bytes, .. } in &self.aside {
            self.delete(now)?;
            (call.tell)(it, Became::Removed(*bytes));
        }
        self.others.iter().try_for_each(|folder| self.delete(folder))
    }

    fn delete(&self, folder: &Utf8Path) -> io::Result<()> {
        self.hub.remove_all(folder.as_std_path())?;
        if let Some(repository) = self.hub.below(Utf8Path::new(repository_of(folder)).as_std_path())? {
            // Others may be in there: what is on its way out, too.
            let _ = repository.remove_folder(OsStr::new(GOING));
        }
        Ok(())
    }

    /// What is needed now by all that is not aside.
    fn needed(&self, call: &Call<'_>) -> io::Result<HashSet<Utf8PathBuf>> {
        let aside = self.aside.iter().map(|aside| aside.now.clone()).collect();
        Ok(Scan::of(self.hub, self.at, call.watch)?.needed_beside(&aside))
    }

    /// Moves those back that a link has come to need, or a ref to name, and all that these need.
    /// Returns what is needed then.
    fn return_needed(
        &mut self,
        mut needed: HashSet<Utf8PathBuf>,
        call: &mut Call<'_>,
    ) -> io::Result<HashSet<Utf8PathBuf>> {
        let mut all = HashMap::new();
        loop {
            let (mut stay, mut is_changed) = (Vec::new(), false);
            for aside in std::mem::take(&mut self.aside) {
                let repository = Utf8Path::new(repository_of(&aside.it.path));
                if !all.contains_key(repository) {
                    all.insert(repository.to_owned(), refs::read(self.hub, repository)?);
                }
                let reason = reason_to_return(&aside, &needed, &all[repository]);
                match reason {
                    Some(reason) if move_to(self.hub, &aside.now, &aside.it.path)? => {
                        is_changed = true;
                        needed.extend(aside.needs);
                        (call.tell)(aside.it, Became::Kept(reason));
                    }
                    _ => stay.push(aside),
                }
            }
            self.aside = stay;
            if !is_changed {
                return Ok(needed);
            }
        }
    }

    /// Moves the blobs aside that nothing else needs, each with the last revision that needed it.
    /// Returns which went with which.
    fn move_blobs(&mut self, needed: &HashSet<Utf8PathBuf>) -> io::Result<HashMap<Utf8PathBuf, usize>> {
        let mut taken = HashMap::new();
        for place in (0..self.aside.len()).rev() {
            let blobs: Vec<_> =
                self.aside[place].needs.iter().filter(|need| is_blob(need)).cloned().collect();
            for blob in blobs {
                if is_needed(needed, &blob) || taken.contains_key(&blob) {
                    continue;
                }
                // Whoever has the lock fetches it, or is about to link to it.
                let Some(_lock) = lock(self.hub, &blob)? else { continue };
                let Some(seen) = look(self.hub, &blob)?.filter(|seen| !seen.is_folder()) else { continue };
                let to = self.folder_for(place, &blob)?.join(blob.file_name().unwrap_or_default());
                if move_to(self.hub, &blob, &to)? {
                    self.aside[place].bytes += if seen.is_single { seen.bytes } else { 0 };
                    taken.insert(blob, place);
                }
            }
        }
        Ok(taken)
    }

    /// Where the blob lies that goes with this revision: in its folder, or in one of the blob's own
    /// repository, where that is another.
    fn folder_for(&mut self, place: usize, blob: &Utf8Path) -> io::Result<Utf8PathBuf> {
        let repository = Utf8Path::new(repository_of(blob));
        let own = &self.aside[place].now;
        let folder = if repository_of(own) == repository {
            own.clone()
        } else {
            let other = make_below(self.hub, &make_below(self.hub, repository, GOING)?, "blobs")?;
            self.others.insert(other.clone());
            other
        };
        make_below(self.hub, &folder, BLOBS)
    }

    /// Moves blobs back that something has come to need since they were found to be needed by
    /// nothing.
    fn move_back(
        &mut self,
        needed: &HashSet<Utf8PathBuf>,
        taken: &HashMap<Utf8PathBuf, usize>,
    ) -> io::Result<()> {
        let own = self.aside.iter().enumerate().map(|(place, aside)| (Some(place), aside.now.clone()));
        let all: Vec<_> = own.chain(self.others.iter().map(|folder| (None, folder.clone()))).collect();
        for (place, folder) in all {
            let from = folder.join(BLOBS);
            let Some(open) = self.hub.below(from.as_std_path())? else { continue };
            let blobs = Utf8Path::new(repository_of(&folder)).join("blobs");
            for name in open.names()?.iter().filter_map(|name| name.to_str()) {
                let (from, blob) = (from.join(name), blobs.join(name));
                let Some(seen) = open.look(OsStr::new(name))?.filter(|_| is_needed(needed, &blob)) else {
                    continue;
                };
                if move_to(self.hub, &from, &blob)?
                    && let Some(place) = taken.get(&blob).copied().or(place)
                    && seen.is_single
                {
                    let bytes = &mut self.aside[place].bytes;
                    *bytes = bytes.saturating_sub(seen.bytes);
                }
            }
        }
        Ok(())
    }
}

/// Why a revision that is aside goes back; `None` for one that a killed run had left there.
fn reason_to_return(aside: &Aside<'_>, needed: &HashSet<Utf8PathBuf>, refs: &Refs) -> Option<Stays> {
    let commit = aside.it.path.file_name().filter(|_| aside.now != aside.it.path)?;
    let reasons = [
        (needed.contains(&aside.it.path), Stays::Needed),
        (refs.of(commit).is_some(), Stays::Named),
        (refs.unread.is_some(), Stays::Unread),
    ];
    reasons.into_iter().find(|(is_so, _)| *is_so).map(|(_, reason)| reason)
}

/// Whether something needs the blob, or the whole folder that it is in.
fn is_needed(needed: &HashSet<Utf8PathBuf>, blob: &Utf8Path) -> bool {
    needed.contains(blob) || blob.parent().is_some_and(|folder| needed.contains(folder))
}

fn is_blob(path: &Utf8Path) -> bool {
    path.parent().and_then(Utf8Path::file_name) == Some("blobs")
}

/// The name of the repository that a path below the hub is in.
fn repository_of(path: &Utf8Path) -> &str {
    path.iter().next().unwrap_or_default()
}

/// Where a revision is to lie: a name that is free, in a folder that is there.
fn place_aside(hub: &Folder, repository: &Utf8Path, commit: &str) -> io::Result<Utf8PathBuf> {
    let folder = make_below(hub, repository, GOING)?;
    let mut to = folder.join(commit);
    // A run that was killed may have left blobs under that name.
    let mut number = 0_u32;
    while look(hub, &to)?.is_some() {
        number += 1;
        to = folder.join(format!("{commit}.{number}"));
    }
    Ok(to)
}

fn look(hub: &Folder, path: &Utf8Path) -> io::Result<Option<Seen>> {
    match folder_of(hub, path)? {
        Some((above, name)) => above.look(name),
        None => Ok(None),
    }
}

/// The folder that it is in, and its name there.
fn folder_of<'a>(hub: &Folder, path: &'a Utf8Path) -> io::Result<Option<(Folder, &'a OsStr)>> {
    let Some((above, name)) = path.parent().zip(path.file_name()) else { return Ok(None) };
    Ok(hub.below(above.as_std_path())?.map(|above| (above, OsStr::new(name))))
}

/// Makes the folder in that one, unless it is there. Returns its path.
fn make_below(hub: &Folder, above: &Utf8Path, name: &str) -> io::Result<Utf8PathBuf> {
    let path = above.join(name);
    if let Some(above) = hub.below(above.as_std_path())? {
        match mkdirat(above.fd(), name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match hub.below(path.as_std_path())? {
        Some(_) => Ok(path),
        None => Err(io::Error::other(format!("`{path}` is not a folder"))),
    }
}

/// Moves it to where nothing is. Returns whether that was done.
fn move_to(hub: &Folder, from: &Utf8Path, to: &Utf8Path) -> io::Result<bool> {
    let (Some((from, name)), Some((to, new))) = (folder_of(hub, from)?, folder_of(hub, to)?) else {
        return Ok(false);
    };
    if to.look(new)?.is_some() {
        return Ok(false);
    }
    match renameat(from.fd(), name, to.fd(), new) {
        Err(Errno::NOENT) => Ok(false),
        moved => Ok(moved.map(|()| true)?),
    }
}

/// The library's lock of a blob, where there is such a file: `.locks/REPOSITORY/BLOB.lock`.
struct Lock {
    _file: Option<std::os::fd::OwnedFd>,
}

/// `None` where another process has it.
fn lock(hub: &Folder, blob: &Utf8Path) -> io::Result<Option<Lock>> {
    let folder = hub.below(Utf8Path::new(".locks").join(repository_of(blob)).as_std_path())?;
    let name = format!("{}.lock", blob.file_name().unwrap_or_default());
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = folder.map(|folder| openat(folder.fd(), name, flags, Mode::empty()));
    let file = match opened {
        None | Some(Err(Errno::NOENT)) => return Ok(Some(Lock { _file: None })),
        Some(file) => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => Ok(locked.map(|()| Some(Lock { _file: Some(file) }))?),
    }
}
