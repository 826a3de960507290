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
        Pip::NAME => measured::<Pip>(ground, out),
        Npm::NAME => measured::<Npm>(ground, out),
        Apt::NAME => measured::<Apt>(ground, out),
        _ => measured::<Skopeo>(ground, out),
    }
}

fn measured<C: Client>(ground: &Ground<'_>, out: &mut impl Write) -> Result<bool, RunError> {
    let ground = &ground.below(C::NAME).map_err(lost)?;
    say(&format!("making packages for {}, and starting the servers", C::NAME));
    let mut write = |text: String| writeln!(out, "{text}").and_then(|()| out.flush()).map_err(lost);
    match C::new(ground)? {
        Ok(client) => {
            let race = race::run(&client, ground)?;
            write(race.to_string())?;
            Ok(race.is_within())
        }
        // Nothing was measured, and nothing missed.
        Err(reason) => write(format!("{}\n  not run: {reason}\n", C::JOB)).map(|()| true),
    }
}
