//! The command line, and what of the process's environment the library is told.

mod engine;
mod limits;
mod list;
mod out;
mod what_if;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand};
use gcctl::Error;
use gcctl::commands::{self, Console, Id, Pinned, Until, Wanted};
use gcctl::extra;
use gcctl::limits::{Layer, Layers};
use gcctl::show::files::FileKind;
use gcctl::tier::command as tier;
use gcctl::tier::limits::TierLimits;
use storekit::error::At;
use storekit::{Pin, Store};
use toolkit::{Common, Outcome, Output, Settings, Signals};

use limits::{ForceArg, LimitArgs, PlaceArgs};
use list::ListArgs;
use out::{CleanArgs, OutArgs, read_ids};

/// Show what a store holds and what it costs, and keep it within limits
///
/// Sizes are bytes on disk, and shared parts count once. An image counts as used when it is saved,
/// loaded, exported, extracted from, or pulled from `imgtar serve`. `--store DIR` must name a store
/// that is there; DIR and the folders in it may be symbolic links.
///
/// Exit codes: 0 done, and within the limits; 1 a limit cannot be met, or a key is not there; 2
/// trouble, or a limit waits for `--force`; 3 the store is damaged; 129, 130, 143 stopped by HUP,
/// INT, TERM, with the store whole.
#[derive(Parser)]
#[command(name = "gcctl", version, styles = Styles::plain(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    job: Job,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
enum Job {
    #[command(flatten)]
    Store(StoreJob),
    /// Show and remove what docker or podman keeps: images, containers, steps of builds
    ///
    /// By their own commands, which `LARDER_DOCKER` and `LARDER_PODMAN` name. No store is needed.
    #[command(subcommand)]
    Engine(engine::EngineJob),
}

/// What is about a store.
#[derive(Subcommand)]
enum StoreJob {
    /// List the images, the packages or other files, the last used first
    ///
    /// SIZE is all that it needs, OWN is what would be free if it alone went, USES is how often an
    /// image was loaded, exported or pulled.
    Ls(ListArgs),
    /// Show what is known of images and packages, and what they share with which others
    ///
    /// Of an image: what made it, its layers, how long its build took, what that fetched. Of a
    /// package: where it is from, who vouches for it, which images were built with it. What would
    /// be free without it, and what goes with it, is exact; so is what would be free without all of
    /// several. Exits 1 where one is not there.
    Info {
        /// Keys, beginnings of keys or images' names; or URLs of packages
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
    },
    /// Show what the store occupies, by kind
    ///
    /// The parts add up to the whole folder exactly, as `du` counts it. At a terminal each has a
    /// bar, with `--verbose` there are tables of images by name and of packages by ecosystem. What
    /// the folders of `[[extra]]` occupy stands below, in no sum.
    Df,
    /// Show how well the caches did, by day (UTC)
    ///
    /// Of images: how many bakes asked for, what share was found and where (`machine` is this
    /// store, others are tiers), how many were built, the build time that was saved, and the bytes
    /// that moved to and from engines and tiers. Of packages: requests, what share the store
    /// answered, the bytes, and the seconds that it would have taken to fetch them. Then the same
    /// by image, of those that were asked for by their keys, and by ecosystem and source, with the
    /// rate of each as it was measured.
    Stats {
        /// So many days, today included
        #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// Write a page about the store: one HTML file, whole in itself
    ///
    /// A picture of the disk, what the next run would remove, the share of hits by day, ages, the
    /// largest and the least useful images. It has no script and asks nobody for anything.
    Report {
        /// Where to write it; `-` is stdout
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: Utf8PathBuf,
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Read everything through, and tell what is damaged
    ///
    /// Blobs, bodies of packages and what is in the trash against their digests, key files,
    /// entries, pins, what is kept beside images, index.json, and hashctx's files. Exits 3 where
    /// something is damaged, mended or not. What lies damaged in the trash is told, and is no harm.
    /// `imgtar verify` also compares layers with what an image's config says of them, `pkgcache
    /// verify` bodies with what an index announced.
    Verify {
        /// Move what is damaged to trash/damaged, take out what cannot be understood or had, and
        /// make derived files anew
        ///
        /// An image that lacks a blob stays, for the next save of it to mend.
        #[arg(long)]
        repair: bool,
    },
    /// Show what other limits of bytes would have come to, by what was asked for since
    ///
    /// Loads, pulls and saves of images, and requests for packages, are played again in a store of
    /// that size that removes what does not fit, beside what was recorded and what no order of
    /// removal could have beaten, even one that knows the future. The first time that something is
    /// asked for is never a hit. An image counts with its share of what it shares, as far as it is
    /// known, and with its build's seconds; a package with those that it was measured to take, or
    /// that its bytes take at the rate of its source. Of days that are over, only the last time
    /// that day is on record, and how often.
    WhatIf(what_if::WhatIfArgs),
    /// Print what would go and why, and remove nothing
    ///
    /// Exits 0 whatever it finds. With `--json` it prints what `apply` reads. What is over the
    /// limits of an `[[extra]]` folder of larder.toml is part of it.
    ///
    /// With `--listing` it is about another place: `imgtar ls --tier PLACE --json | gcctl plan
    /// --listing - --tier NAME --json | imgtar rm --tier PLACE --plan -`, or `larder tier collect
    /// NAME`.
    Plan {
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Remove exactly what a plan names
    ///
    /// Each item is looked at again: an image that was used, pinned or saved anew since the plan
    /// was made stays, and so does a blob that an image needs now or that is in use. Of a folder
    /// that `[[extra]]` names, what was used since stays, and what is in a folder that it does not
    /// name is refused. What a limit takes that asks for `--force` stays, and all else goes.
    Apply {
        /// A plan, as `gcctl plan --json` prints it; `-` is stdin
        #[arg(default_value = "-")]
        file: Utf8PathBuf,
        #[command(flatten)]
        force: ForceArg,
    },
    /// Remove what is over the limits, and what no image needs
    ///
    /// The same as `gcctl plan --json | gcctl apply -`. A limit that asks for `--force` is held
    /// back, and all else goes. What was not used for longest goes first;
    /// of what was last used within the same five minutes, what was used the least. What goes stays
    /// in the trash for a while, and counts; a limit of bytes that leaves no room for it empties
    /// the trash at once. What is over the limits of an `[[extra]]` folder is deleted for good, but
    /// not by `--background`.
    Run {
        #[command(flatten)]
        limits: LimitArgs,
        /// Print what would go, as `plan` does, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Collect only where a limit of bytes is exceeded, gently, and print nothing
        ///
        /// `larder bake` and `pkgcache` start it when they have stored something, unless
        /// `background = false` in [gcctl] or `LARDER_BACKGROUND=no` says otherwise. One works at a
        /// time, at the lowest priority, and no more often than every minute; what `--force` is
        /// needed for is left. `gcctl limits` tells what it did.
        #[arg(long, conflicts_with_all = ["dry_run", "force"])]
        background: bool,
        #[command(flatten)]
        force: ForceArg,
    },
    /// Keep images, whatever the limits say
    ///
    /// A pin belongs to the key: it outlives a new save under it. KEY may be the first 4 or more
    /// hex digits of a key, or a name of the image, such as `app:1` or the one in larder.toml: of
    /// several with the name it is the newest. Exit code 2, and a list, where several keys begin
    /// so. What has a `*`, `?`, `[` or `{` is a pattern, and holds all images whose key or name is
    /// like it, those that come, too. A new pin of the same takes the place of the one before.
    Pin {
        /// The images: keys, beginnings of keys, names, or patterns of keys and names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Pinned>,
        /// Let it go again after this day (UTC) or at this time
        #[arg(long, value_name = "DATE")]
        until: Option<Until>,
        /// Keep what a rebuild of it needs, too
        ///
        /// The images that its build stood on, as far as they are stored, and the packages that it
        /// fetched through pkgcache. What of these is not stored cannot be held, and is named: a
        /// base that only an engine or a registry has.
        #[arg(long)]
        closure: bool,
    },
    /// Let pinned images go again
    Unpin {
        /// The images: keys, beginnings of keys, names, or patterns as they were pinned
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Pinned>,
    },
    /// List the pins
    Pins,
    /// Show each limit, where it comes from, and how it stands
    ///
    /// From an option, a variable, a settings file, by default, or as another limit says; `none`
    /// switches a limit off in each of them. NOW is what there is: bytes of images and packages,
    /// with trash; images without what refers to them; the longest time that something is unused.
    Limits {
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Remove all images that are not pinned, and what nothing needs
    ///
    /// Package downloads, and what hashctx remembers of folders, are deleted at once: both can be
    /// had again. What a pin holds stays.
    Clean {
        #[command(flatten)]
        what: CleanArgs,
        #[command(flatten)]
        out: OutArgs,
    },
    /// Remove what is named, and what nothing needs
    ///
    /// As `run` does it: images go into the trash (`undo` brings them back), with what refers to
    /// them; packages are deleted at once. Where one of several cannot be removed (it is not
    /// stored, or a pin holds it), none is: exit code 1, and which one is said.
    Rm {
        /// Keys, beginnings of keys, names of images, URLs of packages; `-` reads more from stdin,
        /// one a line or each with a NUL behind it, as `ls -0` prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Remove a damaged image, named by its whole key, that a pattern or a closure pin may hold
        ///
        /// What is pinned by its own key stays, as does what is not damaged.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        out: OutArgs,
    },
    /// Bring back what the last run removed, and print the keys
    ///
    /// What is brought back counts as used now.
    Undo,
}

/// Does what the command line says.
pub(crate) fn run(cli: &Cli, signals: &Signals) -> miette::Result<Outcome> {
    let common = &cli.common;
    let settings = Settings::of_process("gcctl", common)?;
    let folder = settings.store_dir(common.store.as_deref())?;
    let mut out = BufWriter::new(cli.job.output());
    let mut console = Console {
        out: &mut out,
        err: &mut io::stderr(),
        json: common.json,
        quiet: common.quiet,
        verbose: common.verbose,
        bold: common.color.is_wanted(io::stdout().is_terminal()),
    };
    let job = match &cli.job {
        Job::Store(job) => job,
        Job::Engine(job) => return engine::run(job, &settings, signals, &mut console),
    };
    if let StoreJob::Plan { limits, place } = job
        && let (Some(file), Some(name)) = (&place.listing, &place.tier)
    {
        let limits = TierLimits::load(&settings, name, limits.layer())?;
        let (here, force) = (&settings.environment().folder, place.force.into());
        return Ok(tier::plan(&mut *open(file)?, name, &limits, here, force, &mut console)?);
    }
    let store = commands::open(&folder, common.store.is_some(), &mut console)?.with_stop(signals.stop());
    // What only looks leaves damage where it is.
    let store = if job.may_change() { store } else { store.left_alone() };
    let outcome = dispatch(job, &settings, &store, signals, &mut console)?;
    // What a change or a verdict prints was flushed before; a listing's reader may go at the very
    // end.
    out.flush().at("write", Utf8Path::new("stdout"))?;
    Ok(outcome)
}

impl Job {
    /// Whether a reader that goes ends the command.
    fn output(&self) -> Output {
        match self {
            Self::Store(
                StoreJob::Ls(_)
                | StoreJob::Info { .. }
                | StoreJob::Df
                | StoreJob::Limits { .. }
                | StoreJob::Pins
                | StoreJob::Plan { .. },
            ) => Output::listing(),
            Self::Engine(job) if !matches!(job, engine::EngineJob::Apply { .. }) => Output::listing(),
            _ => Output::report(),
        }
    }
}

impl StoreJob {
    /// Whether it does more than look.
    fn may_change(&self) -> bool {
        match self {
            Self::Apply { .. } | Self::Verify { .. } | Self::Undo => true,
            Self::Run { dry_run, .. } => !dry_run,
            Self::Clean { out, .. } | Self::Rm { out, .. } => !out.dry_run,
            _ => false,
        }
    }
}

fn dispatch(
    job: &StoreJob,
    settings: &Settings,
    store: &Store,
    signals: &Signals,
    console: &mut Console<'_>,
) -> miette::Result<Outcome> {
    let layers = |options: Layer| Layers::load(settings, options);
    let limits = |options: Layer| Ok::<_, miette::Report>(layers(options)?.limits());
    let extras = || extra::settings::load(settings, store);
    Ok(match job {
        StoreJob::Ls(args) => match args.check().map(|()| args.files())? {
            Some(FileKind::Extra) => commands::ls_extra(&extras()?, &args.listing(), console)?,
            Some(kind) => commands::ls_files(store, kind, &args.listing(), console)?,
            None => commands::ls(store, &args.listing(), console)?,
        },
        StoreJob::Info { ids } => commands::info(store, ids, console)?,
        StoreJob::Df => {
            // The store's own numbers need no settings.
            let extras = extras().unwrap_or_else(|error| {
                console.say(format!("gcctl: warning: {error}; extra folders are left out"));
                Vec::new()
            });
            commands::df(store, &extras, columns(), console)?
        }
        StoreJob::Stats { days } => commands::stats(store, *days, console)?,
        StoreJob::Report { output, limits: args } => {
            commands::report(store, output, &limits(args.layer())?, &extras()?, console)?
        }
        StoreJob::Verify { repair } => commands::verify(store, *repair, console)?,
        StoreJob::WhatIf(args) => commands::what_if(store, &args.wanted(), console)?,
        StoreJob::Plan { limits: args, place: PlaceArgs { force, .. } }
        | StoreJob::Run { limits: args, dry_run: true, force: ForceArg { force }, .. } => {
            let (limits, force) = (limits(args.layer())?, (*force).into());
            commands::plan(store, &Wanted::OverLimits, &limits, &extras()?, force, console)?
        }
        StoreJob::Run { limits: args, background: true, .. } => {
            let layers = layers(args.layer())?;
            if !layers.background() {
                return Ok(Outcome::Yes);
            }
            signals.held(|| commands::background(store, &layers.limits(), &signals.stop()))?
        }
        StoreJob::Run { limits: args, dry_run: false, force, .. } => {
            let limits = limits(args.layer())?;
            let (wanted, extras, stop) = (&Wanted::OverLimits, extras()?, signals.stop());
            let force = force.force.into();
            signals.held(|| commands::run(store, wanted, &limits, &extras, force, &stop, console))?
        }
        StoreJob::Clean { what, out } => {
            let wanted = Wanted::All(what.clean());
            out.take(store, &wanted, &limits(out.layer())?, signals, console)?
        }
        StoreJob::Rm { ids, force, out } => {
            let ids = if ids.iter().any(|id| id == "-") { read_ids(ids)? } else { ids.clone() };
            let Some(names) = commands::meant(store, &ids, (*force).into(), console)? else {
                return Ok(Outcome::No);
            };
            out.take(store, &Wanted::Named(names), &limits(out.layer())?, signals, console)?
        }
        StoreJob::Limits { limits: args } => {
            commands::limits(store, &layers(args.layer())?, &extras()?, console)?
        }
        StoreJob::Apply { file, force } => {
            if file == "-" && io::stdin().is_terminal() {
                console.say("waiting for a plan on stdin: `gcctl plan --json | gcctl apply` hands one on");
            }
            let plan = commands::read_plan(&mut *open(file)?)?;
            let extras = if plan.extras.is_empty() { Vec::new() } else { extras()? };
            let (force, stop) = (force.force.into(), signals.stop());
            signals.held(|| commands::apply(store, &plan, &extras, force, &stop, console))?
        }
        StoreJob::Pin { keys, until, closure } => {
            let pin = Pin { until: until.map(|until| until.0), closure: *closure };
            commands::pin(store, keys, pin, console)?
        }
        StoreJob::Pins => commands::pins(store, console)?,
        StoreJob::Unpin { keys } => commands::unpin(store, keys, console)?,
        StoreJob::Undo => commands::undo(store, console)?,
    })
}

/// How wide the terminal is that stdout is, in columns.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col.into()).filter(|columns| *columns > 0)
}

fn open(file: &Utf8Path) -> Result<Box<dyn BufRead>, Error> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(file).at("read", file)?)))
}
