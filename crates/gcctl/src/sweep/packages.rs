//! The steps that take packages away: entries first, in the order of their files, then the bodies
//! that no entry names by then.
//!
//! All of it is deleted at once: it can be fetched again. A server may serve and store meanwhile:
//! it writes no entry while a step holds the lock, an entry that it used or wrote since the plan
//! stays, and so does a body that it holds or that an entry names now.

use std::collections::HashSet;
use std::{fs, io};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use storekit::error::At;
use storekit::files::lock::Exclusive;
use storekit::{Digest, Discarded, PackageKey};

use super::{Kept, Reason, Sweep, What};
use crate::disk;
use crate::error::Result;
use crate::packages::bodies;
use crate::packages::choose::Eviction;
use crate::plan::Plan;
use crate::survey::entry_at;

/// The bodies that the plan lets go, where no entry needs them.
pub(super) fn doomed(plan: &Plan) -> HashSet<Digest> {
    let of_entries = plan.packages.iter().flat_map(|package| &package.bodies);
    of_entries.copied().chain(plan.bodies.iter().map(|body| body.digest)).collect()
}

impl Sweep<'_> {
    pub(super) fn take_packages(&mut self) -> Result<()> {
        let plan = self.plan;
        if plan.packages.is_empty() && plan.bodies.is_empty() {
            return Ok(());
        }
        let packages = self.store.packages();
        let mut entries: Vec<(Utf8PathBuf, usize)> = Vec::with_capacity(plan.packages.len());
        for (place, package) in plan.packages.iter().enumerate() {
            entries.push((packages.path(&readable(&package.key)), place));
        }
        // One folder after the other: what is removed together lies together.
        entries.sort_unstable();
        self.in_steps(entries.into_iter(), |it, lock, (path, place)| it.take_package(lock, &path, place))?;
        let idle: HashSet<Digest> = plan.bodies.iter().map(|body| body.digest).collect();
        let mut doomed: Vec<_> = doomed(plan).into_iter().collect();
        doomed.sort_unstable();
        self.needed.read_ahead();
        self.in_steps(doomed.into_iter(), |it, lock, digest| {
            it.take_body(lock, &digest, idle.contains(&digest))
        })
    }

    fn take_package(&mut self, lock: &Exclusive, path: &Utf8PathBuf, place: usize) -> Result<()> {
        let package = &self.plan.packages[place];
        if let Some(reason) = reason_to_keep(path, package)? {
            let name = package.key.url.clone();
            self.swept.kept.push(Kept { what: What::Package, name, reason });
            return Ok(());
        }
        let bytes = disk::bytes(path)?.unwrap_or(0);
        if self.store.packages().discard(lock, path, &self.store.trash().shredder())? {
            self.swept.packages.push(place);
            self.swept.package_bytes += bytes;
        }
        Ok(())
    }

    /// `listed`: the plan names the body by itself, not with an entry.
    fn take_body(&mut self, lock: &Exclusive, digest: &Digest, listed: bool) -> Result<()> {
        let keep = |it: &mut Self, reason| {
            it.swept.kept.push(Kept { what: What::Body, name: digest.to_string(), reason });
        };
        if self.needed.is_needed(lock, digest)? {
            if listed {
                keep(self, Reason::Needed);
            }
            return Ok(());
        }
        let packages = self.store.packages();
        let Some(bytes) = disk::bytes(&packages.blobs().path(digest))? else { return Ok(()) };
        match packages.discard_body(lock, digest, &self.store.trash().shredder())? {
            Discarded::Moved => {
                self.swept.bodies += 1;
                self.swept.package_bytes += bytes;
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

fn reason_to_keep(path: &Utf8PathBuf, package: &Eviction) -> Result<Option<Reason>> {
    let Some(entry) = entry_at(path)? else { return Ok(Some(Reason::Gone)) };
    if !entry.key.is(&package.key) || bodies(&entry) != package.bodies {
        return Ok(Some(Reason::SavedAnew));
    }
    let used = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        // A server forgets an entry without asking anybody.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Reason::Gone)),
        used => used.at("read", path)?,
    };
    // A time in the future counts as now.
    let used = Timestamp::try_from(used).unwrap_or(Timestamp::MAX).min(Timestamp::now());
    Ok((used > package.used).then_some(Reason::Used))
}
