//! What lock files name, brought into the cache, or looked for there.
//!
//! Each package is asked for as its own client would: its index, what lies beside a file, and the
//! file, by the paths of the mounts. So what is here afterwards is what the client asks for with
//! the upstream gone. Every file is read to its end and compared with the lock's checksum. To look
//! alone is the same, of a cache that asks no upstream.
//!
//! Deliberately absent: reading files, a terminal (`cli::warm`); what files say (`locked`).

mod apt;
mod cargo;
mod client;
mod fits;
mod go;
mod npm;
mod oci;
mod python;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use self::apt::Suite;
use self::client::{Client, Got};
pub use self::fits::{Machine, NotAPython, Python};
use crate::clients::address;
use crate::clients::pointers::{Here, Mount};
use crate::ecosystem::Ecosystem;
use crate::locked::Locked;

/// What is to be brought, and for which machine.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What lock files name.
    pub packages: Vec<Locked>,
    /// The machine that is to install them.
    pub machine: Machine,
    /// The suites of apt's repositories, by their addresses.
    pub suites: Vec<Suite>,
    /// How many packages are asked for at a time.
    pub jobs: usize,
}

/// What became of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The package: `name 1.2.3`.
    pub label: String,
    /// The kind of client.
    pub ecosystem: Ecosystem,
    /// How many of its files are here.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes of these an upstream sent now.
    pub fetched: u64,
    /// Why something of it is not here; the first reason.
    pub problem: Option<String>,
}

impl Outcome {
    /// One more file is here.
    fn add(&mut self, got: &Got) {
        self.files += 1;
        self.bytes += got.bytes;
        self.fetched += if got.is_hit { 0 } else { got.bytes };
    }
}

/// What is told while it goes on.
pub trait Progress: Send + Sync {
    /// So many packages there are in all.
    fn expect(&self, packages: usize);
    /// So many bytes came.
    fn add(&self, bytes: u64);
    /// One more package is through.
    fn done(&self);
}

/// Why a package, or a part of it, is not here.
pub(crate) type Failure = String;

/// What all requests have in common.
struct Bringer {
    client: Client,
    here: Here,
    machine: Machine,
}

/// A package, and what of it came so far.
struct Load {
    locked: Locked,
    outcome: Outcome,
}

impl Load {
    fn new(locked: Locked) -> Self {
        let outcome = Outcome { label: locked.label(), ecosystem: locked.ecosystem, ..Outcome::default() };
        Self { locked, outcome }
    }
}

/// Asks the cache at `here` for all that is wanted. Outcomes come in the order of the packages,
/// those that are not for the machine are left out.
pub async fn bring(here: &Here, wanted: Wanted, progress: Arc<dyn Progress>) -> Vec<Outcome> {
    let client = Client::new(here.authority(), Arc::clone(&progress));
    let bringer = Arc::new(Bringer { client, here: here.clone(), machine: wanted.machine });
    let mut packages = wanted.packages;
    packages.retain(|it| bringer.machine.takes(&it.machines));
    let (debs, others): (Vec<_>, Vec<_>) =
        packages.into_iter().partition(|it| it.ecosystem == Ecosystem::Apt);
    let mut outcomes = Vec::new();
    let mut tasks: Vec<Task> = others.into_iter().map(Task::Package).collect();
    if !debs.is_empty() {
        let resolved = apt::resolve(&bringer, &debs, &wanted.suites).await;
        outcomes.extend(resolved.outcomes);
        tasks.extend(resolved.files.into_iter().map(Task::Deb));
    }
    progress.expect(tasks.len());
    outcomes.extend(in_parallel(&bringer, tasks, wanted.jobs, &progress).await);
    outcomes
}

/// Something to be asked for by itself.
enum Task {
    Package(Locked),
    Deb(apt::Deb),
}

async fn in_parallel(
    bringer: &Arc<Bringer>,
    tasks: Vec<Task>,
    jobs: usize,
    progress: &Arc<dyn Progress>,
) -> Vec<Outcome> {
    let free = Arc::new(Semaphore::new(jobs.max(1)));
    let mut running = JoinSet::new();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; tasks.len()];
    for (place, task) in tasks.into_iter().enumerate() {
        // It is closed by nobody.
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { break };
        let (bringer, progress) = (Arc::clone(bringer), Arc::clone(progress));
        running.spawn(async move {
            let outcome = bringer.one(task).await;
            progress.done();
            drop(permit);
            (place, outcome)
        });
        while let Some(done) = running.try_join_next() {
            keep(done, &mut outcomes);
        }
    }
    while let Some(done) = running.join_next().await {
        keep(done, &mut outcomes);
    }
    outcomes.into_iter().flatten().collect()
}

fn keep(done: Result<(usize, Outcome), tokio::task::JoinError>, outcomes: &mut [Option<Outcome>]) {
    if let Ok((place, outcome)) = done
        && let Some(slot) = outcomes.get_mut(place)
    {
        *slot = Some(outcome);
    }
}

impl Bringer {
    async fn one(&self, task: Task) -> Outcome {
        let locked = match task {
            Task::Package(locked) => locked,
            Task::Deb(deb) => return self.deb(deb).await,
        };
        let mut load = Load::new(locked);
        let result = match load.locked.ecosystem {
            Ecosystem::Cargo => self.cargo(&mut load).await,
            Ecosystem::Npm => self.npm(&mut load).await,
            Ecosystem::Python => self.python(&mut load).await,
            Ecosystem::Oci => self.image(&mut load).await,
            Ecosystem::Go => self.module(&mut load).await,
            other => Err(format!("nothing is known of how {} asks for it", other.name())),
        };
        load.outcome.problem = result.err();
        load.outcome
    }

    /// The mount that a package of this kind comes from: that of the index which the lock file
    /// names, else the one that clients ask by themselves.
    fn mount(&self, kind: Ecosystem, index: Option<&str>) -> Result<&Mount, Failure> {
        let of_kind = || self.here.mounts.iter().filter(|it| it.ecosystem == kind);
        let named = index.and_then(|url| of_kind().find(|it| address::is_same(&it.url, url)));
        let only = || of_kind().next().filter(|_| of_kind().count() == 1);
        named.or_else(|| self.here.default_of(kind)).or_else(only).ok_or_else(|| {
            format!(
                "no index for {} is mounted: add `NAME = {{ url = \"URL\", kind = \"{}\" }}` to [pkgcache.upstream]",
                kind.name(),
                kind.name()
            )
        })
    }

    /// A file of a package, which has to have this checksum.
    async fn file(
        &self,
        outcome: &mut Outcome,
        target: &str,
        accept: &str,
        checksum: Option<storekit::Checksum>,
    ) -> Result<(), Failure> {
        let got = self.client.file(target, accept, checksum).await?;
        outcome.add(&got);
        Ok(())
    }
}

/// A path below a mount.
fn below(mount: &Mount, path: &str) -> String {
    if mount.name.is_empty() { path.to_owned() } else { format!("/{}{path}", mount.name) }
}
