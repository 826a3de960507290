//! The command line, and what of the process's environment the library is told.

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand, ValueEnum};
use miette::{IntoDiagnostic, WrapErr};
use toolkit::{Environment, Outcome, Output, Settings, Signals};
use xtask::bake::{self, BakeError};
use xtask::children::Children;
use xtask::ci::{self, CiError};
use xtask::image::Engine;
use xtask::runner::{RunError, Runner, Verbosity};
use xtask::tools::Tools;
use xtask::{bench, config, test, workspace};

/// Keep a project's container images up to date, and check this repository
///
/// Reads the nearest larder.toml from the working folder upward. Exit codes: 0 done or up to date,
/// 1 something would be built (`bake --check`), 2 trouble, or the code of a step that failed.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, styles = Styles::plain(), max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Bring images up to date: load each from the store, or build and save it
    ///
    /// Images that another one is built from come first; those of larder.toml are baked too where
    /// only the other one is named. Prints a line for each image: name, state, key, where it came
    /// from, seconds, the engine that a hit is for, and what changed since it was last saved.
    /// States: hit, built, stale (with `--check`), failed. A store that cannot be used is a
    /// warning, and the image is built all the same.
    ///
    /// The key covers the files, the Dockerfile, target, arguments, platform, base digests and all
    /// settings of `pack`; and, for each image that is built FROM, copied or mounted from, its key
    /// in larder.toml or, without a registry's digest, the engine's ID. The engine is asked for the
    /// platform of the key, whatever `DOCKER_DEFAULT_PLATFORM` says. An image is built and not
    /// saved if it came out for another platform, if the engine or else the registry has another
    /// base image than the digest in `base`, or if its base has `ONBUILD` instructions that may
    /// read files (podman does not tell of them).
    ///
    /// A packed image is kept in the store, and loaded into the engine if one answers. With `ignore
    /// = "all"` the engine gets the hashed files as a tar, so the Dockerfile must lie in the
    /// context. A second bake of the same key waits for the first, 15 minutes at most, and loads
    /// what it saved. `${NAME}` in larder.toml is not replaced, and is worth a warning.
    Bake(BakeArgs),
    /// Check the project: format, lints, tests, documentation, dependency rules, bake,
    /// larder.toml's own steps
    ///
    /// Stops at the first failure and passes on its code. The steps are those of `[ci] steps` in
    /// larder.toml.
    Ci(TalkArgs),
    /// Run all tests that this machine has the parts for, and list those that were not run
    ///
    /// With `LARDER_REQUIRE_ENGINES=1` a missing part is a failure.
    Test(TestArgs),
    /// Measure a tool side by side with its peers
    ///
    /// Makes its own input in the folder for temporary files (`TMPDIR`), and removes it. Prints a
    /// table for each comparison: median time, fastest and slowest, what share of each peer's time
    /// the tool takes, and the limit. Exits 1 where a limit is missed: run it while the machine
    /// does nothing else. For a quick look: `--files 2000 --large 64 --rounds 5`; for a large tree:
    /// `--files 1000000 --size 200 --large 64`.
    Bench(BenchArgs),
}

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line, and all combine")]
struct BakeArgs {
    /// The images to bake: by default, all of larder.toml
    names: Vec<String>,
    /// Build from scratch, without the engine's layer cache, and save over what is stored; images
    /// that the named ones are built from are not rebuilt
    #[arg(long)]
    rebuild: bool,
    /// Build nothing, and exit 1 if an image would have to be built
    #[arg(long, conflicts_with = "rebuild")]
    check: bool,
    /// Neither ask the store for images nor save into it
    #[arg(long)]
    no_image_cache: bool,
    /// Use no cache of larder's at all
    #[arg(long)]
    no_cache: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    store: Option<Utf8PathBuf>,
    /// What builds the images, whatever larder.toml says; by default docker if it answers, else
    /// podman
    #[arg(long, value_enum)]
    engine: Option<EngineArg>,
    #[command(flatten)]
    talk: TalkArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum EngineArg {
    Docker,
    Podman,
}

impl EngineArg {
    fn engine(self) -> Engine {
        match self {
            Self::Docker => Engine::Docker,
            Self::Podman => Engine::Podman,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum BenchArg {
    /// One key for a tree of files, against git, b3sum and tar
    Hashctx,
    /// Import, load and save of a 1 GB image, its memory and its size, against zstd, skopeo and
    /// docker
    Imgtar,
    /// Hits, misses, memory and readiness, against nginx and proxpi (`gunicorn` on PATH), asked by
    /// `wrk`
    Pkgcache,
}

#[derive(clap::Args)]
struct TalkArgs {
    /// Print each command before it runs
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Print warnings and errors only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Args)]
struct TestArgs {
    /// Handed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(clap::Args)]
struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    what: BenchArg,
    /// Files in the tree that hashctx is measured on
    #[arg(long, value_name = "N", default_value_t = 42_000, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// Their mean size
    #[arg(long, value_name = "BYTES", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    size: u32,
    /// The size of the one large file
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    large: u32,
    /// Rounds of hashctx's shortest race; longer ones have fewer
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Print each command before it runs
    #[arg(short, long)]
    verbose: bool,
}

impl TalkArgs {
    fn verbosity(&self) -> Verbosity {
        match (self.verbose, self.quiet) {
            (true, _) => Verbosity::Verbose,
            (_, true) => Verbosity::Quiet,
            _ => Verbosity::Normal,
        }
    }
}

/// Does what the command line says.
pub(crate) fn run(args: Args, signals: &Signals) -> miette::Result<Outcome> {
    let process = Process::new()?;
    let result = match args.job {
        Job::Bake(args) => process.bake(args),
        Job::Ci(talk) => process.ci(talk.verbosity()),
        Job::Test(args) => process.test(&args.args),
        Job::Bench(args) => process.bench(&args),
    };
    result.or_else(|report| {
        let code = interruption(&report).ok_or(report)?;
        signals.say(code);
        Ok(Outcome::Code(code))
    })
}

/// The exit code, where the error is that a signal came.
fn interruption(report: &miette::Report) -> Option<u8> {
    let run = report.downcast_ref::<RunError>().or_else(|| match report.downcast_ref::<BakeError>() {
        Some(BakeError::Run(error)) => Some(error),
        _ => match report.downcast_ref::<CiError>() {
            Some(CiError::Run(error) | CiError::Bake(BakeError::Run(error))) => Some(error),
            _ => None,
        },
    })?;
    run.is_interruption().then(|| run.exit_code()).flatten()
}

/// The engines, each with the variable that names another command for it.
const ENGINES: [(Engine, &str); 2] = [(Engine::Docker, "LARDER_DOCKER"), (Engine::Podman, "LARDER_PODMAN")];

/// What the process was started with.
struct Process {
    environment: Environment,
    beside: Utf8PathBuf,
    children: Children,
}

impl Process {
    fn new() -> miette::Result<Self> {
        let exe = std::env::current_exe().into_diagnostic().wrap_err("cannot find where xtask itself is")?;
        let exe = Utf8PathBuf::try_from(exe).into_diagnostic()?;
        let environment =
            Environment::of_process().into_diagnostic().wrap_err("cannot use the working folder")?;
        let children = Children::listening().into_diagnostic().wrap_err("cannot listen to signals")?;
        Ok(Self { environment, beside: exe.parent().unwrap_or(&exe).to_owned(), children })
    }

    fn bake(&self, args: BakeArgs) -> miette::Result<Outcome> {
        let (root, project) = self.project()?;
        let runner = self.runner(&root, args.talk.verbosity())?;
        let settings = Settings::load(Environment { folder: root.clone(), ..self.environment.clone() });
        let store_flag = args.store.map(|store| self.environment.folder.join(store));
        let options = bake::Options {
            names: args.names,
            rebuild: args.rebuild,
            check: args.check,
            no_image_cache: args.no_image_cache || args.no_cache,
            json: args.json,
            engine: args.engine.map(EngineArg::engine),
            engines: self.engines(),
            store: settings.store_dir(store_flag.as_deref()).ok(),
            store_flag,
        };
        let tools = self.tools(&root);
        Ok(bake::bake(&project, &options, &tools, &runner, &mut Output::report())?)
    }

    fn ci(&self, verbosity: Verbosity) -> miette::Result<Outcome> {
        let (root, project) = self.project()?;
        let runner = self.runner(&root, verbosity)?;
        let settings = Settings::load(Environment { folder: root.clone(), ..self.environment.clone() });
        let tools = self.tools(&root);
        let store = settings.store_dir(None).ok();
        Ok(ci::ci(&project, store.as_deref(), &tools, &runner, &mut Output::report())?)
    }

    fn test(&self, args: &[String]) -> miette::Result<Outcome> {
        let root = config::find(&self.environment.folder)?;
        let root = root.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        let runner = self.runner(&root, Verbosity::Normal)?;
        Ok(test::test(args, &self.tools(&root), &runner, &mut Output::report())?)
    }

    fn bench(&self, args: &BenchArgs) -> miette::Result<Outcome> {
        let verbosity = if args.verbose { Verbosity::Verbose } else { Verbosity::Normal };
        let (what, tool) = match args.what {
            BenchArg::Hashctx => (bench::Bench::Hashctx, "hashctx"),
            BenchArg::Imgtar => (bench::Bench::Imgtar, "imgtar"),
            BenchArg::Pkgcache => (bench::Bench::Pkgcache, "pkgcache"),
        };
        let tools = self.release_tools(tool)?;
        let runner = Runner::new(self.environment.folder.clone(), verbosity, self.children.clone());
        let size = bench::Size {
            files: args.files,
            bytes: args.size as usize,
            large: args.large.into(),
            rounds: args.rounds.into(),
        };
        Ok(bench::bench(what, &size, &tools, &runner, &mut Output::report())?)
    }

    /// The tools as their users have them: in larder's own repository, the one that is asked for is
    /// built for release first.
    fn release_tools(&self, tool: &str) -> Result<Tools, RunError> {
        let folder = &self.environment.folder;
        let Some(workspace) = self.workspace() else { return Ok(self.tools(folder)) };
        let builder = Runner::new(workspace, Verbosity::Quiet, self.children.clone());
        workspace::build_for_release(&builder, tool)?;
        Ok(self.with_engines(Tools::find(&self.beside.with_file_name("release"), folder)))
    }

    /// Larder's own repository, where cargo runs this in it.
    fn workspace(&self) -> Option<Utf8PathBuf> {
        self.environment.get("CARGO_MANIFEST_DIR").and_then(workspace::of_manifest_dir)
    }

    fn tools(&self, root: &Utf8Path) -> Tools {
        self.with_engines(Tools::find(&self.beside, root))
    }

    /// `LARDER_DOCKER` and `LARDER_PODMAN` name other commands for engines, as they do for imgtar.
    fn with_engines(&self, tools: Tools) -> Tools {
        ENGINES.iter().fold(tools, |tools, (engine, variable)| {
            tools.with_engine(*engine, self.environment.get(variable))
        })
    }

    /// The engines to choose from: those that a variable names a command for, else those whose
    /// commands are on PATH.
    fn engines(&self) -> Vec<Engine> {
        let path = self.environment.get("PATH").unwrap_or_default();
        let is_named = |(_, variable): &&(Engine, &str)| self.environment.get(variable).is_some();
        let is_there = |(engine, _): &&(Engine, &str)| {
            std::env::split_paths(path).any(|folder| folder.join(engine.name()).is_file())
        };
        let named: Vec<_> = ENGINES.iter().filter(is_named).map(|(engine, _)| *engine).collect();
        if named.is_empty() {
            ENGINES.iter().filter(is_there).map(|(engine, _)| *engine).collect()
        } else {
            named
        }
    }

    /// The project's folder and what its larder.toml says.
    fn project(&self) -> miette::Result<(Utf8PathBuf, config::Project)> {
        let file = config::find(&self.environment.folder)?;
        let root = file.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        Ok((root, config::load(&file)?))
    }

    /// A runner for the folder. Run by cargo in larder's own repository, the tools are built first.
    fn runner(&self, root: &Utf8Path, verbosity: Verbosity) -> Result<Runner, RunError> {
        if let Some(workspace) = self.workspace() {
            let builder = Runner::new(workspace, Verbosity::Quiet, self.children.clone());
            workspace::build_tools(&builder, !cfg!(debug_assertions))?;
        }
        Ok(Runner::new(root.to_owned(), verbosity, self.children.clone()))
    }
}
