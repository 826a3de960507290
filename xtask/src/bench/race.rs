//! Commands in turn, round by round, and how long each takes.

use std::io::Write;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner, succeeded};
use toolkit::Outcome;

use super::basics::lost;
use super::table::{Limit, Table};

/// One command that is timed.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// Run before each round, untimed.
    pub(super) before: Option<Cmd>,
    pub(super) cmd: Cmd,
    pub(super) limit: Option<Limit>,
}

/// What is compared with what: the first contender is the tool.
pub(super) struct Race {
    pub(super) title: String,
    pub(super) rounds: usize,
    /// Megabytes that the tool may take; `None` where its memory is not measured.
    pub(super) memory: Option<u64>,
    pub(super) contenders: Vec<Contender>,
}

/// Runs all races, and prints the table of each.
pub(super) fn show(
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
pub(super) fn shown(
    race: &Race,
    folder: &Utf8Path,
    runner: &Runner,
    out: &mut impl Write,
) -> Result<bool, RunError> {
    // Who waits sees what is going on.
    writeln!(out, "{}", race.title).and_then(|()| out.flush()).map_err(lost)?;
    let table = run(race, folder, runner)?;
    writeln!(out, "{table}").and_then(|()| out.flush()).map_err(lost)?;
    Ok(table.is_within())
}

/// What the figures depend on beside the tools.
pub(super) fn machine(runner: &Runner) -> String {
    let git = runner.ask(&Cmd::new("git").arg("--version")).map(|(_, text)| text).unwrap_or_default();
    let git = String::from_utf8_lossy(&git).trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!("{processors} processors, load {load} before the first race, {git}")
}

pub(super) fn run(race: &Race, folder: &Utf8Path, runner: &Runner) -> Result<Table, RunError> {
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

pub(super) fn timed(contender: &Contender, runner: &Runner) -> Result<Duration, RunError> {
    contender.prepare(runner)?;
    let started = Instant::now();
    let (status, _) = runner.ask(&contender.cmd)?;
    let time = started.elapsed();
    succeeded(&contender.cmd, status).map(|()| time)
}

/// The most memory that a command has, in megabytes; `None` without GNU time.
pub(super) fn peak(
    contender: &Contender,
    folder: &Utf8Path,
    runner: &Runner,
) -> Result<Option<u64>, RunError> {
    Ok(usage(contender, folder, runner)?.map(|usage| usage.memory.div_ceil(1_000_000)))
}

/// What a command took, with the commands that it ran itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// The most memory of one of them, in bytes.
    pub(super) memory: u64,
    /// What they wrote to disks in all, in bytes: also to files that are gone again, but none to
    /// pipes or to memory.
    pub(super) written: u64,
}

/// Runs the contender once more, untimed. `None` without GNU time.
pub(super) fn usage(
    contender: &Contender,
    folder: &Utf8Path,
    runner: &Runner,
) -> Result<Option<Usage>, RunError> {
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
    pub(super) fn new(name: &'static str, cmd: Cmd) -> Self {
        Self { name, before: None, cmd, limit: None }
    }

    pub(super) fn before(self, cmd: Cmd) -> Self {
        Self { before: Some(cmd), ..self }
    }

    pub(super) fn limit(self, share: f64) -> Self {
        Self { limit: Some(Limit::Share(share)), ..self }
    }

    pub(super) fn within(self, time: Duration) -> Self {
        Self { limit: Some(Limit::Time(time)), ..self }
    }

    /// The first contender may take so much longer than this one.
    pub(super) fn at_most_behind(self, time: Duration) -> Self {
        Self { limit: Some(Limit::Over(time)), ..self }
    }

    pub(super) fn prepare(&self, runner: &Runner) -> Result<(), RunError> {
        let Some(before) = &self.before else { return Ok(()) };
        succeeded(before, runner.ask(before)?.0)
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
