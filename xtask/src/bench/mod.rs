//! Measures a tool side by side with its peers, in one run on one input, round by round.
//!
//! Prints each contender's median time, its spread and its ratio to the tool. Absolute times never carry to another
//! machine; the ratios mostly do.

mod inputs;
mod table;

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
    /// Hashing a tree of 40,000 files and 400 MB.
    Hashctx,
    /// Importing an image archive of 1 GB.
    Imgtar,
}

/// One command that is timed.
struct Contender {
    name: &'static str,
    /// Run before each round, untimed.
    before: Option<Cmd>,
    cmd: Cmd,
}

/// What is compared with what: the first contender is the one that the ratios refer to.
struct Race {
    title: &'static str,
    rounds: usize,
    contenders: Vec<Contender>,
}

/// Measures, and prints a table for each comparison.
///
/// # Errors
/// Where the input cannot be made, or the tool itself fails. A peer that is not there, or fails, is said to.
pub fn bench(what: Bench, tools: &Tools, runner: &Runner, out: &mut impl Write) -> Result<Outcome, RunError> {
    let lost = |source| RunError::Lost { program: "the bench's files".into(), source };
    let temp = tempfile::Builder::new().prefix("bench-").tempdir().map_err(lost)?;
    let folder = Utf8PathBuf::from_path_buf(temp.path().to_owned());
    let folder = folder.map_err(|_| lost(io::Error::other("a path that is not UTF-8")))?;
    let races = match what {
        Bench::Hashctx => hashctx(tools, &folder).map_err(lost)?,
        Bench::Imgtar => imgtar(tools, &folder, runner).map_err(|error| match error {
            Failure::Files(source) => lost(source),
            Failure::Run(error) => error,
        })?,
    };
    for race in races {
        let table = run(&race, runner)?;
        writeln!(out, "{}\n{table}", race.title).and_then(|()| out.flush()).map_err(lost)?;
    }
    Ok(Outcome::Yes)
}

enum Failure {
    Files(io::Error),
    Run(RunError),
}

fn run(race: &Race, runner: &Runner) -> Result<Table, RunError> {
    let mut table = Table::new(race.contenders.iter().map(|contender| contender.name));
    for _ in 0..race.rounds {
        for (index, contender) in race.contenders.iter().enumerate() {
            match timed(contender, runner) {
                Ok(time) => table.add(index, time),
                // The tool itself must run; and a signal ends it all.
                Err(error) if index == 0 || error.is_interruption() => return Err(error),
                Err(_) => {}
            }
        }
    }
    Ok(table)
}

fn timed(contender: &Contender, runner: &Runner) -> Result<Duration, RunError> {
    if let Some(before) = &contender.before {
        succeeded(before, runner.ask(before)?.0)?;
    }
    let started = Instant::now();
    let (status, _) = runner.ask(&contender.cmd)?;
    let time = started.elapsed();
    succeeded(&contender.cmd, status).map(|()| time)
}

fn sh(script: String) -> Cmd {
    Cmd::new("sh").arg("-c").arg(script)
}

fn hashctx(tools: &Tools, folder: &Utf8Path) -> io::Result<Vec<Race>> {
    let tree = folder.join("tree");
    inputs::tree(&tree, 40_000, 10_000)?;
    let peer =
        |name, script: &str| Contender { name, before: None, cmd: sh(format!("cd {tree} && {script}")) };
    let contenders = vec![
        Contender {
            name: "hashctx",
            before: None,
            cmd: tools.hashctx().args(["--ignore", "none"]).path(&tree),
        },
        peer(
            "xargs b3sum",
            "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -P2 -n2000 b3sum >/dev/null",
        ),
        peer("tar | b3sum", "tar -c . | b3sum"),
        peer("tar | sha256sum", "tar -c . | sha256sum"),
    ];
    Ok(vec![Race { title: "one key for 40,000 files, 400 MB, warm", rounds: 5, contenders }])
}

fn imgtar(tools: &Tools, folder: &Utf8Path, runner: &Runner) -> Result<Vec<Race>, Failure> {
    let (tree, archive) = (folder.join("tree"), folder.join("image.tar"));
    inputs::tree(&tree, 8_000, 125_000).map_err(Failure::Files)?;
    let (made, store) = (folder.join("made"), folder.join("store"));
    let at = |cmd: Cmd, store: &Utf8Path| cmd.arg("--store").path(store);
    let pack = at(tools.imgtar("pack").arg("bench").path(&tree), &made);
    let export = at(tools.imgtar("export").arg("bench").path(&archive).args(["--compress", "none"]), &made);
    for cmd in [pack, export] {
        runner.output(&cmd).map_err(Failure::Run)?;
    }
    let import = |key: &str| at(tools.imgtar("import").arg(key).path(&archive), &store);
    let wipe = |path: &Utf8Path| Some(Cmd::new("rm").args(["-rf"]).path(path));
    let copy = folder.join("image.tar.zst");
    let cold = vec![
        Contender { name: "imgtar import", before: wipe(&store), cmd: import("cold") },
        Contender {
            name: "zstd -T0 -3, sync",
            before: wipe(&copy),
            cmd: sh(format!("zstd -q -T0 -3 {archive} -o {copy} && sync {copy}")),
        },
    ];
    let again = vec![
        Contender {
            name: "imgtar import again",
            before: Some(sh(format!("rm -f {store}/images/keys/again; true"))),
            cmd: import("again"),
        },
        Contender {
            name: "openssl dgst -sha256",
            before: None,
            cmd: Cmd::new("openssl").args(["dgst", "-sha256"]).path(&archive),
        },
    ];
    Ok(vec![
        Race { title: "import of a 1 GB docker-archive, cold", rounds: 3, contenders: cold },
        Race { title: "the same archive under another key", rounds: 3, contenders: again },
    ])
}
