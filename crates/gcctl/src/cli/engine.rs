//! `gcctl engine`: what docker or podman keeps.

use std::io::{self, IsTerminal};

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use gcctl::commands::Console;
use gcctl::engine::rules::{Options, Rules};
use gcctl::engine::{Engine, Kind, command};
use gcctl::limits::scoped::pattern;
use globset::Glob;
use storekit::{Age, ByteSize};
use toolkit::amount::Setting;
use toolkit::{Outcome, Settings, Signals};

use super::open;

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
    ///
    /// What no option says, `[[gcctl.engine]]` of larder.toml and of the user's own settings says,
    /// with the same keys: of each engine, or of the one that its `engine` names.
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
    engine: Kind,
}

#[derive(Args)]
pub(super) struct RuleArgs {
    /// Only what was not used, or made, within this time: 12h, 30d [default: 7d]
    #[arg(long, value_name = "AGE")]
    max_age: Option<Age>,
    /// Only the oldest, until no more than this many bytes are left of what may go; `none` is no
    /// such limit
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Setting<ByteSize>>,
    /// Also images that have names and no container; `--named=false` where settings say otherwise
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    named: Option<bool>,
    /// Keep images and containers with a name like this, `debian:*`, beside those that the settings
    /// keep
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    keep: Vec<Glob>,
}

impl RuleArgs {
    fn options(&self) -> Options {
        let Self { max_age, max_size, named, keep } = self;
        Options { max_age: *max_age, max_size: *max_size, named: *named, keep: keep.clone() }
    }
}

pub(super) fn run(
    job: &EngineJob,
    settings: &Settings,
    signals: &Signals,
    console: &mut Console<'_>,
) -> miette::Result<Outcome> {
    let environment = settings.environment();
    let engine =
        |kind: Kind| Engine::new(kind, environment.get(kind.variable()).unwrap_or(kind.name()).to_owned());
    Ok(match job {
        EngineJob::Df(arg) => command::df(&engine(arg.engine), console)?,
        EngineJob::Ls(arg) => command::ls(&engine(arg.engine), console)?,
        EngineJob::Plan { engine: arg, rules } => {
            let rules = Rules::load(settings, arg.engine, rules.options())?;
            command::plan(&engine(arg.engine), &rules, console)?
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
