//! Installs of many packages by real clients through a cache that has them: pkgcache beside other
//! caches, beside the client's own cache, and beside the upstream itself.
//!
//! The upstream is the bench's own and counts what it is asked for; no registry is asked. What is
//! timed is a client from its start to its end, and most of that is the client's own work: the
//! ratios say what a user sees, not how fast a server is.

mod apt;
mod case;
mod npm;
mod oci;
mod packages;
mod pip;
mod race;
mod traffic;
mod warm;

use std::io::Write;

use super::super::basics::{lost, say};
use super::ground::Ground;
use apt::Apt;
use case::Client;
use larder::process::runner::RunError;
use npm::Npm;
use oci::Skopeo;
use pip::Pip;

/// The clients, as `--only` names them.
pub(super) const CLIENTS: [&str; 4] = [Pip::NAME, Npm::NAME, Apt::NAME, Skopeo::NAME];

/// Measures one client, and prints its tables. Returns whether the limits were kept.
pub(super) fn bench(client: &str, ground: &Ground<'_>, out: &mut impl Write) -> Result<bool, RunError> {
    match client {
        Pip::NAME => installs::<Pip>(ground, out),
        Npm::NAME => installs::<Npm>(ground, out),
        Apt::NAME => installs::<Apt>(ground, out),
        _ => installs::<Skopeo>(ground, out),
    }
}

/// Measures `warm` by lock files of two clients, as [`bench`] does.
pub(super) fn warm(ground: &Ground<'_>, out: &mut impl Write) -> Result<bool, RunError> {
    let ground = &ground.below("locked").map_err(lost)?;
    let npm = with::<Npm, _>(ground, out, warm::bench)?;
    Ok(npm & with::<Pip, _>(ground, out, warm::bench)?)
}

fn installs<C: Client>(ground: &Ground<'_>, out: &mut impl Write) -> Result<bool, RunError> {
    with(ground, out, |client: &C, ground, out| {
        let race = race::run(client, ground)?;
        writeln!(out, "{race}").and_then(|()| out.flush()).map_err(lost)?;
        Ok(race.is_within())
    })
}

/// Makes a client's packages, and measures with them.
fn with<C: Client, W: Write>(
    ground: &Ground<'_>,
    out: &mut W,
    measure: impl FnOnce(&C, &Ground<'_>, &mut W) -> Result<bool, RunError>,
) -> Result<bool, RunError> {
    let ground = &ground.below(C::NAME).map_err(lost)?;
    say(&format!("making packages for {}, and starting the servers", C::NAME));
    match C::new(ground)? {
        Ok(client) => measure(&client, ground, out),
        // Nothing was measured, and nothing missed.
        Err(reason) => writeln!(out, "{}\n  not run: {reason}\n", C::JOB).map_err(lost).map(|()| true),
    }
}
