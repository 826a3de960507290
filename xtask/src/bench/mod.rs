//! Measures a tool side by side with its peers, in one run on one input, round by round.
//!
//! Prints each contender's median time, its spread, and what share of it the tool takes. Absolute
//! times never carry to another machine; the shares mostly do.

mod bake;
mod basics;
mod figures;
mod gcctl;
mod hashctx;
mod imgtar;
mod inputs;
mod pkgcache;
mod race;
mod table;
mod tiers;

use std::io::{self, Write};

use camino::Utf8PathBuf;
use toolkit::Outcome;

use basics::lost;
use larder::process::runner::{RunError, Runner};
use larder::process::tools::Tools;
pub use pkgcache::PARTS;
use race::show;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bench {
    /// Bringing a project's images up to date.
    Bake,
    /// Listing and planning over large stores.
    Gcctl,
    /// Hashing a tree.
    Hashctx,
    /// Moving an image of 1 GB between archives, the store and Docker.
    Imgtar,
    /// Serving what is stored and what is not.
    Pkgcache,
    /// A history of commits with tiers.
    Tiers,
}

/// How much to measure on, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Files in the tree.
    pub files: u32,
    /// Their mean size.
    pub bytes: usize,
    /// Mebibytes in the large file.
    pub large: u64,
    /// Rounds of the shortest race; longer ones have fewer.
    pub rounds: usize,
    /// Commits of the history.
    pub commits: usize,
    /// Packages in the largest store.
    pub packages: u32,
}

/// Which parts of pkgcache's bench to run, and with which peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Names of [`PARTS`]; all of them where this is empty.
    pub only: Vec<String>,
    /// The folder with the programs of other caches that are not on PATH.
    pub peers: Utf8PathBuf,
}

impl Scope {
    fn has(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }
}

/// Measures, and prints a table for each comparison. `No` where a limit was missed.
///
/// # Errors
/// Where the input cannot be made, or the tool itself fails. A peer that is not there, or fails, is
/// said to.
pub fn bench(
    what: Bench,
    size: &Size,
    scope: &Scope,
    tools: &Tools,
    runner: &Runner,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    let temp = tempfile::Builder::new().prefix("bench-").tempdir().map_err(lost)?;
    let folder = Utf8PathBuf::from_path_buf(temp.path().to_owned());
    let folder = folder.map_err(|_| lost(io::Error::other("a path that is not UTF-8")))?;
    match what {
        Bench::Bake => {
            let shown =
                bake::races(tools, runner, &folder).and_then(|races| show(&races, &folder, runner, out));
            bake::clean(runner);
            shown
        }
        Bench::Hashctx => show(&hashctx::races(tools, runner, &folder, size)?, &folder, runner, out),
        Bench::Imgtar => imgtar::bench(tools, runner, &folder, out),
        Bench::Gcctl => gcctl::bench(size.packages, tools, runner, &folder, out),
        // Rates, not times.
        Bench::Pkgcache => pkgcache::bench(scope, tools, runner, &folder, out),
        Bench::Tiers => tiers::bench(size.commits, tools, runner, &folder, out),
    }
}
