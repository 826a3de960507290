//! The cache of `huggingface_hub`: `models--ORG--NAME/{blobs,refs,snapshots}`.
//!
//! A revision is a folder of links to blobs: `snapshots/COMMIT/FILE`. A ref is a file that has a
//! commit in it: `refs/main`. What is not as that is counted and held: each place on the way of a
//! link stays as long as the link does, wherever that stands in the hub.
//!
//! - `links`: where a link leads. `refs`: what the branches and tags name.
//! - `remove`: removes revisions, and the blobs that nothing else needs.
//!
//! Source: the documentation of `huggingface_hub`, "Understand caching"; its `scan_cache_dir` and
//! `delete_revisions`.

mod links;
mod refs;
pub(super) mod remove;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::below::{Folder, Seen};
use super::remove::Stays;
use super::{Found, Item, sum_of};

/// Where a revision lies while it is removed, at the same depth as before, so that its links still
/// lead to its blobs. The library does not look there.
const GOING: &str = ".larder-going";

/// All that is in the hub at one moment.
#[derive(Debug, Default)]
struct Scan {
    /// On disk.
    bytes: u64,
    revisions: Vec<Revision>,
    /// The places of these, by path.
    places: HashMap<Utf8PathBuf, usize>,
    /// What stands in folders `blobs`, by path.
    blobs: HashMap<Utf8PathBuf, Seen>,
    /// What links need that are in no revision.
    held: BTreeSet<Utf8PathBuf>,
    /// Refs that cannot be read.
    unread: Vec<Utf8PathBuf>,
}

/// A revision and what it needs.
#[derive(Debug)]
struct Revision {
    /// Below the hub.
    path: Utf8PathBuf,
    /// When its folders, or the files in it that are no links, changed; of these also when they
    /// were read.
    changed: Timestamp,
    /// When it was used, as far as that can be known.
    used: Timestamp,
    refs: Vec<String>,
    /// The bytes of all in it, and of its refs.
    bytes: u64,
    /// Of these, those of files.
    data: u64,
    /// Blobs and other revisions that its links lead to, below the hub.
    needs: BTreeSet<Utf8PathBuf>,
    /// Why it stays whatever the limits are: a link elsewhere needs it, or it cannot be told which
    /// refs name it.
    hold: Option<Stays>,
}

/// All repositories below the hub, which is `at`.
pub(super) fn read(hub: &Folder, at: &Utf8Path) -> io::Result<Found> {
    let scan = Scan::of(hub, at, &|_| {})?;
    let item = |revision: &Revision| Item {
        path: revision.path.clone(),
        used: revision.used,
        refs: revision.refs.clone(),
        bytes: revision.bytes,
        // What a killed run left has gone already: it waits for nothing.
        data: if revision.is_going() { revision.bytes } else { revision.data },
        linked: 0,
        blobs: scan.blobs_of(revision),
        is_held: revision.hold.is_some(),
    };
    Ok(Found {
        bytes: scan.bytes,
        items: scan.revisions.iter().map(item).collect(),
        held: scan.held.iter().cloned().chain(scan.of_whole_folders()).collect(),
        unread: scan.unread,
    })
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

/// What a path below the hub is.
enum Spot<'a> {
    /// The folder of a repository.
    Repository(&'a str),
    /// A revision, or something in it: `models--x/snapshots/COMMIT`.
    Revision(Utf8PathBuf),
    /// What stands in a repository's folder of blobs.
    Blob(Utf8PathBuf),
    /// That folder.
    Blobs(Utf8PathBuf),
    Other,
}

impl<'a> Spot<'a> {
    fn of(path: &'a Path) -> Self {
        let mut parts = path.iter().map(|part| part.to_str());
        let Some(Some(repository)) = parts.next() else { return Self::Other };
        if !is_repository(repository) {
            return Self::Other;
        }
        let spot = |place: &str, name: &str| Utf8Path::new(repository).join(place).join(name);
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => Self::Repository(repository),
            (Some(Some("blobs")), None, _) => Self::Blobs(Utf8Path::new(repository).join("blobs")),
            (Some(Some("blobs")), Some(Some(name)), None) => Self::Blob(spot("blobs", name)),
            (Some(Some(place @ ("snapshots" | GOING))), Some(Some(name)), _) => {
                Self::Revision(spot(place, name))
            }
            _ => Self::Other,
        }
    }
}

/// A link that was found, and what it says.
struct Link {
    /// The place of the revision that it is in; `None` where it is in none.
    of: Option<usize>,
    path: PathBuf,
    target: PathBuf,
}

impl Scan {
    /// Reads all that is there, each thing once; `watch` is told of each revision.
    fn of(hub: &Folder, at: &Utf8Path, watch: &dyn Fn(Moment<'_>)) -> io::Result<Self> {
        let mut scan = Self::default();
        let mut sum = sum_of(hub)?;
        let (mut repositories, mut links) = (Vec::new(), Vec::new());
        hub.walk(Path::new(""), &mut |folder, path, seen| {
            sum.add(&seen);
            let mut of = None;
            match Spot::of(path) {
                Spot::Repository(name) if seen.is_folder() => repositories.push(name.to_owned()),
                Spot::Revision(revision) => of = scan.add(&revision, path, &seen, watch),
                Spot::Blob(blob) => {
                    scan.blobs.insert(blob, seen);
                    return Ok(());
                }
                _ => {}
            }
            if let Some(name) = path.file_name().filter(|_| seen.is_link())
                && let Some(target) = folder.link(name)?
            {
                links.push(Link { of, path: path.to_owned(), target });
            }
            Ok(())
        })?;
        scan.bytes = sum.bytes;
        scan.follow(at, links);
        scan.settle_refs(hub, &repositories)?;
        scan.hold();
        scan.settle_use();
        Ok(scan)
    }

    /// Adds what is a revision or in one. Returns the place of that.
    fn add(
        &mut self,
        revision: &Utf8Path,
        path: &Path,
        seen: &Seen,
        watch: &dyn Fn(Moment<'_>),
    ) -> Option<usize> {
        if revision.as_std_path() == path && seen.is_folder() {
            watch(Moment::Read(revision));
            self.places.insert(revision.to_owned(), self.revisions.len());
            self.revisions.push(Revision::new(revision.to_owned()));
        }
        let place = self.places.get(revision).copied()?;
        self.revisions[place].add(seen);
        Some(place)
    }

    fn follow(&mut self, at: &Utf8Path, links: Vec<Link>) {
        let is_file = |blob: &Utf8Path| self.blobs.get(blob).is_some_and(Seen::is_file);
        for Link { of, path, target } in links {
            let needs = links::needs(at, &path, &target, &is_file);
            match of.map(|place| &mut self.revisions[place]) {
                Some(revision) => {
                    let own = revision.path.clone();
                    revision.needs.extend(needs.into_iter().filter(|need| *need != own));
                }
                None => self.held.extend(needs),
            }
        }
    }

    fn settle_refs(&mut self, hub: &Folder, repositories: &[String]) -> io::Result<()> {
        let mut all = HashMap::new();
        for repository in repositories {
            let refs = refs::read(hub, Utf8Path::new(repository))?;
            self.unread.extend(refs.unread.clone());
            all.insert(repository.as_str(), refs);
        }
        for revision in &mut self.revisions {
            let Some((repository, commit)) = revision.named() else { continue };
            let Some(refs) = all.get(repository.as_str()) else { continue };
            let named = refs.of(commit);
            revision.hold = refs.unread.as_ref().map(|_| Stays::Unread);
            if let Some(named) = named {
                revision.bytes += named.bytes;
                revision.refs.clone_from(&named.names);
            }
        }
        Ok(())
    }

    /// Holds revisions that links elsewhere need.
    fn hold(&mut self) {
        let needs = self.revisions.iter().flat_map(|revision| &revision.needs).chain(&self.held);
        let held: Vec<_> = needs.filter_map(|need| self.places.get(need).copied()).collect();
        for place in held {
            self.revisions[place].hold.get_or_insert(Stays::Needed);
        }
    }

    /// When each revision was used. The use of a blob is one of the only revision that needs it. Of
    /// several, nobody knows which was used: then it is one of all that refs name, and where refs
    /// name none, of the one that was last used or changed by itself.
    fn settle_use(&mut self) {
        let mut users: HashMap<&Utf8Path, Vec<usize>> = HashMap::new();
        for (place, revision) in self.revisions.iter().enumerate().filter(|(_, it)| !it.is_going()) {
            for blob in revision.needs.iter().filter(|need| self.blobs.contains_key(*need)) {
                users.entry(blob).or_default().push(place);
            }
        }
        let used = |blob: &Utf8Path| self.blobs[blob].used.unwrap_or(Timestamp::MAX);
        let mut own: Vec<_> = self.revisions.iter().map(|revision| revision.changed).collect();
        for (blob, users) in &users {
            if let [only] = users[..] {
                own[only] = own[only].max(used(blob));
            }
        }
        let mut all = own.clone();
        for (blob, users) in &users {
            let named: Vec<_> =
                users.iter().copied().filter(|it| !self.revisions[*it].refs.is_empty()).collect();
            let last = users.iter().copied().max_by_key(|it| (own[*it], &self.revisions[*it].path));
            let meant = if named.is_empty() { last.into_iter().collect() } else { named };
            for it in meant {
                all[it] = all[it].max(used(blob));
            }
        }
        for (revision, used) in self.revisions.iter_mut().zip(all) {
            // What a run that was killed was about to remove is older than all else.
            revision.used = if revision.is_going() { Timestamp::UNIX_EPOCH } else { used };
        }
    }

    /// The blobs that it needs and that are there, with the bytes that each frees.
    fn blobs_of(&self, revision: &Revision) -> Vec<(Utf8PathBuf, u64)> {
        let seen = revision.needs.iter().filter_map(|need| Some((need, self.blobs.get(need)?)));
        seen.map(|(blob, seen)| (blob.clone(), if seen.is_single { seen.bytes } else { 0 })).collect()
    }

    /// The blobs of those folders that a link leads to as a whole: nobody knows which it needs.
    fn of_whole_folders(&self) -> Vec<Utf8PathBuf> {
        let needs = self.revisions.iter().flat_map(|revision| &revision.needs).chain(&self.held);
        let folders: HashSet<&Utf8Path> =
            needs.filter(|need| need.file_name() == Some("blobs")).map(Utf8PathBuf::as_path).collect();
        let is_in = |blob: &&Utf8PathBuf| blob.parent().is_some_and(|folder| folders.contains(folder));
        if folders.is_empty() { Vec::new() } else { self.blobs.keys().filter(is_in).cloned().collect() }
    }

    fn find(&self, path: &Utf8Path) -> Option<&Revision> {
        self.places.get(path).and_then(|place| self.revisions.get(*place))
    }

    /// What is needed by all but these revisions.
    fn needed_beside(&self, but: &HashSet<Utf8PathBuf>) -> HashSet<Utf8PathBuf> {
        let others = self.revisions.iter().filter(|revision| !but.contains(&revision.path));
        others.flat_map(|revision| &revision.needs).chain(&self.held).cloned().collect()
    }
}

impl Revision {
    fn new(path: Utf8PathBuf) -> Self {
        let (changed, used) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let (refs, needs) = (Vec::new(), BTreeSet::new());
        Self { path, changed, used, refs, bytes: 0, data: 0, needs, hold: None }
    }

    fn add(&mut self, seen: &Seen) {
        self.bytes += if seen.is_single || seen.is_folder() { seen.bytes } else { 0 };
        self.data += if seen.is_single && seen.is_file() { seen.bytes } else { 0 };
        // To follow a link is an access to it, and so is each look at where it leads.
        if !seen.is_link() {
            self.changed = self.changed.max(seen.used.unwrap_or(Timestamp::MAX));
        }
    }

    /// Whether a run that was killed left it aside.
    fn is_going(&self) -> bool {
        self.path.parent().and_then(Utf8Path::file_name) == Some(GOING)
    }

    /// Its repository and commit; `None` for one that refs do not mean any more.
    fn named(&self) -> Option<(Utf8PathBuf, &str)> {
        let repository = self.path.parent().and_then(Utf8Path::parent)?;
        Some((repository.to_owned(), self.path.file_name()?)).filter(|_| !self.is_going())
    }
}

/// A moment at which others may do as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<'a> {
    /// A revision is being read.
    Read(&'a Utf8Path),
    /// A revision that goes is about to be looked at again.
    Before(&'a Utf8Path),
    /// The revisions that go are aside, their blobs are there.
    Aside,
    /// Their blobs are aside, too.
    BlobsAside,
}
