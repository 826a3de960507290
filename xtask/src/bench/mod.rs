//! Measures a tool side by side with its peers, in one run on one input, round by round.
//!
//! Prints each contender's median time, its spread, and what share of it the tool takes. Absolute times never carry to
//! another machine; the shares mostly do.

mod hashctx;
mod inputs;
mod pkgcache;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::Outcome;

use crate::command::Cmd;
use crate::runner::{RunError, Runner, succeeded};
use crate::tools::Tools;
use table::Table;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bench {
    /// Hashing a tree.
    Hashctx,
    /// Importing an image archive of 1 GB.
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

/// One command that is timed.
struct Contender {
    name: &'static str,
    /// Run before each round, untimed.
    before: Option<Cmd>,
    cmd: Cmd,
    /// What share of its time the tool may take.
    limit: Option<f64>,
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
/// Where the input cannot be made, or the tool itself fails. A peer that is not there, or fails, is said to.
pub fn bench(
    what: Bench,
    size: &Size,
    tools: &Tools,
    runner: &Runner,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    let temp = tempfile::Builder::new().prefix("bench-").tempdir().map_err(lost)?;
    let folder = Utf8PathBuf::from_path_buf(temp.path().to_owned());
    let folder = folder.map_err(|_| lost(io::Error::other("a path that is not UTF-8")))?;
    let races = match what {
        Bench::Hashctx => hashctx::races(tools, runner, &folder, size)?,
        Bench::Imgtar => imgtar(tools, &folder, runner)?,
        // Rates, not times.
        Bench::Pkgcache => return pkgcache::bench(tools, runner, &folder, out),
    };
    writeln!(out, "{}\n", machine(runner)).map_err(lost)?;
    let mut within = true;
    for race in races {
        // Who waits sees what is going on.
        writeln!(out, "{}", race.title).and_then(|()| out.flush()).map_err(lost)?;
        let table = run(&race, &folder, runner)?;
        within &= table.is_within();
        writeln!(out, "{table}").and_then(|()| out.flush()).map_err(lost)?;
    }
    Ok(Outcome::from_bool(within))
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
                Ok(_) | Err(_) => {}
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
    contender.prepare(runner)?;
    let file = folder.join("peak");
    let time = Cmd::new("time").args(["-f", "%M", "-o"]).path(&file);
    match runner.ask(&contender.cmd.clone().under(time)) {
        Err(error) if error.is_interruption() => Err(error),
        _ => {
            let kibibytes =
                std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u64>().ok());
            Ok(kibibytes.map(|kibibytes| (kibibytes * 1024).div_ceil(1_000_000)))
        }
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
        Self { limit: Some(share), ..self }
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

fn imgtar(tools: &Tools, folder: &Utf8Path, runner: &Runner) -> Result<Vec<Race>, RunError> {
    let (tree, archive) = (folder.join("tree"), folder.join("image.tar"));
    inputs::tree(&tree, 8_000, 125_000).map_err(lost)?;
    let (made, store) = (folder.join("made"), folder.join("store"));
    let at = |cmd: Cmd, store: &Utf8Path| cmd.arg("--store").path(store);
    let pack = at(tools.imgtar("pack").arg("bench").path(&tree), &made);
    let export = at(tools.imgtar("export").arg("bench").path(&archive).args(["--compress", "none"]), &made);
    for cmd in [pack, export] {
        runner.output(&cmd)?;
    }
    let import = |key: &str| at(tools.imgtar("import").arg(key).path(&archive), &store);
    let wipe = |path: &Utf8Path| Cmd::new("rm").args(["-rf"]).path(path);
    let copy = folder.join("image.tar.zst");
    let cold = vec![
        Contender::new("imgtar import", import("cold")).before(wipe(&store)),
        Contender::new("zstd -T0 -3, sync", sh(format!("zstd -q -T0 -3 {archive} -o {copy} && sync {copy}")))
            .before(wipe(&copy)),
    ];
    let again = vec![
        Contender::new("imgtar import again", import("again"))
            .before(sh(format!("rm -f {store}/images/keys/again; true"))),
        Contender::new("openssl dgst -sha256", Cmd::new("openssl").args(["dgst", "-sha256"]).path(&archive)),
    ];
    let race =
        |title: &str, contenders| Race { title: title.to_owned(), rounds: 3, memory: None, contenders };
    Ok(vec![
        race("import of a 1 GB docker-archive, cold", cold),
        race("the same archive under another key", again),
    ])
}
