//! The command line, and what of the process's environment the library is told.

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::PossibleValuesParser;
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand, ValueEnum};
use larder::cli::{BakeArgs, CiArgs, Process, UnbakeArgs, or_interrupted};
use larder::config;
use larder::process::runner::{RunError, Runner, Verbosity};
use larder::process::tools::Tools;
use toolkit::{Outcome, Output, Signals};
use xtask::dist::{self, Libc};
use xtask::{bench, checks, test, workspace};

/// Check, test and measure this repository, and keep its images up to date
///
/// Builds the tools first. Exit codes: 0 done or up to date, 1 something would be built (`bake
/// --check`), 2 trouble, or the code of a step that failed.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, styles = Styles::plain(), max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Bring the images of larder.toml up to date: `larder bake`, which see
    Bake(BakeArgs),
    /// Take back what `bake --compose` has written: `larder unbake`, which see
    Unbake(UnbakeArgs),
    /// Check everything: format, lints, tests, documentation, dependency rules; then `larder ci`
    ///
    /// Stops at the first failure and passes on its code.
    Ci(CiArgs),
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
    /// Make a release: archive, Debian package, Python wheel, and their digests
    ///
    /// In each are the tools, their manual pages and completions for bash, zsh and fish. The
    /// programs start on any Linux that has the named glibc or a later one; for that cargo-zigbuild
    /// builds them. Two runs on one commit give the same bytes.
    Dist(DistArgs),
    /// Build the tools for this machine and install them with their manual
    Install(InstallArgs),
}

#[derive(clap::Args)]
struct DistArgs {
    /// Where the files are written
    #[arg(long, value_name = "DIR", default_value = "target/dist/release")]
    out: Utf8PathBuf,
    /// The oldest glibc that the programs start with
    #[arg(long, value_name = "VERSION", default_value = "2.17")]
    glibc: String,
    /// Build with this machine's own compiler, for systems as new as this one
    #[arg(long, conflicts_with = "glibc")]
    native: bool,
    /// Print each command before it runs
    #[arg(short, long)]
    verbose: bool,
}

#[derive(clap::Args)]
struct InstallArgs {
    /// The folder that `bin` and `share` are in [default: `.local` in the home folder]
    #[arg(long, value_name = "DIR")]
    root: Option<Utf8PathBuf>,
    /// Print each command before it runs
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum BenchArg {
    /// A bake where nothing changed, of 1, 10 and 100 images, against docker build and
    /// docker-compose build with all cached; and four builds side by side
    Bake,
    /// Lists and plans over stores of 1%, 10% and all of `--packages`, removals, a list of one
    /// image for twenty packages, and one after as many hits as packages; against du, docker system
    /// df, rm and nix-store
    Gcctl,
    /// One key for a tree of files, against git, b3sum and tar
    Hashctx,
    /// Import, load and save of a 1 GB image, its memory and its size, against zstd, skopeo and
    /// docker
    Imgtar,
    /// Hits, misses, memory and readiness, against nginx and proxpi, asked by `wrk`; and installs
    /// by pip, npm, apt and skopeo, against proxpi, devpi, verdaccio, apt-cacher-ng and
    /// docker-registry
    Pkgcache,
    /// The hits, bytes and time of a history of commits with tiers, each built on a machine that
    /// has nothing yet, against docker build with `--cache-from`
    Tiers,
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
    /// Commits of the history for tiers
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    commits: u16,
    /// Packages in the largest store for gcctl; a million take 8 GB of TMPDIR
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=100_000_000))]
    packages: u32,
    /// Only these parts of pkgcache's
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = PossibleValuesParser::new(bench::PARTS))]
    only: Vec<String>,
    /// Where `xtask/bench-peers` put what pkgcache is compared with, beside PATH [default:
    /// `larder-bench` in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    peers: Option<Utf8PathBuf>,
    /// Print each command before it runs
    #[arg(short, long)]
    verbose: bool,
}

/// Does what the command line says. Run by cargo in larder's own repository, the tools are built
/// first.
pub(crate) fn run(args: Args, signals: &Signals) -> miette::Result<Outcome> {
    let own = Own(Process::new()?);
    let result = match args.job {
        Job::Bake(args) => own.built().map_err(Into::into).and_then(|()| own.0.bake(args)),
        Job::Unbake(args) => own.0.unbake(&args),
        Job::Ci(args) => own.ci(args),
        Job::Test(args) => own.test(&args.args),
        Job::Bench(args) => own.bench(&args),
        Job::Dist(args) => own.dist(args),
        Job::Install(args) => own.install(args),
    };
    or_interrupted(result, signals)
}

fn verbosity(verbose: bool) -> Verbosity {
    if verbose { Verbosity::Verbose } else { Verbosity::Normal }
}

/// This process, in larder's own repository.
struct Own(Process);

impl Own {
    fn ci(&self, args: CiArgs) -> miette::Result<Outcome> {
        self.built()?;
        let root = self.root()?;
        let (tools, runner) = (self.0.tools(&root), self.0.runner(&root, args.talk.verbosity()));
        let checks =
            if root.join("Cargo.toml").is_file() { checks::all(&tools, &runner) } else { Vec::new() };
        self.0.ci(checks, args)
    }

    fn test(&self, args: &[String]) -> miette::Result<Outcome> {
        self.built()?;
        let root = self.root()?;
        let runner = self.0.runner(&root, Verbosity::Normal);
        Ok(test::test(args, &self.0.tools(&root), &runner, &mut Output::report())?)
    }

    fn bench(&self, args: &BenchArgs) -> miette::Result<Outcome> {
        let (what, tool) = match args.what {
            BenchArg::Bake => (bench::Bench::Bake, "larder"),
            BenchArg::Gcctl => (bench::Bench::Gcctl, "gcctl"),
            BenchArg::Hashctx => (bench::Bench::Hashctx, "hashctx"),
            BenchArg::Imgtar => (bench::Bench::Imgtar, "imgtar"),
            BenchArg::Pkgcache => (bench::Bench::Pkgcache, "pkgcache"),
            BenchArg::Tiers => (bench::Bench::Tiers, "larder"),
        };
        if tool == "larder" {
            // What larder runs is measured with it.
            for tool in ["hashctx", "imgtar", "gcctl"] {
                self.release_tools(tool)?;
            }
        }
        let tools = self.release_tools(tool)?;
        let runner = self.0.runner(self.folder(), verbosity(args.verbose));
        let size = bench::Size {
            files: args.files,
            bytes: args.size as usize,
            large: args.large.into(),
            rounds: args.rounds.into(),
            commits: args.commits.into(),
            packages: args.packages,
        };
        let scope = bench::Scope { only: args.only.clone(), peers: self.peers(args.peers.as_deref()) };
        Ok(bench::bench(what, &size, &scope, &tools, &runner, &mut Output::report())?)
    }

    /// The folder with pkgcache's peers.
    fn peers(&self, named: Option<&Utf8Path>) -> Utf8PathBuf {
        let environment = self.0.environment();
        let home = || environment.get("HOME").map(|home| Utf8Path::new(home).join(".cache"));
        let cache = environment.get("XDG_CACHE_HOME").map(Utf8PathBuf::from).or_else(home);
        let default = cache.unwrap_or_default().join("larder-bench");
        self.folder().join(named.unwrap_or(&default))
    }

    fn dist(&self, args: DistArgs) -> miette::Result<Outcome> {
        let root = self.root()?;
        let libc = if args.native { Libc::Native } else { Libc::Glibc(args.glibc) };
        let runner = self.0.runner(&root, verbosity(args.verbose));
        dist::dist(&libc, &root.join(args.out), &runner, &mut Output::report())?;
        Ok(Outcome::Yes)
    }

    fn install(&self, args: InstallArgs) -> miette::Result<Outcome> {
        let home = self.0.environment().get("HOME").map(|home| Utf8Path::new(home).join(".local"));
        let root = args.root.map(|root| self.folder().join(root)).or(home);
        let root =
            root.ok_or_else(|| miette::miette!(help = "name a folder with `--root DIR`", "HOME is not set"))?;
        let runner = self.0.runner(&self.root()?, verbosity(args.verbose));
        dist::install(&root, &runner, &mut Output::report())?;
        Ok(Outcome::Yes)
    }

    fn folder(&self) -> &Utf8Path {
        &self.0.environment().folder
    }

    /// The folder of the nearest larder.toml.
    fn root(&self) -> miette::Result<Utf8PathBuf> {
        let file = config::find(self.folder())?;
        Ok(file.parent().unwrap_or(Utf8Path::new("/")).to_owned())
    }

    fn built(&self) -> Result<(), RunError> {
        let Some(builder) = self.builder() else { return Ok(()) };
        workspace::build_tools(&builder, !cfg!(debug_assertions))
    }

    /// The tools as their users have them: in larder's own repository, the one that is asked for is
    /// built for release first.
    fn release_tools(&self, tool: &str) -> Result<Tools, RunError> {
        let Some(builder) = self.builder() else { return Ok(self.0.tools(self.folder())) };
        workspace::build_for_release(&builder, tool)?;
        let release = self.0.beside().with_file_name("release");
        Ok(self.0.with_engines(Tools::find(&release, self.folder())))
    }

    /// What builds the tools, where cargo runs this in larder's own repository.
    fn builder(&self) -> Option<Runner> {
        let workspace =
            self.0.environment().get("CARGO_MANIFEST_DIR").and_then(workspace::of_manifest_dir)?;
        Some(self.0.runner(&workspace, Verbosity::Quiet))
    }
}
