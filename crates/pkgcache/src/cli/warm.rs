//! `warm` and `check`: what lock files name, brought into the store, or looked for there.
//!
//! Both ask a private server of this process, `check` one that asks no upstream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::PossibleValuesParser;
use clap::{Args, builder::TypedValueParser};
use miette::{IntoDiagnostic, Result, WrapErr};
use pkgcache::commands::Console;
use pkgcache::locked::{Form, Listed, Locked, NotALock};
use pkgcache::warm::{self, Machine, Outcome as Brought, Progress, Python, Suite, Wanted};
use pkgcache::{Config, Error, Listen, Server};
use serde::Serialize;
use storekit::files::replace::read_capped;
use storekit::{ByteSize, Platform, Store, printable};
use toolkit::words::count;
use toolkit::{Environment, Outcome, output};

use crate::cli::doors;
use crate::cli::machine::Machine as Own;
use crate::cli::options::UpstreamArgs;
use crate::cli::process::{self, Process};

/// Files that take in one another, and the like, are no more.
const MOST_FILES: usize = 1000;
/// So long what was begun has to end.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) upstreams: UpstreamArgs,
    /// The files that name what is wanted; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
    /// What the files are, where their names do not say: cargo, go, npm, pnpm, yarn, requirements,
    /// uv, pylock, poetry, images, apt or sbom
    #[arg(long = "as", value_name = "FORM", hide_possible_values = true, value_parser = form())]
    form: Option<Form>,
    /// The machine that is to install it [default: this one's]
    ///
    /// Of wheels and npm's packages only those for it are meant, and of images its manifest.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Of wheels only those for this version of Python: `3.12`
    #[arg(long, value_name = "VERSION")]
    python: Option<Python>,
    /// Take packages for apt from this suite [default: those that this machine's apt uses]
    ///
    /// `bookworm`, or with components `bookworm:main,contrib`; a folder ends in `/`.
    #[arg(long, value_name = "SUITE")]
    suite: Vec<String>,
    /// What apt's packages recommend is wanted, too
    #[arg(long)]
    recommends: bool,
    /// Ask for so many packages at a time
    #[arg(short, long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

fn form() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(Form::all().map(Form::name))
        .map(|name| Form::all().find(|form| form.name() == name).unwrap_or(Form::Requirements))
}

/// What is to be done about what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It is fetched.
    Warm,
    /// It is named.
    Check,
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    package: &'a str,
    ecosystem: &'static str,
    files: u64,
    size: u64,
    fetched: u64,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// Brings what the files name, or looks for it. `No` where something is not here in the end.
pub(crate) fn run(
    what: What,
    args: &ListArgs,
    config: Config,
    environment: &Environment,
    store: Store,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let (packages, left_out) = read(args, &environment.folder)?;
    let config = process::fitted(Config {
        listen: Listen::local(0),
        offline: config.offline || what == What::Check,
        access_log: None,
        ..config
    });
    let machine = Own::this(environment);
    let wanted = Wanted {
        packages,
        machine: Machine::new(args.platform.clone().unwrap_or_else(Platform::host), args.python),
        suites: suites(args, &machine),
        jobs: args.jobs.into(),
    };
    let bar = Arc::new(Bar::new(console.quiet, what));
    let runtime = process::threads()?;
    let brought = runtime.block_on(async {
        let server = Server::bind(config.clone(), store, Arc::new(Process)).await?;
        let url = format!("http://{}", server.address()?);
        let control = server.control();
        let running = tokio::spawn(server.run());
        let here = doors::here(&config, &url, &machine, environment);
        let brought = warm::bring(&here, wanted, Arc::clone(&bar) as Arc<dyn Progress>).await;
        control.stop();
        // What is still being stored is.
        let _ = tokio::time::timeout(PATIENCE, running).await;
        Ok::<_, Error>(brought)
    });
    bar.line.end();
    runtime.shutdown_timeout(process::LAST);
    tell(what, &brought?, &left_out, console)
}

/// What all files name, each package once, and what was left out of each.
fn read(args: &ListArgs, folder: &Utf8Path) -> Result<(Vec<Locked>, Vec<String>)> {
    let mut open: Vec<Utf8PathBuf> = args.files.iter().rev().map(|path| join(folder, path)).collect();
    let (mut seen, mut known) = (BTreeSet::new(), BTreeSet::new());
    let (mut packages, mut left_out) = (Vec::new(), Vec::new());
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if seen.len() > MOST_FILES {
            return Err(miette::miette!("more than {MOST_FILES} files take one another in"));
        }
        let text = text(&path)?;
        let form = args.form.or_else(|| Form::of(path.file_name().unwrap_or_default(), &text));
        let form = form.ok_or_else(|| {
            let forms: Vec<_> = Form::all().map(Form::name).collect();
            miette::miette!(
                help = format!("say what it is: `--as FORM`, one of {}", forms.join(", ")),
                "`{path}` has not the name of a file that names packages"
            )
        })?;
        let listed = Listed::read(form, &text).map_err(|error| unreadable(&path, form, &error))?;
        for it in &listed.left_out {
            left_out.push(format!("{}: {} {}", path, printable(&it.what), it.why));
        }
        let beside = path.parent().unwrap_or(folder).to_owned();
        open.extend(listed.includes.iter().rev().map(|name| join(&beside, Utf8Path::new(name))));
        for package in listed.packages {
            if known.insert(format!("{package:?}")) {
                packages.push(package);
            }
        }
    }
    Ok((packages, left_out))
}

fn join(folder: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    if path == "-" { path.to_owned() } else { folder.join(path) }
}

fn text(path: &Utf8Path) -> Result<String> {
    use pkgcache::locked::LARGEST;
    let bytes = if path == "-" {
        let mut bytes = Vec::new();
        let mut input = std::io::Read::take(std::io::stdin().lock(), LARGEST);
        std::io::Read::read_to_end(&mut input, &mut bytes).into_diagnostic().wrap_err("cannot read stdin")?;
        bytes
    } else {
        let missing = || miette::miette!(help = "name a lock file, or a list", "`{path}` is not there");
        read_capped(path, LARGEST)?.ok_or_else(missing)?
    };
    String::from_utf8(bytes)
        .map_err(|_| miette::miette!(help = "is it another file than you meant?", "`{path}` is not text"))
}

fn unreadable(path: &Utf8Path, form: Form, error: &NotALock) -> miette::Report {
    miette::miette!(
        code = "pkgcache::not_a_lock",
        help = format!("it was read as `{}`; `--as FORM` says what else it is", form.name()),
        "cannot read `{path}`: {}",
        printable(&error.to_string())
    )
}

fn suites(args: &ListArgs, machine: &Own) -> Vec<Suite> {
    let recommends = args.recommends;
    if !args.suite.is_empty() {
        let suite = |text: &String| {
            let (name, components) = text.split_once(':').unwrap_or((text, "main"));
            let components = components.split(',').filter(|it| !it.is_empty()).map(str::to_owned);
            Suite { uri: None, name: name.to_owned(), components: components.collect(), recommends }
        };
        return args.suite.iter().map(suite).collect();
    }
    let sources = machine.apt_sources().into_iter();
    sources
        .flat_map(|source| {
            let of = move |name: String| Suite {
                uri: Some(source.uri.clone()),
                name,
                components: source.components.clone(),
                recommends,
            };
            source.suites.clone().into_iter().map(of)
        })
        .collect()
}

fn tell(what: What, brought: &[Brought], left_out: &[String], console: &mut Console<'_>) -> Result<Outcome> {
    for it in brought {
        let problem = it.problem.as_deref();
        if console.json {
            let row = Row {
                package: &it.label,
                ecosystem: it.ecosystem.name(),
                files: it.files,
                size: it.bytes,
                fetched: it.fetched,
                ok: problem.is_none(),
                problem,
            };
            output::json_line(&mut *console.out, &row).map_err(Error::Output)?;
        } else if let Some(problem) = problem {
            let name = it.ecosystem.name();
            writeln!(console.out, "{} ({name}): {}", it.label, printable(problem)).map_err(Error::Output)?;
        }
    }
    console.out.flush().map_err(Error::Output)?;
    let missing = brought.iter().filter(|it| it.problem.is_some()).count() as u64;
    if !console.quiet {
        for line in left_out.iter().filter(|_| console.verbose) {
            output::say(line);
        }
        if !left_out.is_empty() && !console.verbose {
            let them = count(left_out.len() as u64, "entry");
            output::say(&format!("{them} left out, since no index has them (`--verbose` names them)"));
        }
        output::say(&summary(what, brought, missing));
    }
    Ok(Outcome::from_bool(missing == 0))
}

fn summary(what: What, brought: &[Brought], missing: u64) -> String {
    let sum = |of: fn(&Brought) -> u64| brought.iter().map(of).fold(0, u64::saturating_add);
    let (files, bytes, fetched) = (sum(|it| it.files), sum(|it| it.bytes), sum(|it| it.fetched));
    let packages = count(brought.len() as u64, "package");
    let here = format!("{packages}, {} with {}", count(files, "file"), ByteSize(bytes));
    let came = if what == What::Warm { format!(", {} fetched", ByteSize(fetched)) } else { String::new() };
    let lacks = match missing {
        0 => String::new(),
        1 => "; 1 package is not complete".to_owned(),
        n => format!("; {n} packages are not complete"),
    };
    format!("{here}{came}{lacks}")
}

/// How far it is, at a terminal.
struct Bar {
    line: toolkit::bar::Bar,
    bytes: AtomicU64,
}

impl Bar {
    fn new(quiet: bool, what: What) -> Self {
        let verb = if what == What::Warm { "fetching" } else { "checking" };
        let template = format!("{verb} {{wide_bar}} {{pos}}/{{len}} {{msg}} {{eta}}");
        Self { line: toolkit::bar::Bar::new(quiet, &template), bytes: AtomicU64::new(0) }
    }
}

impl Progress for Bar {
    fn expect(&self, packages: usize) {
        self.line.expect(packages as u64);
    }

    fn add(&self, bytes: u64) {
        let so_far = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.line.say(ByteSize(so_far).to_string());
    }

    fn done(&self) {
        self.line.advance(1);
    }
}
