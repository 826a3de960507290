//! What tiers save a CI: a history of commits, each built on a machine that has nothing yet, by
//! larder with the tiers of a registry, and by a script of `docker build --cache-from` and `docker
//! push`.
//!
//! Each of the two has a docker and a registry of its own, and the way between them is counted.
//! The base of all is in that registry, too. Nothing of the machine's own docker is touched.

mod history;
mod link;
mod pipeline;

use std::io::{self, Write};

use camino::Utf8Path;
use larder::process::runner::{RunError, Runner};
use larder::process::tools::Tools;
use larder_tests::parts::base;
use toolkit::Outcome;

use super::basics::{Bytes, lost, say, sh};
use history::{IMAGES, history};
use pipeline::{Kind, Pipeline, Took};

/// What this needs.
const NEEDED: &str = "it needs root, dockerd, docker, docker-registry, python3, unshare and nsenter, and \
                      LARDER_TEST_BASE, a tar of a root file system";

/// Plays the history, and prints what both took. There is no limit: what a history saves depends on
/// the history.
///
/// # Errors
/// A part that is missing; a build that fails.
pub(super) fn bench(
    commits: usize,
    tools: &Tools,
    runner: &Runner,
    folder: &Utf8Path,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    let programs = "dockerd docker docker-registry python3 unshare nsenter";
    let parts = sh(format!("[ $(id -u) = 0 ] && for part in {programs}; do command -v $part || exit; done"));
    let root = match base() {
        Some(root) if runner.ask(&parts)?.0.success() => root,
        _ => return Err(lost(io::Error::other(NEEDED))),
    };
    let larder = tools.folder(runner.folder()).unwrap_or_default().join("larder");
    let start = |kind, name: &str| Pipeline::start(kind, &folder.join(name), &root, &larder, runner);
    let ways = [
        ("larder bake, tiers", start(Kind::Larder, "larder")?),
        ("docker build --cache-from", start(Kind::Docker, "script")?),
    ];
    let mut totals = [Took::default(); 2];
    for (at, commit) in history(commits).enumerate() {
        for ((name, pipeline), total) in ways.iter().zip(&mut totals) {
            let took = pipeline.build(at, commit)?;
            say(&format!(
                "commit {} ({}): {name}: {} of {} hits, {}, {:.1} s",
                at + 1,
                commit.profile,
                took.hits,
                IMAGES.len(),
                Bytes(took.bytes),
                took.time.as_secs_f64()
            ));
            *total = total.and(took);
        }
    }
    writeln!(out, "{commits} commits of {} images, each on a machine with nothing", IMAGES.len())
        .map_err(lost)?;
    for ((name, _), total) in ways.iter().zip(&totals) {
        writeln!(out, "  {name:25}  {}", row(total, commits * IMAGES.len())).map_err(lost)?;
    }
    let [ours, theirs] = totals;
    let time = ours.time.as_secs_f64() / theirs.time.as_secs_f64();
    let bytes = 100 * ours.bytes / theirs.bytes.max(1);
    writeln!(out, "  larder moves {bytes} % of the bytes, and takes {time:.2} of the time").map_err(lost)?;
    Ok(Outcome::Yes)
}

/// Hits as a share of the images, bytes and time.
fn row(total: &Took, images: usize) -> String {
    let rate = 100 * total.hits / images.max(1);
    format!("{rate:3} % hits  {:>8}  {:6.0} s", Bytes(total.bytes).to_string(), total.time.as_secs_f64())
}

impl Took {
    fn and(self, more: Self) -> Self {
        Self { time: self.time + more.time, bytes: self.bytes + more.bytes, hits: self.hits + more.hits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn hits_are_a_share_of_all_images() {
        let one = Took { time: Duration::from_secs(2), bytes: 12_000_000, hits: 2 };
        assert_eq!(row(&one.and(one), 6), " 66 % hits     24 MB       4 s");
        assert_eq!(row(&Took::default(), 0), "  0 % hits      0 kB       0 s");
    }
}
