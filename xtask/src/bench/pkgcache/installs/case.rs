//! What is measured of a package client, and the ways on which its packages come to it.

use std::io;

use camino::Utf8Path;
use larder::process::command::{Cmd, quoted};
use larder::process::runner::RunError;
use larder_tests::http::Site;

use super::super::super::basics::sh;
use super::super::ground::{Ground, reason};
use super::super::servers::Server;

/// A package client, with an upstream of packages for it.
pub(super) trait Client: Sized {
    /// As `--only` names it.
    const NAME: &str;
    /// What it does, for the title; the first word is its program.
    const JOB: &str;
    /// Timed installs on each way.
    const ROUNDS: usize;
    /// What an install leaves in its folder beside the client's own cache: words for a shell.
    const INSTALLED: &str;
    /// The most that an install through pkgcache may take, as a share of one by a client that has
    /// all files in its own cache. Some clients then ask for nothing, and move nothing.
    const OWN_CACHE: f64;

    /// Makes the packages. Where this machine lacks the client, the reason not to measure.
    ///
    /// # Errors
    /// Packages that cannot be made.
    fn new(ground: &Ground<'_>) -> Result<Result<Self, String>, RunError>;

    /// The upstream.
    fn site(&self) -> &Site;

    /// The tables below `[pkgcache]` in pkgcache's settings.
    fn settings(&self) -> String;

    /// Where the packages are at a pkgcache with these settings.
    fn at_pkgcache(&self, url: &str) -> String;

    /// Where they are without any cache.
    fn directly(&self) -> String;

    /// The other caches, each started or with the reason that it was not.
    ///
    /// # Errors
    /// A signal that ends the bench.
    fn peers(&self, ground: &Ground<'_>) -> Result<Vec<Peer>, RunError>;

    /// Makes a folder ready for a client that gets its packages from this place. What the folder
    /// has already stays.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn prepare(&self, folder: &Utf8Path, place: &str) -> io::Result<()>;

    /// The line for a shell, in that folder, that installs all packages. Its environment has
    /// nothing but `PATH`, and a `HOME` in the folder.
    fn line(&self, place: &str) -> String;

    /// What is asked for, of a pkgcache that has nothing, to see how long the first byte takes.
    fn cold(&self) -> Cold;
}

/// Another cache.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Where it has the packages; or why it does not run.
    pub(super) started: Result<(Server, String), String>,
}

/// Files that are fetched once each.
pub(super) struct Cold {
    /// The paths of the indexes at pkgcache, which are asked for first.
    pub(super) indexes: Vec<String>,
    /// The path of each file at pkgcache, and at the upstream.
    pub(super) files: Vec<(String, String)>,
}

impl Peer {
    /// One that was started, or not. `place` says where it has the packages.
    ///
    /// # Errors
    /// A signal that ends the bench.
    pub(super) fn new(
        name: &'static str,
        started: Result<Result<Server, String>, RunError>,
        place: impl Fn(&Server) -> String,
    ) -> Result<Self, RunError> {
        let started = match started {
            Err(error) => Err(reason(error)?),
            Ok(started) => started.map(|server| {
                let place = place(&server);
                (server, place)
            }),
        };
        Ok(Self { name, started })
    }
}

/// Runs a client's line in its folder, with an environment of nothing but `PATH` and a `HOME`
/// there. What it says is in `log`.
pub(super) fn alone(folder: &Utf8Path, line: &str) -> Cmd {
    let home = folder.join("home");
    sh(format!(
        "cd {} && exec env -i PATH=\"$PATH\" HOME={} {line} >log 2>&1",
        quoted(folder.as_str()),
        quoted(home.as_str()),
    ))
}
