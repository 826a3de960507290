//! The command line, and what of the process's environment the library is told.

mod args;
mod compose;

pub use args::{
    Args, BakeArgs, CiArgs, ComposeArgs, InitArgs, ListArgs, LockArgs, ProfileArgs, ProjectArgs,
    ReferenceArgs, TagsArgs, TalkArgs, TierArgs, UnbakeArgs, WhyArgs,
};

use args::{Job, TierJob};
use std::io::{IsTerminal, Write};

use camino::{Utf8Path, Utf8PathBuf};
use miette::{IntoDiagnostic, WrapErr};
use toolkit::settings::PROJECT_VARIABLE;
use toolkit::{Engine, Environment, Outcome, Output, Settings, Signals, background};

use crate::bake::{self, BakeError};
use crate::ci::{self, Check};
use crate::config;
use crate::config::tiers::profile::Profile;
use crate::depot::Desk;
use crate::init;
use crate::list;
use crate::occasion::{self, Occasion, PROFILE_VARIABLE};
use crate::process::children::Children;
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::tools::Tools;
use crate::tier::Route;
use crate::why;

/// Does what the command line says.
///
/// # Errors
/// Trouble, to be shown by `main`.
pub fn run(args: Args, signals: &Signals) -> miette::Result<Outcome> {
    let process = Process::new()?;
    let result = match args.job {
        Job::Init(args) => process.init(&args),
        Job::Bake(args) => process.bake(args),
        Job::Lock(args) => process.lock(args),
        Job::Ci(args) => process.ci(Vec::new(), args),
        Job::List(args) => process.list(&args),
        Job::Tags(args) => process.tags(&args),
        Job::Tier(args) => process.tier(&args),
        Job::Reference(args) => reference(&args),
        Job::Unbake(args) => process.unbake(&args),
        Job::Why(args) => process.why(&args),
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

/// How many threads can run at once here.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the process was started with. Its program has to begin with [`toolkit::guard::enter`].
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

    /// `init`.
    ///
    /// # Errors
    /// [`init::InitError`]; a file that cannot be written.
    pub fn init(&self, args: &InitArgs) -> miette::Result<Outcome> {
        init::init(&self.environment.folder, args.from_compose.as_deref(), &mut Output::report())
    }

    /// `bake`.
    ///
    /// # Errors
    /// A larder.toml that cannot be used, or [`BakeError`].
    pub fn bake(&self, args: BakeArgs) -> miette::Result<Outcome> {
        if args.compose.compose {
            return self.bake_composed(args);
        }
        if args.list {
            return self.list(&ListArgs { names: args.names, json: args.json, project: args.project });
        }
        let (root, project) = self.project(&args.project)?;
        let runner = self.runner(&root, args.talk.verbosity());
        let tools = self.tools_of(&root, &args.project);
        let mut routed = self.routed(&project, &args.profile, &runner)?;
        if args.to_tiers {
            if let Some(why) = routed.route.unwritten(&routed.occasion.because()) {
                runner.tell(&format!("nothing is baked: {why}"));
                return Ok(Outcome::Yes);
            }
            routed = routed.untagged();
        }
        let options = self.bake_options(args, &root, routed);
        Ok(bake::bake(&project, &options, &tools, &runner, &mut Output::report())?)
    }

    /// What `bake` is told, for the library; `routed` says what this kind of build reads and
    /// writes.
    fn bake_options(&self, args: BakeArgs, root: &Utf8Path, routed: bake::Options) -> bake::Options {
        let store_flag = args.store.map(|store| self.environment.folder.join(store));
        bake::Options {
            names: args.names,
            rebuild: args.rebuild,
            from_scratch: args.no_cache || args.prove,
            prove: args.prove,
            check: args.check || args.dry_run,
            dry_run: args.dry_run || (args.prove && !args.strict),
            locked: args.locked || (args.update.is_none() && self.is_ci()),
            update: args.update,
            no_image_cache: args.no_image_cache || args.no_cache,
            no_package_cache: args.no_package_cache,
            json: args.json,
            live: args.talk.verbosity() == Verbosity::Normal && self.draws(),
            jobs: args.jobs.map_or_else(processors, usize::from),
            doubts: args.doubts,
            summary: args.summary.map(|file| self.environment.folder.join(file)),
            engine: args.engine,
            engines: self.engines(),
            store: self.settings(root, &args.project).store_dir(store_flag.as_deref()).ok(),
            store_flag,
            after_bake: self.collects(root, &args.project),
            in_background: !background::is_off(self.environment.get(background::VARIABLE)),
            ..routed
        }
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
            engine: args.engine,
            engines: self.engines(),
            ..self.options()
        };
        let tools = self.tools_of(&root, &args.project);
        Ok(bake::lock(&project, &options, &tools, &runner, &mut Output::report())?)
    }

    /// Whether `[gcctl] after-bake` is set. What is wrong with the table is for gcctl to say.
    fn collects(&self, root: &Utf8Path, args: &ProjectArgs) -> bool {
        let table: toml::Table = self.settings(root, args).table("gcctl").unwrap_or_default();
        table.get("after-bake").and_then(toml::Value::as_bool).unwrap_or(false)
    }

    /// Whether a live view can be drawn: on a terminal that can move its cursor.
    fn draws(&self) -> bool {
        let is_dumb = self.environment.get("TERM").is_none_or(|term| matches!(term, "" | "dumb"));
        !is_dumb && std::io::stderr().is_terminal()
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
            live: args.talk.verbosity() == Verbosity::Normal && self.draws(),
            locked: self.is_ci(),
            store: self.settings(&root, &args.project).store_dir(None).ok(),
            ..self.routed(&project, &args.profile, &runner)?
        };
        let tools = self.tools_of(&root, &args.project);
        let folder = &self.environment.folder;
        let wanted = ci::Wanted {
            steps: args.steps,
            with: args.with,
            from: args.from,
            skip: args.skip,
            junit: args.junit.map(|file| folder.join(file)),
            annotate: args.annotate,
        };
        let (mut out, programs) = (Output::report(), (&tools, &runner));
        match args.emit {
            Some(forge) => ci::emit(&project, forge.forge(), &options, programs, &mut out),
            None if args.list => ci::list(&project, &wanted, &mut out),
            None if args.dry_run => ci::dry_run(&project, &wanted, &options, programs, &mut out),
            None => ci::ci(&project, checks, &wanted, &options, programs, &mut out),
        }
    }

    /// `list`.
    ///
    /// # Errors
    /// A larder.toml that cannot be used, a name that it does not have.
    pub fn list(&self, args: &ListArgs) -> miette::Result<Outcome> {
        let (_, project) = self.project(&args.project)?;
        list::list(&project, &args.names, args.json, &mut Output::report())
    }

    /// `tags`.
    ///
    /// # Errors
    /// A larder.toml that cannot be used, a name that it does not have; a registry that does not
    /// tell what is there.
    pub fn tags(&self, args: &TagsArgs) -> miette::Result<Outcome> {
        let (root, project) = self.project(&args.project)?;
        let runner = self.runner(&root, args.talk.verbosity());
        let options =
            bake::Options { names: args.names.clone(), ..self.routed(&project, &args.profile, &runner)? };
        let tools = self.tools_of(&root, &args.project);
        bake::tags::list(&project, &options, args.json, (&tools, &runner), &mut Output::report())
    }

    /// `tier`.
    ///
    /// # Errors
    /// A larder.toml that cannot be used; a tier that does not answer.
    pub fn tier(&self, args: &TierArgs) -> miette::Result<Outcome> {
        let (names, common) = match &args.job {
            TierJob::Ls { common, .. } | TierJob::Df { common, .. } | TierJob::Collect { common, .. } => {
                (Vec::new(), common)
            }
            TierJob::Check { images, common, .. } | TierJob::Warm { images, common, .. } => {
                (images.clone(), common)
            }
        };
        let (root, project) = self.project(&common.project)?;
        let runner = self.runner(&root, common.talk.verbosity());
        let options = bake::Options {
            names,
            engines: self.engines(),
            jobs: processors(),
            locked: self.is_ci(),
            store: self.settings(&root, &common.project).store_dir(None).ok(),
            ..self.routed(&project, &common.profile, &runner)?
        };
        let (tools, is_read_only) = (self.tools_of(&root, &common.project), self.is_read_only()?);
        let desk =
            Desk { project: &project, options: &options, tools: &tools, runner: &runner, is_read_only };
        let mut out = Output::report();
        match &args.job {
            TierJob::Ls { name: None, .. } => desk.list(&mut out),
            TierJob::Ls { name: Some(name), json, .. } => desk.entries(name, *json, &mut out),
            TierJob::Df { name, .. } => desk.size(name, &mut out),
            TierJob::Check { name, .. } => desk.check(name, &mut out),
            TierJob::Warm { name, .. } => desk.warm(name, &mut out),
            TierJob::Collect { name, dry_run, force, .. } => desk.collect(name, *dry_run, *force, &mut out),
        }
    }

    /// `why`. Outside a project, only what is stored can be asked for.
    ///
    /// # Errors
    /// A larder.toml that cannot be used; [`why::WhyError`]; what a check ends with.
    pub fn why(&self, args: &WhyArgs) -> miette::Result<Outcome> {
        let project = match self.project(&args.project) {
            Err(error) if is_missing(&error) => None,
            project => Some(project?),
        };
        let root = project.as_ref().map_or(&self.environment.folder, |(root, _)| root);
        let runner = self.runner(root, args.talk.verbosity());
        let store_flag = args.store.as_ref().map(|store| self.environment.folder.join(store));
        let options = bake::Options {
            json: args.json,
            engine: args.engine,
            engines: self.engines(),
            jobs: processors(),
            locked: self.is_ci(),
            store: self.settings(root, &args.project).store_dir(store_flag.as_deref()).ok(),
            store_flag,
            ..match &project {
                Some((_, project)) => self.routed(project, &args.profile, &runner)?,
                None => self.options(),
            }
        };
        let tools = self.tools_of(root, &args.project);
        let project = project.as_ref().map(|(_, project)| project);
        why::why(project, &args.name, &options, (&tools, &runner), &mut Output::report())
    }

    /// What the environment says of a bake.
    fn options(&self) -> bake::Options {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        bake::Options {
            variables: self.environment.variables.clone(),
            host: Some(host),
            ..bake::Options::default()
        }
    }

    /// The same, with what this kind of build reads, writes and tags.
    fn routed(
        &self,
        project: &config::Project,
        args: &ProfileArgs,
        runner: &Runner,
    ) -> miette::Result<bake::Options> {
        if project.tiers.is_empty() && project.profiles.is_empty() && args.profile.is_none() {
            let route = Route::of(project, None, self.is_read_only()?);
            return Ok(bake::Options { route, ..self.options() });
        }
        let occasion = Occasion::find(&self.environment.variables, runner);
        let flag = args.profile.as_deref().map(|name| (name, "`--profile`"));
        let variable = || self.environment.get(PROFILE_VARIABLE).map(|name| (name, PROFILE_VARIABLE));
        let profile = occasion::choose(&project.profiles, flag.or_else(variable), &occasion)?;
        let route = Route::of(project, profile, self.is_read_only()?);
        if flag.or_else(variable).is_none() && !project.profiles.is_empty() {
            tell_untold(&occasion, profile, runner);
        }
        if let Some(name) = &route.profile {
            runner.say(&format!("# the profile of this build: {name}"));
        }
        if self.environment.get("LARDER_SIGNING_KEY").is_none()
            && let Some(tier) = route.write.iter().find(|tier| !tier.signed_by.is_empty())
        {
            let tier = &tier.name;
            runner.tell(&format!(
                "warning: LARDER_SIGNING_KEY is not set: what is built is not signed, and nobody takes it from the tier `{tier}`"
            ));
        }
        Ok(bake::Options { route, occasion, ..self.options() })
    }

    /// Whether the user has forbidden to write to anything but this machine's store. No file of a
    /// checkout is asked.
    fn is_read_only(&self) -> miette::Result<bool> {
        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        struct User {
            read_only: bool,
            #[serde(rename = "version")]
            _version: Option<String>,
        }
        let is_set = |value: &str| !matches!(value, "0" | "false");
        let by_variable = self.environment.get("LARDER_READ_ONLY").is_some_and(is_set);
        Ok(by_variable || Settings::of_user(self.environment.clone()).table::<User>("larder")?.read_only)
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
        Engine::ALL
            .into_iter()
            .fold(tools, |tools, engine| tools.with_engine(engine, self.environment.get(engine.variable())))
    }

    /// The engines to choose from: those that a variable names a command for, else those whose
    /// commands are on PATH.
    fn engines(&self) -> Vec<Engine> {
        let path = self.environment.get("PATH").unwrap_or_default();
        let is_named = |engine: &Engine| self.environment.get(engine.variable()).is_some();
        let is_there =
            |engine: &Engine| std::env::split_paths(path).any(|folder| folder.join(engine.name()).is_file());
        let named: Vec<_> = Engine::ALL.into_iter().filter(is_named).collect();
        if named.is_empty() { Engine::ALL.into_iter().filter(is_there).collect() } else { named }
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

/// Tells where git does not say which branch or tag is built, and a profile may be missed for that.
fn tell_untold(occasion: &Occasion, profile: Option<&Profile>, runner: &Runner) {
    let Some(untold) = &occasion.untold else { return };
    let kind = if untold.is_trouble { "warning" } else { "note" };
    let then = match profile {
        Some(profile) if untold.is_trouble => {
            format!("this counts as a build of the profile `{}`", profile.name)
        }
        None if untold.is_trouble || runner.verbosity() > Verbosity::Quiet => {
            bake::tags::NO_PROFILE.to_owned()
        }
        // A profile that counts, and it is known that no other one does.
        Some(_) | None => return,
    };
    runner.tell(&format!("{kind}: {then}: {}", untold.why));
}

/// `reference`.
fn reference(args: &ReferenceArgs) -> miette::Result<Outcome> {
    let text =
        if args.schema { format!("{:#}\n", config::reference::schema()) } else { config::reference::page() };
    let mut out = Output::report();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .into_diagnostic()
        .wrap_err("cannot write to stdout")?;
    Ok(Outcome::Yes)
}

fn is_missing(error: &miette::Report) -> bool {
    matches!(error.downcast_ref(), Some(config::ConfigError::Missing { .. }))
}

/// The file that the command line or a variable names in the place of the nearest larder.toml.
fn named_file(environment: &Environment, args: &ProjectArgs) -> Option<Utf8PathBuf> {
    let named = args.file.as_deref().map(Utf8Path::as_str).or_else(|| environment.get(PROJECT_VARIABLE));
    named.map(|file| environment.folder.join(file))
}
