//! What a lock file names, fetched ahead: by `pkgcache warm`, and by the client itself.
//!
//! The upstream is the bench's own. Once it answers at once, and once as late as one some countries
//! away.

use std::io::{self, Write};
use std::time::Duration;

use camino::Utf8Path;
use larder::process::command::{Cmd, quoted};
use larder::process::runner::RunError;
use larder_tests::http::Fault;

use super::super::super::basics::{lost, sh};
use super::super::super::race::{Contender, Race, shown};
use super::super::ground::Ground;
use super::super::servers::settings;
use super::case::{Client, alone};
use super::packages::COUNT;

/// Rounds of each race.
const ROUNDS: usize = 3;
/// What an answer of an upstream far away takes.
const FAR: Duration = Duration::from_millis(30);
/// The most that `warm` may take, as a share of the client's own time.
const SHARE: f64 = 1.0;

/// A client with a lock file that `pkgcache warm` reads.
pub(super) trait Locked: Client {
    /// The lock file's name.
    const FILE: &str;
    /// What the client does to have all that the file names.
    const FETCH: &str;

    /// The line for a shell that writes the lock file, in a folder that was prepared.
    fn lock(&self) -> String;

    /// The line that fetches what the file names.
    fn fetch(&self) -> String;
}

/// Measures one client, and prints its tables. Returns whether the limits were kept.
///
/// # Errors
/// A lock file that cannot be made; a `warm` that fails.
pub(super) fn bench<C: Locked>(
    client: &C,
    ground: &Ground<'_>,
    out: &mut impl Write,
) -> Result<bool, RunError> {
    let ground = &ground.below("warm").map_err(lost)?;
    lock(client, ground)?;
    let near = shown(&race(client, ground, "that answers at once")?, &ground.folder, ground.runner, out)?;
    client.site().fail("/", Fault::Delay(FAR));
    let far = shown(&race(client, ground, "30 ms away")?, &ground.folder, ground.runner, out);
    client.site().heal();
    Ok(near & far?)
}

fn lock<C: Locked>(client: &C, ground: &Ground<'_>) -> Result<(), RunError> {
    std::fs::create_dir_all(ground.folder.join("home")).map_err(lost)?;
    client.prepare(&ground.folder, &client.directly()).map_err(lost)?;
    let (status, _) = ground.runner.ask(&alone(&ground.folder, &client.lock()))?;
    if status.success() && ground.folder.join(C::FILE).is_file() {
        return Ok(());
    }
    Err(lost(io::Error::other(format!("{} wrote no {}", C::NAME, C::FILE))))
}

fn race<C: Locked>(client: &C, ground: &Ground<'_>, upstream: &str) -> Result<Race, RunError> {
    let folder = &ground.folder;
    let file = settings(ground, "warm", &client.settings(), &client.site().authority())?;
    let store = folder.join("store");
    let warm = ground.tools.pkgcache("warm").args(["--quiet", "-j16", "--store"]).path(&store);
    let warm = warm.path(&folder.join(C::FILE)).env("LARDER_TOML", file.as_str());
    let tool = Contender::new("pkgcache warm -j16", warm).before(without(&store));
    let cache = without(&folder.join("cache"));
    let peer = Contender::new(C::FETCH, alone(folder, &client.fetch())).before(cache).limit(SHARE);
    Ok(Race {
        title: format!("{COUNT} packages of a lock file, nothing stored, from an upstream {upstream}"),
        rounds: ROUNDS,
        memory: None,
        contenders: vec![tool, peer],
    })
}

fn without(folder: &Utf8Path) -> Cmd {
    sh(format!("rm -rf {}", quoted(folder.as_str())))
}
