//! The command line, and what of the process's environment the library is told.

mod engine;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::styling::Styles;
use clap::{Args, Parser, Subcommand, ValueEnum};
use gcctl::commands::{self, Console, Force, Id, Listing, Wanted};
use gcctl::plan::Clean;
use gcctl::show::ls::{Filter, Sort};
use gcctl::tier::command as tier;
use gcctl::tier::limits::TierLimits;
use gcctl::{Error, Limits};
use globset::Glob;
use storekit::error::At;
use storekit::{Age, ByteSize, KeyOrName, Store, WrittenSize};
use toolkit::{Common, Outcome, Output, Settings, Signals};

/// Show what a store holds and what it costs, and keep it within limits
///
/// Sizes are bytes on disk, and shared parts count once. An image counts as used when it is saved,
/// loaded, exported, extracted from, or pulled from `imgtar serve`. `--store DIR` must name a store
/// that is there; DIR and the folders in it may be symbolic links.
///
/// Exit codes: 0 done, and within the limits; 1 a limit cannot be met, or a key is not there; 2
/// trouble; 3 the store is damaged; 129, 130, 143 stopped by HUP, INT, TERM, with the store whole.
#[derive(Parser)]
#[command(name = "gcctl", version, styles = Styles::plain(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    job: Job,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Subcommand)]
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
    /// List the images or the packages, the last used first
    ///
    /// SIZE is all that it needs, OWN is what would be free if it alone went, USES is how often an
    /// image was loaded, exported or pulled.
    Ls(ListArgs),
    /// Show what is known of an image or a package, and what it shares with which others
    ///
    /// Exits 1 where it is not there.
    Info {
        /// A key, the beginning of one or an image's name; or the URL of a package
        id: Id,
    },
    /// Show what the store occupies, by kind
    ///
    /// The parts add up to the whole folder exactly, as `du` counts it.
    Df,
    /// Show how well the caches did, by day (UTC)
    ///
    /// Of images: how many bakes asked for, what share was found and where (`machine` is this
    /// store, others are tiers), how many were built, the build time that was saved, and the bytes
    /// that moved to and from engines and tiers. Of packages: requests, what share the store
    /// answered, and the bytes.
    Stats {
        /// So many days, today included
        #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// Print what would go and why, and remove nothing
    ///
    /// Exits 0 whatever it finds. With `--json` it prints what `apply` reads.
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
    /// was made stays, and so does a blob that an image needs now or that is in use.
    Apply {
        /// A plan, as `gcctl plan --json` prints it; `-` is stdin
        #[arg(default_value = "-")]
        file: Utf8PathBuf,
        #[command(flatten)]
        force: ForceArg,
    },
    /// Remove what is over the limits, and what no image needs
    ///
    /// The same as `gcctl plan --json | gcctl apply -`. Images that were not used for long and were
    /// not used often go first: the time since the last use counts, halved by 1 use, a third of it
    /// by 3, a quarter by 7. What goes stays in the trash for a while, and counts; a limit of bytes
    /// that leaves no room for it empties the trash at once.
    Run {
        #[command(flatten)]
        limits: LimitArgs,
        /// Print what would go, as `plan` does, and remove nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        force: ForceArg,
    },
    /// Keep images for ever, whatever the limits say
    ///
    /// A pin belongs to the key: it outlives a new save under it. KEY may be the first 4 or more
    /// hex digits of a key, or a name of the image, such as `app:1` or the one in larder.toml: of
    /// several with the name it is the newest. Exit code 2, and a list, where several keys begin
    /// so.
    Pin {
        /// The images: keys, beginnings of keys, or names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<KeyOrName>,
    },
    /// Let pinned images go again
    Unpin {
        /// The images: keys, beginnings of keys, or names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<KeyOrName>,
    },
    /// Remove all images that are not pinned, or all packages, and what nothing needs
    Clean {
        /// Remove the package downloads instead; they are deleted at once
        #[arg(long)]
        packages: bool,
        /// Remove both
        #[arg(long, conflicts_with = "packages")]
        all: bool,
        /// Print what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Keep removed things for this long; `0s` deletes them at once
        #[arg(long, value_name = "AGE")]
        trash_grace: Option<Age>,
    },
    /// Bring back what the last run removed, and print the keys
    ///
    /// What is brought back counts as used now.
    Undo,
}

// Limits; the `LARDER_MAX_IMAGES`, … variables and `[gcctl]` in larder.toml say what no option
// says.
#[derive(Args)]
#[command(
    next_help_heading = "Limits (else LARDER_MAX_IMAGES …, else `max-images` … of [gcctl] in larder.toml)"
)]
struct LimitArgs {
    /// Keep at most this many images
    ///
    /// What refers to an image (a signature, an attestation, an SBOM) goes with it and does not
    /// count.
    #[arg(long, value_name = "N", value_parser = toolkit::tables::count)]
    max_images: Option<u64>,
    /// Keep at most this many disks
    ///
    /// Where this is set, disks do not count for `--max-images`.
    #[arg(long, value_name = "N", value_parser = toolkit::tables::count)]
    max_disks: Option<u64>,
    /// Keep at most this many images of each name: the last used ones
    ///
    /// The name is the one in larder.toml, else the first that a load restores. An image without
    /// either has no such limit.
    #[arg(long, value_name = "N", value_parser = toolkit::tables::count)]
    max_per_image: Option<u64>,
    /// Keep the last used images of each name, so many, whatever the other limits say
    #[arg(long, value_name = "N", value_parser = toolkit::tables::count)]
    keep_last: Option<u64>,
    /// Occupy at most this many bytes, trash included: 500MB, 10GB, 10GiB
    ///
    /// Counts images and packages: all that `df` shows, but for `contexts`, `events` and `other`.
    /// What is unused for longest goes first, and packages are deleted at once.
    #[arg(long, value_name = "SIZE")]
    max_size: Option<WrittenSize>,
    /// Keep images and packages that were used within this time: 12h, 30d
    ///
    /// Pinned images may be older.
    #[arg(long, value_name = "AGE")]
    max_age: Option<Age>,
    /// Keep at most this many bytes of package downloads [else `max-size` of [pkgcache]]
    #[arg(long, value_name = "SIZE")]
    packages_max_size: Option<WrittenSize>,
    /// Keep packages that were used within this time [else `max-age` of [pkgcache], else
    /// `--max-age`]
    #[arg(long, value_name = "AGE")]
    packages_max_age: Option<Age>,
    /// Keep models that were used within this time [else `models-max-age` of [pkgcache], else what
    /// holds for packages]
    ///
    /// What came from a hub of models or a registry of Ollama's, and files of weights.
    #[arg(long, value_name = "AGE")]
    models_max_age: Option<Age>,
    /// Leave at least this many bytes free on the file system of the images
    ///
    /// Where that cannot be had, the newest image of each name stays all the same; so with
    /// `--max-size`.
    #[arg(long, value_name = "SIZE")]
    min_free: Option<WrittenSize>,
    /// Keep removed things for this long [default: 24h]; `0s` deletes them at once
    #[arg(long, value_name = "AGE")]
    trash_grace: Option<Age>,
}

/// What stands in another place.
#[derive(Args)]
#[command(next_help_heading = "Another place")]
struct PlaceArgs {
    /// Plan for what this file lists, as `imgtar ls --tier PLACE --json` prints it; `-` is stdin
    ///
    /// An image counts as used when it was saved. Tags that nothing is noted with stay, and so does
    /// what they need.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tier",
        conflicts_with_all = ["max_disks", "packages_max_size", "packages_max_age", "models_max_age", "min_free", "trash_grace"]
    )]
    listing: Option<Utf8PathBuf>,
    /// The tier that it lists: its limits are in [gcctl.NAME] of larder.toml, with `keep` and
    /// `keep-refs`
    #[arg(long, value_name = "NAME", requires = "listing")]
    tier: Option<String>,
    /// Plan also what takes more than half of the images for a limit of bytes
    #[arg(long, requires = "listing")]
    force: bool,
}

#[derive(Args)]
struct ListArgs {
    /// What to list
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Only those whose name, key or URL is like this: `app:*`
    ///
    /// `*` stands for any characters, `?` for one, `{a,b}` for either.
    #[arg(long, value_name = "PATTERN")]
    name: Option<Glob>,
    /// Only packages of this ecosystem: apt, cargo, dnf, huggingface, npm, oci, ollama, python or
    /// generic
    #[arg(long, value_name = "NAME")]
    ecosystem: Option<String>,
    /// Only those that were not used for longer than this: 12h, 30d
    #[arg(long, value_name = "AGE")]
    unused: Option<Age>,
    /// Only those whose SIZE is more than this
    #[arg(long, value_name = "SIZE")]
    larger: Option<ByteSize>,
    /// The order: used, name, size or own
    #[arg(long, value_name = "BY", default_value = "used")]
    sort: Sort,
    /// Print keys or URLs alone, each with a NUL behind it
    #[arg(short = '0', long, conflicts_with = "json")]
    null: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum What {
    /// Images and disks, and what refers to them
    #[default]
    Images,
    /// Package downloads
    Packages,
}

impl ListArgs {
    fn listing(&self) -> Listing {
        let filter = Filter {
            ecosystem: self.ecosystem.clone(),
            name: self.name.as_ref().map(Glob::compile_matcher),
            unused: self.unused,
            larger: self.larger,
            sort: self.sort,
        };
        Listing { packages: matches!(self.what, What::Packages), filter, nul: self.null }
    }
}

#[derive(Args)]
struct ForceArg {
    /// Delete also all images or packages, or more than half of them, for good, if a limit of bytes
    /// asks for that
    ///
    /// Without it, such a limit is refused with exit code 2, and what would be lost is listed. So
    /// is a limit below 1 MB without a unit: `--max-size 10` is ten bytes.
    #[arg(long)]
    force: bool,
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            max_images: self.max_images,
            max_disks: self.max_disks,
            max_per_image: self.max_per_image,
            keep_last: self.keep_last,
            max_size: self.max_size,
            max_age: self.max_age,
            packages_max_size: self.packages_max_size,
            packages_max_age: self.packages_max_age,
            models_max_age: self.models_max_age,
            min_free: self.min_free,
            trash_grace: self.trash_grace,
        }
    }
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
        Job::Engine(job) => return engine::run(job, settings.environment(), signals, &mut console),
    };
    if let StoreJob::Plan { limits, place } = job
        && let (Some(file), Some(name)) = (&place.listing, &place.tier)
    {
        let limits = TierLimits::load(&settings, name, limits.limits())?;
        let (here, force) = (&settings.environment().folder, place.force.into());
        return Ok(tier::plan(&mut *open(file)?, name, &limits, here, force, &mut console)?);
    }
    let store = commands::open(&folder, common.store.is_some(), &mut console)?.with_stop(signals.stop());
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
            Self::Store(StoreJob::Ls(_) | StoreJob::Info { .. } | StoreJob::Df | StoreJob::Plan { .. }) => {
                Output::listing()
            }
            Self::Engine(job) if !matches!(job, engine::EngineJob::Apply { .. }) => Output::listing(),
            _ => Output::report(),
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
    let limits = |limits: Limits| Ok::<_, miette::Report>(limits.or(Limits::load(settings)?));
    Ok(match job {
        StoreJob::Ls(args) => commands::ls(store, &args.listing(), console)?,
        StoreJob::Info { id } => commands::info(store, id, console)?,
        StoreJob::Df => commands::df(store, console)?,
        StoreJob::Stats { days } => commands::stats(store, *days, console)?,
        StoreJob::Plan { limits: args, .. } | StoreJob::Run { limits: args, dry_run: true, .. } => {
            commands::plan(store, Wanted::OverLimits, &limits(args.limits())?, console)?
        }
        StoreJob::Run { limits: args, dry_run: false, force } => {
            let limits = limits(args.limits())?;
            let (wanted, stop) = (Wanted::OverLimits, signals.stop());
            signals.held(|| commands::run(store, wanted, &limits, force.force.into(), &stop, console))?
        }
        StoreJob::Clean { packages, all, dry_run, trash_grace } => {
            let what = Clean { images: *all || !packages, packages: *all || *packages };
            let limits = limits(Limits { trash_grace: *trash_grace, ..Limits::default() })?;
            if *dry_run {
                commands::plan(store, Wanted::All(what), &limits, console)?
            } else {
                let (wanted, stop) = (Wanted::All(what), signals.stop());
                signals.held(|| commands::run(store, wanted, &limits, Force::Yes, &stop, console))?
            }
        }
        StoreJob::Apply { file, force } => {
            if file == "-" && io::stdin().is_terminal() {
                console.say("waiting for a plan on stdin: `gcctl plan --json | gcctl apply` hands one on");
            }
            let plan = commands::read_plan(&mut *open(file)?)?;
            signals.held(|| commands::apply(store, &plan, force.force.into(), &signals.stop(), console))?
        }
        StoreJob::Pin { keys } => commands::pin(store, keys, console)?,
        StoreJob::Unpin { keys } => commands::unpin(store, keys, console)?,
        StoreJob::Undo => commands::undo(store, console)?,
    })
}

fn open(file: &Utf8Path) -> Result<Box<dyn BufRead>, Error> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(file).at("read", file)?)))
}
