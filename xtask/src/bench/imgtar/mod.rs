//! imgtar against what else moves images: `docker load` and `save`, zstd, skopeo.
//!
//! One image of 1 GB, on a real dockerd where one answers. All input is in the page cache. What is
//! written goes to a disk on both sides; imgtar waits for it, of its peers only zstd in the race of
//! imports.

mod archives;
mod content;
mod cost;
mod docker;
mod image;

use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Outcome;

use super::basics::lost;
use super::race::{Contender, Race, machine, shown};
use archives::Imports;
use docker::Docker;
use image::Archives;
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner, succeeded};
use larder::process::tools::Tools;

/// Rounds of each race; each round takes seconds.
const ROUNDS: usize = 2;

/// Where everything is, and who does it.
struct Place<'a> {
    tools: &'a Tools,
    runner: &'a Runner,
    folder: &'a Utf8Path,
    /// What the images are called.
    name: String,
    archives: Archives,
    /// The store that has the image.
    store: Utf8PathBuf,
}

/// Measures, and prints the figures. `No` where a limit was missed.
pub(super) fn bench(
    tools: &Tools,
    runner: &Runner,
    folder: &Utf8Path,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    writeln!(out, "{}\n", machine(runner)).map_err(lost)?;
    let name = format!("larder-bench-{}", std::process::id());
    let archives = Archives::make(runner, folder, &name)?;
    let place = Place { tools, runner, folder, name, archives, store: folder.join("store") };
    let mut within = place.without_engine(out)?;
    match docker::answers(tools, runner)? {
        Ok(()) => within &= place.with_docker(out)?,
        Err(reason) => writeln!(out, "load and save\n  not run: {reason}").map_err(lost)?,
    }
    Ok(Outcome::from_bool(within))
}

fn race(title: &str, contenders: Vec<Contender>) -> Race {
    Race { title: title.to_owned(), rounds: ROUNDS, memory: None, contenders }
}

impl Place<'_> {
    /// Returns whether all limits are kept.
    fn without_engine(&self, out: &mut impl Write) -> Result<bool, RunError> {
        let imports = Imports::new(self);
        let mut within = true;
        for race in imports.races() {
            within &= shown(&race, self.folder, self.runner, out)?;
        }
        within &= self.costs(&imports.jobs())?.show(out)?;
        let shared = imports.shared()?;
        writeln!(out, "{shared}").map_err(lost)?;
        Ok(within & shared.is_within())
    }

    /// Returns whether all limits are kept.
    fn with_docker(&self, out: &mut impl Write) -> Result<bool, RunError> {
        let docker = Docker::with_base(self)?;
        let mut within = true;
        for race in docker.races() {
            within &= shown(&race, self.folder, self.runner, out)?;
        }
        Ok(within & self.costs(&docker.jobs())?.show(out)?)
    }

    /// An `imgtar` command for a store.
    fn imgtar(&self, job: &str, key: &str, store: &Utf8Path) -> Cmd {
        self.tools.imgtar(job).arg(key).arg("--store").path(store)
    }

    /// Runs what has to succeed, without a word.
    fn run(&self, cmd: &Cmd) -> Result<(), RunError> {
        succeeded(cmd, self.runner.ask(cmd)?.0)
    }

    /// The name of one of the images.
    fn called(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }
}
