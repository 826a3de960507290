//! `gcctl engine`: what docker or podman keeps.

use std::io::{self, IsTerminal};
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use gcctl::commands::Console;
use gcctl::engine::plan::Rules;
use gcctl::engine::{Engine, Kind, command};
use globset::{Glob, GlobSet, GlobSetBuilder};
use storekit::{Age, ByteSize};
use toolkit::settings::Environment;
use toolkit::{Outcome, Signals};

use super::open;

/// How long nothing has to have used what goes, where nothing is said.
const A_WEEK: Age = Age(Duration::from_secs(7 * 86_400));

#[derive(Subcommand)]
pub(super) enum EngineJob {
    /// Show what the engine keeps, by kind, and what of it nothing needs
    Df(EngineArg),
    /// List what the engine keeps, the oldest first
    Ls(EngineArg),
    /// Print what would go and why, and remove nothing
    ///
    /// Images without a name that no container needs, containers that do not run, and steps of
    /// builds, each unused for a week: no engine notes when an image or a container was used, so
    /// that theirs is the time when they were made, or when docker gave an image its last name. An
    /// image that is dated to no real time and has no name stays. So do volumes. With `--json` it
    /// prints what `apply` reads.
    Plan {
        #[command(flatten)]
        engine: EngineArg,
        #[command(flatten)]
        rules: RuleArgs,
    },
    /// Remove exactly what a plan names
    ///
    /// Each item is looked at again: one that is in use, that was used since, or has other names by
    /// now, stays. Nothing is removed by force. Exits 1 where something stays.
    Apply {
        /// A plan, as `gcctl engine plan --json` prints it; `-` is stdin
        #[arg(default_value = "-")]
        file: Utf8PathBuf,
    },
}

#[derive(Args)]
pub(super) struct EngineArg {
    /// Which engine
    #[arg(value_enum, default_value_t)]
    engine: EngineName,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum EngineName {
    #[default]
    Docker,
    Podman,
}

#[derive(Args)]
pub(super) struct RuleArgs {
    /// Only what was not used, or made, within this time: 12h, 30d [default: 7d]
    #[arg(long, value_name = "AGE")]
    max_age: Option<Age>,
    /// Only the oldest, until no more than this many bytes are left of what may go
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,
    /// Also images that have names and no container
    #[arg(long)]
    named: bool,
    /// Keep images and containers with a name like this: `debian:*`
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<Glob>,
}

impl RuleArgs {
    fn rules(&self) -> Rules {
        let mut keep = GlobSetBuilder::new();
        for pattern in &self.keep {
            keep.add(pattern.clone());
        }
        // Each pattern was understood by itself.
        let keep = keep.build().unwrap_or_else(|_| GlobSet::empty());
        Rules { max_age: self.max_age.unwrap_or(A_WEEK), max_size: self.max_size, named: self.named, keep }
    }
}

impl EngineArg {
    fn kind(&self) -> Kind {
        match self.engine {
            EngineName::Docker => Kind::Docker,
            EngineName::Podman => Kind::Podman,
        }
    }
}

pub(super) fn run(
    job: &EngineJob,
    environment: &Environment,
    signals: &Signals,
    console: &mut Console<'_>,
) -> miette::Result<Outcome> {
    let engine =
        |kind: Kind| Engine::new(kind, environment.get(kind.variable()).unwrap_or(kind.name()).to_owned());
    Ok(match job {
        EngineJob::Df(arg) => command::df(&engine(arg.kind()), console)?,
        EngineJob::Ls(arg) => command::ls(&engine(arg.kind()), console)?,
        EngineJob::Plan { engine: arg, rules } => {
            command::plan(&engine(arg.kind()), &rules.rules(), console)?
        }
        EngineJob::Apply { file } => {
            if file == "-" && io::stdin().is_terminal() {
                console.say("waiting for a plan on stdin: `gcctl engine plan --json | gcctl engine apply` hands one on");
            }
            let mut input = open(file)?;
            signals.held(|| command::run(&mut *input, engine, &signals.stop(), console))?
        }
    })
}
