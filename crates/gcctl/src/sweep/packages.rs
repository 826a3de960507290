//! The steps that take packages away: entries first, as they lie on the disk, then the bodies
//! that no entry names by then.
//!
//! All of it is deleted at once: it can be fetched again. A server may serve and store meanwhile:
//! it writes no entry while a step holds the lock, an entry that it used or wrote since the plan
//! stays, and so does a body that it holds or that an entry names now.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::digest::DigestMap;
use storekit::error::At;
use storekit::files::lock::Exclusive;
use storekit::{Digest, Discarded, PackageKey};

use super::{Kept, Reason, Sweep, Went, What};
use crate::disk;
use crate::error::Result;
use crate::packages::View;
use crate::plan::{Plan, Unneeded};
use crate::survey::entry_with_metadata;

/// The bodies that the plan lets go, where no entry needs them.
pub(super) fn doomed(plan: &Plan) -> HashSet<Digest> {
    let of_entries = plan.packages.iter().flat_map(|it| it.package.bodies()).map(|body| body.digest);
    of_entries.chain(plan.bodies.iter().map(|body| body.digest)).collect()
}

impl Sweep<'_> {
    pub(super) fn take_packages(&mut self) -> Result<()> {
        let plan = self.plan;
        if plan.packages.is_empty() && plan.bodies.is_empty() {
            return Ok(());
        }
        let packages = self.store.packages();
        let folder = packages.entries();
        let entries = plan.packages.iter().enumerate();
        let entries = entries.map(|(place, it)| (readable(&it.package.key()).path(), place)).collect();
        let entries = as_they_lie(entries, |(path, _)| folder.join(path));
        self.in_steps(entries, |it, lock, (path, place)| it.take_package(lock, &folder.join(path), place))?;
        self.swept.packages.sort_unstable_by_key(|it| it.place);
        let idle: HashSet<Digest> = plan.bodies.iter().map(|body| body.digest).collect();
        let blobs = packages.blobs();
        let doomed = as_they_lie(self.bodies_that_go(), |(digest, _)| blobs.path(digest));
        self.needed.read_ahead();
        self.in_steps(doomed, |it, lock, (digest, with)| {
            it.take_body(lock, digest, with, idle.contains(&digest))
        })
    }

    /// Each body that may go, with the last in the plan's order of the entries that went and name
    /// it, by its place among those.
    fn bodies_that_go(&self) -> Vec<(Digest, Option<u32>)> {
        let mut with: DigestMap<_> = doomed(self.plan).into_iter().map(|digest| (digest, None)).collect();
        for (went, number) in self.swept.packages.iter().zip(0..) {
            let package = self.plan.packages.get(went.place);
            let bodies = package.into_iter().flat_map(|it| it.package.bodies());
            with.extend(bodies.map(|body| (body.digest, Some(number))));
        }
        with.into_iter().collect()
    }

    fn take_package(&mut self, lock: &Exclusive, path: &Utf8Path, place: usize) -> Result<()> {
        let Some(package) = self.plan.packages.get(place).map(|it| it.package) else { return Ok(()) };
        let again = look_again(path, package)?;
        let again =
            again.and_then(|bytes| if self.holds.package(package) { Err(Reason::Pinned) } else { Ok(bytes) });
        let bytes = match again {
            Ok(bytes) => bytes,
            Err(reason) => {
                let name = package.url().to_owned();
                self.swept.kept.push(Kept { what: What::Package, name, reason });
                return Ok(());
            }
        };
        if self.store.packages().discard(lock, path, &self.store.trash().shredder())? {
            self.swept.packages.push(Went { place, bytes });
            self.swept.package_bytes += bytes;
        }
        Ok(())
    }

    /// `with`: an entry that went, by its place among those. `listed`: the plan names the body by
    /// itself, not with an entry.
    fn take_body(&mut self, lock: &Exclusive, digest: Digest, with: Option<u32>, listed: bool) -> Result<()> {
        let keep = |it: &mut Self, reason| {
            it.swept.kept.push(Kept { what: What::Body, name: digest.to_string(), reason });
        };
        if self.needed.is_needed(lock, &digest)? {
            if listed {
                keep(self, Reason::Needed);
            }
            return Ok(());
        }
        let packages = self.store.packages();
        let Some(bytes) = disk::bytes(&packages.blobs().path(&digest))? else { return Ok(()) };
        let done = packages.discard_body(lock, &digest, &self.store.trash().shredder());
        if matches!(&done, Err(error) if error.is_unreadable()) {
            keep(self, Reason::Unreadable);
            return Ok(());
        }
        match done? {
            Discarded::Moved => {
                self.swept.bodies += 1;
                self.swept.package_bytes += bytes;
                match with.and_then(|number| self.swept.packages.get_mut(number as usize)) {
                    Some(went) => went.bytes += bytes,
                    None => self.swept.idle_bodies.push(Unneeded { digest, bytes }),
                }
            }
            Discarded::InUse => keep(self, Reason::InUse),
            Discarded::Gone => {}
        }
        Ok(())
    }
}

/// The key as it names folders: a plan may say anything.
fn readable(key: &PackageKey) -> PackageKey {
    PackageKey::new(&key.ecosystem, &key.source, key.url.as_str(), key.scope)
}

/// Files in the order in which the file system keeps them: what is removed together lies together.
fn as_they_lie<T: Ord>(files: Vec<T>, path: impl Fn(&T) -> Utf8PathBuf) -> impl Iterator<Item = T> {
    let inode = |file: &T| fs::symlink_metadata(path(file)).map_or(0, |metadata| metadata.ino());
    let mut files: Vec<_> = files.into_iter().map(|file| (inode(&file), file)).collect();
    files.sort_unstable();
    files.into_iter().map(|(_, file)| file)
}

/// The bytes on disk of the entry's file, or why it stays.
fn look_again(path: &Utf8Path, package: View<'_>) -> Result<std::result::Result<u64, Reason>> {
    // A server forgets an entry without asking anybody.
    let Some((entry, metadata)) = entry_with_metadata(path)? else { return Ok(Err(Reason::Gone)) };
    if !entry.key.is(&package.key()) || entry.bodies() != package.digests() {
        return Ok(Err(Reason::SavedAnew));
    }
    let used = metadata.modified().at("read", path)?;
    let used = Timestamp::try_from(used).unwrap_or(Timestamp::MAX);
    // No use of now has a time in the future.
    Ok(if used > package.used() && used <= Timestamp::now() {
        Err(Reason::Used)
    } else {
        Ok(disk::bytes_with(&metadata))
    })
}
