//! The command line, and what of the process's environment the library is told.

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand, ValueEnum};
use miette::{IntoDiagnostic, WrapErr};
use toolkit::settings::PROJECT_VARIABLE;
use toolkit::{Environment, Outcome, Output, Settings, Signals};

use crate::bake::{self, BakeError};
use crate::ci::{self, Check};
use crate::config;
use crate::engine::Engine;
use crate::list;
use crate::process::children::Children;
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::tools::Tools;

/// Keep a project's container images up to date
///
/// Reads the nearest larder.toml from the working folder upward. Exit codes: 0 done or up to date,
/// 1 something would be built (`bake --check`), 2 trouble, or the code of a step that failed.
#[derive(Parser)]
#[command(name = "larder", version, styles = Styles::plain(), max_term_width = 100)]
pub struct Args {
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
    /// what it saved. `${NAME}` in `args`, `labels`, `tags`, `contexts` and `secrets` of
    /// larder.toml is taken from the environment.
    ///
    /// Disks come after the images. The key of a disk covers the files that `inputs` names, `args`
    /// and `run`. `outputs` of an image and `output` of a disk are written where they are not there
    /// as a bake wrote them; a place outside the project, or among the inputs of the key, is
    /// refused. Files that a bake wrote for an earlier key are removed if nobody changed them.
    Bake(BakeArgs),
    /// Write into larder.lock which images the names in the Dockerfiles stand for
    ///
    /// Each base image and `# syntax=` frontend that is named without a digest is resolved once, by
    /// its registry, else by the engine, and `bake` builds from just that. Images of larder.toml
    /// and images that only the engine has are not locked: their keys and IDs are in the key.
    /// Builds nothing.
    Lock(LockArgs),
    /// Bake all images, then run larder.toml's own steps
    ///
    /// Stops at the first failure and passes on its code. The steps are those of `[[ci.step]]` in
    /// larder.toml, in the order of their lines. Where a step says what it bakes, nothing else is
    /// baked. A step with `image` sees the image's name in `LARDER_IMAGE`; one with `inputs` is
    /// skipped where these are what they were at its last success; one with `env` is not begun, nor
    /// is any before it, where a variable is not set. With `[ci] log`, what each step prints is
    /// kept in that folder as NAME.log, and its times in times.ndjson.
    Ci(CiArgs),
    /// List the images and disks of larder.toml, with what each is
    List(ListArgs),
}

/// What `bake` is told.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line, and all combine")]
pub struct BakeArgs {
    /// The images and disks to bake, by their names in larder.toml or patterns such as `'web-*'`:
    /// by default, all
    names: Vec<String>,
    /// List the images and disks, and bake nothing
    #[arg(long, conflicts_with_all = ["rebuild", "check"])]
    list: bool,
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
    /// Build from scratch, without any cache, the engine's too, and save nothing
    #[arg(long, conflicts_with = "rebuild")]
    no_cache: bool,
    /// Resolve anew what is in larder.lock for the images of larder.toml, or the names in
    /// Dockerfiles, that follow; without any, for all
    #[arg(long, value_name = "NAME", num_args = 0..)]
    update: Option<Vec<String>>,
    /// Do not write larder.lock: what it lacks is an error; the default where CI is set
    #[arg(long, conflicts_with = "update")]
    locked: bool,
    /// Say below each image what could change it without changing its key
    #[arg(long)]
    doubts: bool,
    /// Bake so many images at a time [default: as many as there are processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
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
    #[command(flatten)]
    project: ProjectArgs,
}

/// What `ci` is told.
#[derive(clap::Args)]
pub struct CiArgs {
    /// The steps to run: by default, all but those with `when = "manual"`
    steps: Vec<String>,
    /// Run this step with `when = "manual"` too, where it stands
    #[arg(long, value_name = "STEP")]
    with: Vec<String>,
    /// How much it says.
    #[command(flatten)]
    pub talk: TalkArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What `list` is told.
#[derive(clap::Args)]
pub struct ListArgs {
    /// The images and disks to list: by default, all
    names: Vec<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Which larder.toml counts, and what is set above it.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Settings")]
pub struct ProjectArgs {
    /// The file to read: by default `LARDER_TOML`, else the nearest larder.toml from the working
    /// folder upward; larder.local.toml beside it goes above it
    #[arg(short, long, value_name = "FILE")]
    file: Option<Utf8PathBuf>,
    /// Set a key of an image or a disk, above what the file says: `--set app.target=dev`, `--set
    /// 'web-*.args.VERSION=2'`
    #[arg(long, value_name = "NAME.KEY=VALUE")]
    set: Vec<String>,
    /// Set a build argument of all images; without a value, it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
}

/// What `lock` is told.
#[derive(clap::Args)]
pub struct LockArgs {
    /// The images whose Dockerfiles are looked at: by default, all of larder.toml
    names: Vec<String>,
    /// Resolve anew what is in larder.lock for the images of larder.toml, or the names in
    /// Dockerfiles, that follow; without any, for all
    #[arg(long, value_name = "NAME", num_args = 0..)]
    update: Option<Vec<String>>,
    /// Change nothing, ask the registries, print what is behind, and exit 1 if anything is
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// What builds the images, whatever larder.toml says
    #[arg(long, value_enum)]
    engine: Option<EngineArg>,
    #[command(flatten)]
    talk: TalkArgs,
    #[command(flatten)]
    project: ProjectArgs,
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

/// How much a command says.
#[derive(clap::Args)]
pub struct TalkArgs {
    /// Print each command before it runs
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Print warnings and errors only
    #[arg(short, long)]
    quiet: bool,
}

impl TalkArgs {
    /// The same for the library.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        match (self.verbose, self.quiet) {
            (true, _) => Verbosity::Verbose,
            (_, true) => Verbosity::Quiet,
            _ => Verbosity::Normal,
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// Trouble, to be shown by `main`.
pub fn run(args: Args, signals: &Signals) -> miette::Result<Outcome> {
    let process = Process::new()?;
    let result = match args.job {
        Job::Bake(args) => process.bake(args),
        Job::Lock(args) => process.lock(args),
        Job::Ci(args) => process.ci(Vec::new(), args),
        Job::List(args) => process.list(&args),
    };
    or_interrupted(result, signals)
}

/// The outcome of an interrupted command is its code, said in a line.
///
/// # Errors
/// Any other error, as it was.
pub fn or_interrupted(result: miette::Result<Outcome>, signals: &Signals) -> miette::Result<Outcome> {
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
        _ => None,
    })?;
    run.is_interruption().then(|| run.exit_code()).flatten()
}

/// The engines, each with the variable that names another command for it.
const ENGINES: [(Engine, &str); 2] = [(Engine::Docker, "LARDER_DOCKER"), (Engine::Podman, "LARDER_PODMAN")];

/// How many threads can run at once here.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the process was started with.
pub struct Process {
    environment: Environment,
    beside: Utf8PathBuf,
    children: Children,
}

impl Process {
    /// Reads the environment, and listens to signals from now on.
    ///
    /// # Errors
    /// Where the working folder or the program itself cannot be found.
    pub fn new() -> miette::Result<Self> {
        let exe =
            std::env::current_exe().into_diagnostic().wrap_err("cannot find where the program itself is")?;
        let exe = Utf8PathBuf::try_from(exe).into_diagnostic()?;
        let environment =
            Environment::of_process().into_diagnostic().wrap_err("cannot use the working folder")?;
        let children = Children::listening().into_diagnostic().wrap_err("cannot listen to signals")?;
        Ok(Self { environment, beside: exe.parent().unwrap_or(&exe).to_owned(), children })
    }

    /// The environment.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The folder that the program itself lies in.
    #[must_use]
    pub fn beside(&self) -> &Utf8Path {
        &self.beside
    }

    /// `bake`.
    ///
    /// # Errors
    /// A larder.toml that cannot be used, or [`BakeError`].
    pub fn bake(&self, args: BakeArgs) -> miette::Result<Outcome> {
        if args.list {
            return self.list(&ListArgs { names: args.names, json: args.json, project: args.project });
        }
        let (root, project) = self.project(&args.project)?;
        let runner = self.runner(&root, args.talk.verbosity());
        let store_flag = args.store.map(|store| self.environment.folder.join(store));
        let options = bake::Options {
            names: args.names,
            rebuild: args.rebuild,
            from_scratch: args.no_cache,
            check: args.check,
            locked: args.locked || (args.update.is_none() && self.is_ci()),
            update: args.update,
            no_image_cache: args.no_image_cache || args.no_cache,
            json: args.json,
            jobs: args.jobs.map_or_else(processors, usize::from),
            doubts: args.doubts,
            engine: args.engine.map(EngineArg::engine),
            engines: self.engines(),
            store: self.settings(&root, &args.project).store_dir(store_flag.as_deref()).ok(),
            store_flag,
            ..self.options()
        };
        let tools = self.tools_of(&root, &args.project);
        Ok(bake::bake(&project, &options, &tools, &runner, &mut Output::report())?)
    }

    /// `lock`.
    ///
    /// # Errors
    /// A larder.toml or a larder.lock that cannot be used, or [`BakeError`].
    pub fn lock(&self, args: LockArgs) -> miette::Result<Outcome> {
        let (root, project) = self.project(&args.project)?;
        let runner = self.runner(&root, args.talk.verbosity());
        let options = bake::Options {
            names: args.names,
            check: args.check,
            update: args.update,
            engine: args.engine.map(EngineArg::engine),
            engines: self.engines(),
            ..self.options()
        };
        let tools = self.tools_of(&root, &args.project);
        Ok(bake::lock(&project, &options, &tools, &runner, &mut Output::report())?)
    }

    /// Whether this is a run of a CI's, as far as the environment tells.
    fn is_ci(&self) -> bool {
        self.environment.get("CI").is_some_and(|value| !matches!(value, "" | "0" | "false"))
    }

    /// `ci`, with other checks before larder.toml's.
    ///
    /// # Errors
    /// Where a check could not be made.
    pub fn ci(&self, checks: Vec<Check>, args: CiArgs) -> miette::Result<Outcome> {
        let (root, project) = self.project(&args.project)?;
        let runner = self.runner(&root, args.talk.verbosity());
        let options = bake::Options {
            engines: self.engines(),
            jobs: processors(),
            locked: self.is_ci(),
            store: self.settings(&root, &args.project).store_dir(None).ok(),
            ..self.options()
        };
        let tools = self.tools_of(&root, &args.project);
        let wanted = ci::Wanted { steps: args.steps, with: args.with };
        ci::ci(&project, checks, &wanted, &options, (&tools, &runner), &mut Output::report())
    }

    /// `list`.
    ///
    /// # Errors
    /// A larder.toml that cannot be used, a name that it does not have.
    pub fn list(&self, args: &ListArgs) -> miette::Result<Outcome> {
        let (_, project) = self.project(&args.project)?;
        list::list(&project, &args.names, args.json, &mut Output::report())
    }

    /// What the environment says of a bake.
    fn options(&self) -> bake::Options {
        bake::Options { variables: self.environment.variables.clone(), ..bake::Options::default() }
    }

    /// The programs to run in the folder `root`.
    #[must_use]
    pub fn tools(&self, root: &Utf8Path) -> Tools {
        self.with_engines(Tools::find(&self.beside, root))
    }

    /// What runs them there.
    #[must_use]
    pub fn runner(&self, root: &Utf8Path, verbosity: Verbosity) -> Runner {
        Runner::new(root.to_owned(), verbosity, self.children.clone())
    }

    fn settings(&self, root: &Utf8Path, args: &ProjectArgs) -> Settings {
        let mut environment = Environment { folder: root.to_owned(), ..self.environment.clone() };
        if let Some(file) = named_file(&self.environment, args) {
            environment.variables.insert(PROJECT_VARIABLE.to_owned(), file.into_string());
        }
        Settings::load(environment)
    }

    /// `LARDER_DOCKER` and `LARDER_PODMAN` name other commands for engines, as they do for imgtar.
    #[must_use]
    pub fn with_engines(&self, tools: Tools) -> Tools {
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

    /// As `tools`, for the file that the command line names: the tools read it, too.
    fn tools_of(&self, root: &Utf8Path, args: &ProjectArgs) -> Tools {
        let tools = self.tools(root);
        match named_file(&self.environment, args) {
            Some(file) => tools.with_variable(PROJECT_VARIABLE, file.as_str()),
            None => tools,
        }
    }

    /// The project's folder and what its larder.toml says.
    fn project(&self, args: &ProjectArgs) -> miette::Result<(Utf8PathBuf, config::Project)> {
        let file = match named_file(&self.environment, args) {
            Some(file) => file,
            None => config::find(&self.environment.folder)?,
        };
        let root = file.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        let given = config::Given {
            set: &args.set,
            build_args: &args.build_arg,
            variables: &|name| self.environment.variables.get(name).cloned(),
        };
        Ok((root, config::load(&file, &given)?))
    }
}

/// The file that the command line or a variable names in the place of the nearest larder.toml.
fn named_file(environment: &Environment, args: &ProjectArgs) -> Option<Utf8PathBuf> {
    let named = args.file.as_deref().map(Utf8Path::as_str).or_else(|| environment.get(PROJECT_VARIABLE));
    named.map(|file| environment.folder.join(file))
}
