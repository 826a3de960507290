//! gcctl over large stores: packages, images, events; beside what else measures or empties a disk.
//!
//! Everything is in the page cache. The first round of each race is not counted, and writes the
//! index of packages. `TMPDIR` says where the stores are: a million packages take 8 GB.

mod stores;

use std::io::Write;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Outcome;

use super::basics::{lost, say, sh};
use super::figures::{Figure, Figures, Limit};
use super::race::{Contender, Race, machine, shown, timed};
use larder::process::command::{Cmd, quoted};
use larder::process::runner::{RunError, Runner, succeeded};
use larder::process::tools::Tools;

const ROUNDS: usize = 3;
/// What a plan may take for each package: 5 s for a million.
const EACH: Duration = Duration::from_micros(5);
/// No limit of time is below this: a process has to start, and a clock to see it.
const LEAST: Duration = Duration::from_millis(100);
/// Megabytes that a plan of packages may take.
const MEMORY: u64 = 300;
/// Removals in a second.
const REMOVALS: f64 = 20_000.0;
/// One image for so many packages: 50,000.
const IMAGES: u32 = 20;

struct Place<'a> {
    tools: &'a Tools,
    runner: &'a Runner,
    folder: &'a Utf8Path,
}

/// Measures, and prints the figures. `No` where a limit was missed.
pub(super) fn bench(
    most: u32,
    tools: &Tools,
    runner: &Runner,
    folder: &Utf8Path,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    writeln!(out, "{}\n", machine(runner)).map_err(lost)?;
    let place = Place { tools, runner, folder };
    let mut within = place.images(most.div_ceil(IMAGES), out)?;
    within &= place.events(most, out)?;
    let mut rates = Vec::new();
    for (name, count) in [("a hundredth", most / 100), ("a tenth", most / 10), ("all", most)] {
        let store = folder.join(format!("packages{count}"));
        say(&format!("writing {count} packages"));
        stores::packages(&store, count).map_err(lost)?;
        within &= place.plan(&store, count, out)?;
        rates.push((name, place.rate(&store, count)?));
        if count == most {
            within &= show(&linear(most, rates.clone()), out)?;
        }
        if count != most / 100 {
            within &= show(&place.removals(&store, count)?, out)?;
        }
        std::fs::remove_dir_all(&store).map_err(lost)?;
    }
    Ok(Outcome::from_bool(within))
}

fn show(figures: &Figures, out: &mut impl Write) -> Result<bool, RunError> {
    writeln!(out, "{figures}").and_then(|()| out.flush()).map_err(lost)?;
    Ok(figures.is_within())
}

/// How many packages a second are planned, of all of them first.
fn linear(most: u32, mut rates: Vec<(&'static str, Vec<f64>)>) -> Figures {
    rates.reverse();
    let mut figures = Figures::new(format!("linear: a plan over {most} packages, and fewer"), "packages/s");
    for (name, values) in rates {
        // A tenth as many take a little less than a tenth of the time.
        figures.add(Figure::new(name, values).limit(Limit::AtLeast(0.5)));
    }
    figures
}

impl Place<'_> {
    fn gcctl(&self, job: &str, store: &Utf8Path) -> Cmd {
        self.tools.gcctl(job).arg("--store").path(store)
    }

    /// A plan that takes the half of the packages.
    fn half(&self, store: &Utf8Path, count: u32) -> Cmd {
        let bytes = u64::from(count) * stores::EACH / 2;
        self.gcctl("plan", store).arg("--packages-max-size").arg(format!("{bytes}B"))
    }

    fn beside(store: &Utf8Path) -> [Contender; 3] {
        [
            Contender::new("du -s", Cmd::new("du").arg("-s").path(store)),
            Contender::new("docker system df", Cmd::new("docker").args(["system", "df"])),
            Contender::new(
                "nix-store --gc --print-dead",
                Cmd::new("nix-store").args(["--gc", "--print-dead"]),
            ),
        ]
    }

    fn race(&self, race: &Race, out: &mut impl Write) -> Result<bool, RunError> {
        shown(race, self.folder, self.runner, out)
    }

    fn plan(&self, store: &Utf8Path, count: u32, out: &mut impl Write) -> Result<bool, RunError> {
        let ours = Contender::new("gcctl plan", self.half(store, count)).within((EACH * count).max(LEAST));
        let race = Race {
            title: format!("plan over {count} packages"),
            rounds: ROUNDS,
            memory: Some(MEMORY),
            contenders: [ours].into_iter().chain(Self::beside(store)).collect(),
        };
        self.race(&race, out)
    }

    fn rate(&self, store: &Utf8Path, count: u32) -> Result<Vec<f64>, RunError> {
        let plan = Contender::new("gcctl plan", self.half(store, count));
        (0..ROUNDS).map(|_| Ok(f64::from(count) / timed(&plan, self.runner)?.as_secs_f64())).collect()
    }

    /// The half goes, then what is left by `rm`: entries and bodies a second, both.
    fn removals(&self, store: &Utf8Path, count: u32) -> Result<Figures, RunError> {
        let plan = self.folder.join("plan");
        let write = self.half(store, count).arg("--json");
        succeeded(&write, self.runner.ask(&sh(format!("{} >{}", write, quoted(plan.as_str()))))?.0)?;
        let before = stores::files(store).map_err(lost)?;
        let apply = self.gcctl("apply", store).arg("--force").path(&plan);
        let ours = timed(&Contender::new("gcctl apply", apply), self.runner)?;
        let left = stores::files(store).map_err(lost)?;
        let rm = Contender::new("rm -rf", Cmd::new("rm").arg("-rf").path(&store.join("packages")));
        let theirs = timed(&rm, self.runner)?;
        let rate = |files: u64, time: Duration| {
            vec![u32::try_from(files).map_or(f64::INFINITY, f64::from) / time.as_secs_f64()]
        };
        let mut figures =
            Figures::new(format!("removing half of {count} packages, entries and bodies"), "files/s");
        figures.add(Figure::new("gcctl apply", rate(before - left, ours)).limit(Limit::Floor(REMOVALS)));
        figures.add(Figure::new("rm -rf of the rest", rate(left, theirs)));
        Ok(figures)
    }

    fn images(&self, count: u32, out: &mut impl Write) -> Result<bool, RunError> {
        let store = self.folder.join("images");
        say(&format!("writing {count} images"));
        stores::images(&store, count).map_err(lost)?;
        // Writes what a store has that was not made by hand.
        let run = self.gcctl("run", &store);
        succeeded(&run, self.runner.ask(&run)?.0)?;
        let ours = Contender::new("gcctl ls", self.gcctl("ls", &store)).within(Duration::from_secs(1));
        let docker = Contender::new("docker images", Cmd::new("docker").arg("images"));
        let race = Race {
            title: format!("list {count} images"),
            rounds: ROUNDS,
            memory: Some(MEMORY),
            contenders: [ours, docker].into_iter().chain(Self::beside(&store)).collect(),
        };
        let within = self.race(&race, out)?;
        std::fs::remove_dir_all(&store).map_err(lost)?;
        Ok(within)
    }

    fn events(&self, count: u32, out: &mut impl Write) -> Result<bool, RunError> {
        let store: Utf8PathBuf = self.folder.join("events");
        stores::images(&store, 100).map_err(lost)?;
        say(&format!("noting {count} hits"));
        stores::events(&store, count).map_err(lost)?;
        let ours = Contender::new("gcctl ls", self.gcctl("ls", &store)).within(Duration::from_millis(300));
        let race = Race {
            title: format!("list 100 images after {count} hits"),
            rounds: ROUNDS,
            memory: Some(30),
            contenders: vec![ours, Contender::new("du -s", Cmd::new("du").arg("-s").path(&store))],
        };
        let within = self.race(&race, out)?;
        let what_if = self.gcctl("what-if", &store).args(["--max-size", "1GB", "--days", "3650"]);
        let race = Race {
            title: format!("play {count} hits of images and as many of packages again"),
            rounds: ROUNDS,
            memory: Some(MEMORY),
            contenders: vec![Contender::new("gcctl what-if", what_if)],
        };
        Ok(within & self.race(&race, out)?)
    }
}
