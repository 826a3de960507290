//! Measures a tool side by side with its peers, in one run on one input, round by round.
//!
//! Prints each contender's median time, its spread, and what share of it the tool takes. Absolute
//! times never carry to another machine; the shares mostly do.

mod bake;
mod figures;
mod hashctx;
mod imgtar;
mod inputs;
mod pkgcache;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Outcome;

use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner, succeeded};
use larder::process::tools::Tools;
pub use pkgcache::PARTS;
use table::{Limit, Table};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bench {
    /// Bringing a project's images up to date.
    Bake,
    /// Hashing a tree.
    Hashctx,
    /// Moving an image of 1 GB between archives, the store and Docker.
    Imgtar,
    /// Serving what is stored and what is not.
    Pkgcache,
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

/// One command that is timed.
struct Contender {
    name: &'static str,
    /// Run before each round, untimed.
    before: Option<Cmd>,
    cmd: Cmd,
    limit: Option<Limit>,
}

/// What is compared with what: the first contender is the tool.
struct Race {
    title: String,
    rounds: usize,
    /// Megabytes that the tool may take; `None` where its memory is not measured.
    memory: Option<u64>,
    contenders: Vec<Contender>,
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
        // Rates, not times.
        Bench::Pkgcache => pkgcache::bench(scope, tools, runner, &folder, out),
    }
}

/// Runs all races, and prints the table of each.
fn show(
    races: &[Race],
    folder: &Utf8Path,
    runner: &Runner,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    writeln!(out, "{}\n", machine(runner)).map_err(lost)?;
    let mut within = true;
    for race in races {
        within &= shown(race, folder, runner, out)?;
    }
    Ok(Outcome::from_bool(within))
}

/// Runs one race, and prints its table. Returns whether it kept to its limits.
fn shown(race: &Race, folder: &Utf8Path, runner: &Runner, out: &mut impl Write) -> Result<bool, RunError> {
    // Who waits sees what is going on.
    writeln!(out, "{}", race.title).and_then(|()| out.flush()).map_err(lost)?;
    let table = run(race, folder, runner)?;
    writeln!(out, "{table}").and_then(|()| out.flush()).map_err(lost)?;
    Ok(table.is_within())
}

fn lost(source: io::Error) -> RunError {
    RunError::Lost { program: "the bench's files".into(), source }
}

/// Tells who waits what is going on.
fn say(line: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "bench: {line}");
}

/// What the figures depend on beside the tools.
fn machine(runner: &Runner) -> String {
    let git = runner.ask(&Cmd::new("git").arg("--version")).map(|(_, text)| text).unwrap_or_default();
    let git = String::from_utf8_lossy(&git).trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!("{processors} processors, load {load} before the first race, {git}")
}

fn run(race: &Race, folder: &Utf8Path, runner: &Runner) -> Result<Table, RunError> {
    let mut table = Table::new(race.contenders.iter().map(|contender| (contender.name, contender.limit)));
    // One round more, the first, to have all that is read in the page cache.
    for round in 0..=race.rounds {
        for (index, contender) in race.contenders.iter().enumerate() {
            match timed(contender, runner) {
                Ok(time) if round > 0 => table.add(index, time),
                // The tool itself must run; and a signal ends it all.
                Err(error) if index == 0 || error.is_interruption() => return Err(error),
                Err(error) => table.fail(index, error),
                Ok(_) => {}
            }
        }
    }
    if let (Some(limit), Some(tool)) = (race.memory, race.contenders.first()) {
        table.peak = peak(tool, folder, runner)?.map(|peak| (peak, Some(limit)));
    }
    Ok(table)
}

fn timed(contender: &Contender, runner: &Runner) -> Result<Duration, RunError> {
    contender.prepare(runner)?;
    let started = Instant::now();
    let (status, _) = runner.ask(&contender.cmd)?;
    let time = started.elapsed();
    succeeded(&contender.cmd, status).map(|()| time)
}

/// The most memory that a command has, in megabytes; `None` without GNU time.
fn peak(contender: &Contender, folder: &Utf8Path, runner: &Runner) -> Result<Option<u64>, RunError> {
    Ok(usage(contender, folder, runner)?.map(|usage| usage.memory.div_ceil(1_000_000)))
}

/// What a command took, with the commands that it ran itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    /// The most memory of one of them, in bytes.
    memory: u64,
    /// What they wrote to disks in all, in bytes: also to files that are gone again, but none to
    /// pipes or to memory.
    written: u64,
}

/// Runs the contender once more, untimed. `None` without GNU time.
fn usage(contender: &Contender, folder: &Utf8Path, runner: &Runner) -> Result<Option<Usage>, RunError> {
    contender.prepare(runner)?;
    let file = folder.join("usage");
    let time = Cmd::new("time").args(["-f", "%M %O", "-o"]).path(&file);
    match runner.ask(&contender.cmd.clone().under(time)) {
        Err(error) if error.is_interruption() => Err(error),
        _ => Ok(std::fs::read_to_string(&file).ok().and_then(|text| Usage::told(&text))),
    }
}

impl Usage {
    /// Understands kibibytes and blocks of half a kibibyte. Before them stands how the command
    /// ended, where it failed.
    fn told(text: &str) -> Option<Self> {
        let [memory, written] = text.trim().split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self { memory: memory.parse::<u64>().ok()? << 10, written: written.parse::<u64>().ok()? << 9 })
    }
}

impl Contender {
    fn new(name: &'static str, cmd: Cmd) -> Self {
        Self { name, before: None, cmd, limit: None }
    }

    fn before(self, cmd: Cmd) -> Self {
        Self { before: Some(cmd), ..self }
    }

    fn limit(self, share: f64) -> Self {
        Self { limit: Some(Limit::Share(share)), ..self }
    }

    fn within(self, time: Duration) -> Self {
        Self { limit: Some(Limit::Time(time)), ..self }
    }

    /// The first contender may take so much longer than this one.
    fn at_most_behind(self, time: Duration) -> Self {
        Self { limit: Some(Limit::Over(time)), ..self }
    }

    fn prepare(&self, runner: &Runner) -> Result<(), RunError> {
        let Some(before) = &self.before else { return Ok(()) };
        succeeded(before, runner.ask(before)?.0)
    }
}

fn sh(script: String) -> Cmd {
    Cmd::new("sh").arg("-c").arg(script)
}

/// Bytes as people say them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000_000 => write!(f, "{} kB", self.0 / 1000),
            _ => write!(f, "{} MB", self.0 / 1_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gnu_time_says_is_understood() {
        assert_eq!(Usage::told("2048 10\n"), Some(Usage { memory: 2 << 20, written: 5120 }));
        assert_eq!(Usage::told("Command exited with non-zero status 1\n2048 10\n"), None);
        assert_eq!(Usage::told(""), None);
    }
}
