//! What the command line can say.

use camino::Utf8PathBuf;
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand, ValueEnum};
use toolkit::Engine;

use crate::ci::emit::Forge;
use crate::process::runner::Verbosity;

/// Keep a project's container images up to date
///
/// Reads the nearest larder.toml from the working folder upward. Exit codes: 0 done or up to date,
/// 1 something would be built (`bake --check`), or no name is given in a registry since files
/// differ from the git commit, 2 trouble, or the code of a step that failed.
#[derive(Parser)]
#[command(name = "larder", version, styles = Styles::plain(), max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub(super) job: Job,
}

#[derive(Subcommand)]
pub(super) enum Job {
    /// Write a first larder.toml
    ///
    /// Has an image for each Dockerfile or Containerfile below this folder that git does not
    /// ignore; or, with `--from-compose`, for each service of a compose file that is built. Nothing
    /// is changed where there is a larder.toml.
    Init(InitArgs),
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
    /// Disks are baked beside images, after what their `needs` name. The key of a disk covers the
    /// files that `inputs` names, `args`, `run` and the keys of its `needs`. `outputs` of an image
    /// and `output` of a disk are written where they are not there as a bake wrote them; a place
    /// outside the project, or among the inputs of the key, is refused. Files that a bake wrote for
    /// an earlier key are removed if nobody changed them. An image that reads outputs of another
    /// image or of a disk in its context comes after it, as does a disk whose `inputs` name them.
    ///
    /// Of an image with `platforms` each is baked for itself, as NAME@PLATFORM. NAME means all of
    /// them.
    ///
    /// With tiers in larder.toml, an image that the store lacks is looked for there, and what is
    /// saved goes to those that the profile writes. A tier that fails costs one warning, and is
    /// left out for the rest of the run. With `tags` in the profile, images get these names in
    /// registries when all are baked; none does where anything failed. `LARDER_READ_ONLY=1`, or
    /// `[larder] read-only = true` in the user's own settings, keeps every profile from writing to
    /// anything but this machine's store.
    ///
    /// While several images are baked, a terminal shows a line for each that runs, with its step
    /// and its time, unless TERM is `dumb`.
    ///
    /// With `--compose`, the services of compose files that have `build` are the images. Which
    /// files,
    /// `.env`, profiles and project name count is as for compose; `[compose]` and `[service.NAME]`
    /// of larder.toml, which need not be there, add what compose files cannot say. When all are
    /// baked, docker-compose.larder.yml beside the first file pins each service to its image, by a
    /// name that has the key in it, so that no other build moves it; or, with `--in-place`, the
    /// files themselves do, with their comments and a backup of each. Start them with `up
    /// --no-build`.
    /// `larder unbake` takes all of that back.
    Bake(BakeArgs),
    /// Take back what `bake --compose` has written
    ///
    /// Compose files and a devcontainer.json get back what they were, byte for byte;
    /// docker-compose.larder.yml is removed. Where a file was edited since, nothing is changed, and
    /// the difference is shown.
    Unbake(UnbakeArgs),
    /// Say why an image is a hit or would be built, or what is on record of a stored one
    ///
    /// Of an image of larder.toml: its key; of a hit, when, where and from which commit it was
    /// made, and what that saves; else what changed since the nearest earlier save: files,
    /// arguments, bases, rules. Of any other name, a key or its beginning: what the store has under
    /// it, and what the project has changed since. Exits 1 if the image would be built.
    ///
    /// Earlier saves are those of the image's name or of one of its tags, in this machine's store
    /// and in the tiers that the profile reads; `bake` asks tiers only where the store has none.
    /// One of another project, by its git repository, does not count.
    Why(WhyArgs),
    /// List the images and disks of larder.toml, with what each is
    List(ListArgs),
    /// Write into larder.lock what the names and addresses in the Dockerfiles stand for
    ///
    /// Each base image and `# syntax=` frontend that is named without a digest is resolved once, by
    /// its registry, else by the engine, and `bake` builds from just that. Images of larder.toml
    /// and images that only the engine has are not locked: their keys and IDs are in the key. A
    /// file that `ADD` fetches is locked by its SHA-256, a repository, also of `contexts`, by its
    /// commit. Builds nothing.
    Lock(LockArgs),
    /// Bake all images, then run larder.toml's own steps
    ///
    /// Stops at the first failure and passes on its code. The steps are those of `[[ci.step]]` in
    /// larder.toml, in the order of their lines. Where a step says what it bakes, nothing else is
    /// baked. A step with `image` sees the image's name in `LARDER_IMAGE`; one with `inputs` is
    /// skipped where these, and the values of its `env`, are what they were at its last success and
    /// its `outputs` are there; one with `env` is not begun, nor is any before it, where a variable
    /// has no value. With `[ci] log`,
    /// what each step prints is kept in that folder as NAME.log, and its times in times.ndjson; the
    /// table has what a step took when it last went well. Names in registries (`[profile.NAME]
    /// tags`) are given last, when every step has passed.
    Ci(CiArgs),
    /// List the names that images would get in registries, and why some of them would not
    ///
    /// `[profile.NAME] tags` has the rules; `bake` gives the names when all images are baked.
    /// Registries are asked which versions they have where a name only moves forward. Ends with 1
    /// if none is given since files differ from the git commit, new ones that are inputs included.
    /// Changes nothing.
    Tags(TagsArgs),
    /// List the tiers and what is in them, and fill one
    Tier(TierArgs),
    /// Print all keys of larder.toml, with what each does
    Reference(ReferenceArgs),
}

/// What `init` is told.
#[derive(clap::Args)]
pub struct InitArgs {
    /// Take the images from this compose file
    #[arg(long, value_name = "FILE")]
    pub(super) from_compose: Option<Utf8PathBuf>,
}

/// What `bake` is told.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line, and all combine")]
pub struct BakeArgs {
    /// The images and disks to bake, by their names in larder.toml or patterns such as `'web-*'`:
    /// by default, all. With `--compose`: compose files (words with a slash, or that end in .yml,
    /// .yaml or .json) and services
    pub(super) names: Vec<String>,
    /// List the images and disks, and bake nothing
    #[arg(long, conflicts_with_all = ["rebuild", "check"])]
    pub(super) list: bool,
    /// Build from scratch, without the engine's layer cache, and save over what is stored; images
    /// that the named ones are built from are not rebuilt
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Build nothing, and exit 1 if an image would have to be built
    #[arg(long, conflicts_with = "rebuild")]
    pub(super) check: bool,
    /// Build nothing, and say what would be done; with `--json`, in which `wave` each image can be
    /// baked, and what it `needs`
    #[arg(long, conflicts_with = "check")]
    pub(super) dry_run: bool,
    /// Build the images from scratch beside what is stored under their keys, and list the files
    /// that differ; nothing that is stored changes, and no name in the engine
    #[arg(long, conflicts_with_all = ["rebuild", "check", "dry_run", "no_image_cache", "no_cache"])]
    pub(super) prove: bool,
    /// With `--prove`: exit 1 if a file differs
    #[arg(long, requires = "prove")]
    pub(super) strict: bool,
    /// Bake for the tiers alone, for jobs of a CI that come later: no image gets names in
    /// registries, and nothing is baked where the profile writes no tier
    #[arg(long, conflicts_with_all = ["list", "prove", "no_image_cache", "no_cache", "compose"])]
    pub(super) to_tiers: bool,
    /// Neither ask the store for images nor save into it
    #[arg(long)]
    pub(super) no_image_cache: bool,
    /// Do not lead builds to the package cache, whatever `packages` says
    #[arg(long)]
    pub(super) no_package_cache: bool,
    /// Build from scratch, without any cache, the engine's too, and save nothing
    #[arg(long, conflicts_with = "rebuild")]
    pub(super) no_cache: bool,
    /// Resolve anew what is in larder.lock for the images of larder.toml, or the names and
    /// addresses in Dockerfiles, that follow; without any, for all
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(super) update: Option<Vec<String>>,
    /// Do not write larder.lock: what it lacks is an error; the default where CI is set
    #[arg(long, conflicts_with = "update")]
    pub(super) locked: bool,
    /// Say below each image what could change it without changing its key
    #[arg(long)]
    pub(super) doubts: bool,
    /// Bake so many images at a time [default: as many as there are processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    /// Append a summary in Markdown to this file, for the page that a CI shows of a run
    #[arg(long, value_name = "FILE")]
    pub(super) summary: Option<Utf8PathBuf>,
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<Utf8PathBuf>,
    /// What builds the images, whatever larder.toml says; by default docker if it answers, else
    /// podman
    #[arg(long, value_enum)]
    pub(super) engine: Option<Engine>,
    #[command(flatten)]
    pub(super) talk: TalkArgs,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) compose: ComposeArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// What `bake` is told of compose files.
#[derive(clap::Args)]
#[command(next_help_heading = "Compose files")]
pub struct ComposeArgs {
    /// Bake the services of compose files
    #[arg(long)]
    pub(super) compose: bool,
    /// Pin the images in the compose files themselves, and not in a file above them
    #[arg(long, requires = "compose")]
    pub(super) in_place: bool,
    /// Activate this profile of the compose files
    #[arg(long, value_name = "NAME", requires = "compose")]
    pub(super) compose_profile: Vec<String>,
    /// Read variables from this file, and not from `.env`
    #[arg(long, value_name = "FILE", requires = "compose")]
    pub(super) env_file: Vec<Utf8PathBuf>,
    /// The project's name, as compose's `--project-name`
    #[arg(long, value_name = "NAME", requires = "compose")]
    pub(super) project_name: Option<String>,
    /// The folder that paths in compose files are relative to: by default, that of the first one
    #[arg(long, value_name = "DIR", requires = "compose")]
    pub(super) project_directory: Option<Utf8PathBuf>,
    /// Add docker-compose.larder.yml to `dockerComposeFile` of this devcontainer.json
    #[arg(long, value_name = "FILE", requires = "compose", conflicts_with = "in_place")]
    pub(super) devcontainer: Option<Utf8PathBuf>,
}

/// What `unbake` is told.
#[derive(clap::Args)]
pub struct UnbakeArgs {
    /// The compose files, if not those that compose finds or larder.toml names
    pub(super) files: Vec<Utf8PathBuf>,
    /// The folder that paths in compose files are relative to, where `bake` was told one
    #[arg(long, value_name = "DIR")]
    pub(super) project_directory: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// What `ci` is told.
#[derive(clap::Args)]
pub struct CiArgs {
    /// The steps to run: by default, all but those with `when = "manual"`
    pub(super) steps: Vec<String>,
    /// Run this step with `when = "manual"` too, where it stands
    #[arg(long, value_name = "STEP")]
    pub(super) with: Vec<String>,
    /// Begin with this step: nothing before it is done
    #[arg(long, value_name = "STEP", conflicts_with = "steps")]
    pub(super) from: Option<String>,
    /// Leave this step out; may be given more than once
    #[arg(long, value_name = "STEP")]
    pub(super) skip: Vec<String>,
    /// List the steps, and do nothing
    #[arg(long)]
    pub(super) list: bool,
    /// Say what would be built, and which steps would run, and do nothing; a variable that a step
    /// lacks is a warning
    #[arg(long, conflicts_with = "list")]
    pub(super) dry_run: bool,
    /// Print a workflow that calls the same commands, and do nothing. On builds for which a profile
    /// writes a tier, images go over several jobs before, a wave each, with `bake --to-tiers`; the
    /// last job alone gives them their names
    #[arg(long, value_name = "CI", conflicts_with_all = ["list", "dry_run", "steps", "from", "skip", "with"])]
    pub(super) emit: Option<ForgeArg>,
    /// Write the steps into this file, as the XML of `JUnit`
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<Utf8PathBuf>,
    /// Print a failure as GitHub and Gitea show it beside a run, too
    #[arg(long)]
    pub(super) annotate: bool,
    /// How much it says.
    #[command(flatten)]
    pub talk: TalkArgs,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// The CI that a workflow is for.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ForgeArg {
    Github,
    Gitlab,
}

impl ForgeArg {
    pub(super) fn forge(self) -> Forge {
        match self {
            Self::Github => Forge::GitHub,
            Self::Gitlab => Forge::GitLab,
        }
    }
}

/// What `list` is told.
#[derive(clap::Args)]
pub struct ListArgs {
    /// The images and disks to list: by default, all
    pub(super) names: Vec<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// What `reference` is told.
#[derive(clap::Args)]
pub struct ReferenceArgs {
    /// Print the JSON Schema, for editors
    #[arg(long)]
    pub(super) schema: bool,
}

/// What `why` is told.
#[derive(clap::Args)]
pub struct WhyArgs {
    /// An image or disk of larder.toml, an image name, a key or its beginning
    pub(super) name: String,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    /// The store's folder
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<Utf8PathBuf>,
    /// What builds the images, whatever larder.toml says
    #[arg(long, value_enum)]
    pub(super) engine: Option<Engine>,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) talk: TalkArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// Which larder.toml counts, and what is set above it.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Settings")]
pub struct ProjectArgs {
    /// The file to read: by default `LARDER_TOML`, else the nearest larder.toml from the working
    /// folder upward; larder.local.toml beside it goes above it
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<Utf8PathBuf>,
    /// Set a key of an image or a disk, above what the file says: `--set app.target=dev`, `--set
    /// 'web-*.args.VERSION=2'`
    #[arg(long, value_name = "NAME.KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Set a build argument of all images; without a value, it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) build_arg: Vec<String>,
}

/// Which kind of build this is.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Settings")]
pub struct ProfileArgs {
    /// The profile that counts: by default `LARDER_PROFILE`, else the one whose `when` fits what
    /// the CI or git says
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
}

/// What `tags` is told.
#[derive(clap::Args)]
pub struct TagsArgs {
    /// The images: by default, all
    pub(super) names: Vec<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) talk: TalkArgs,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// What `tier` is told.
#[derive(clap::Args)]
pub struct TierArgs {
    #[command(subcommand)]
    pub(super) job: TierJob,
}

#[derive(Subcommand)]
pub(super) enum TierJob {
    /// List the tiers and which of them this kind of build uses; or what is in one
    Ls {
        /// The tier; `machine` is this machine's store
        name: Option<String>,
        /// Print one JSON object a line
        #[arg(long, requires = "name")]
        json: bool,
        #[command(flatten)]
        common: TierCommon,
    },
    /// Say how much is in a tier, for each image, and together with what they share counted once
    Df {
        /// The tier
        name: String,
        #[command(flatten)]
        common: TierCommon,
    },
    /// Say of each image whether a tier has it as it is now, and exit 1 where one is missing
    Check {
        /// The tier
        name: String,
        /// The images and disks: by default, all
        images: Vec<String>,
        #[command(flatten)]
        common: TierCommon,
    },
    /// Remove from a tier what is over the limits of [gcctl.NAME] in larder.toml
    ///
    /// The limits are `max-age`, `max-images`, `max-per-image`, `max-size` and `keep-last`; an
    /// image counts as used when it was saved. `keep = ["app:v*"]` are names of images that stay,
    /// and with `keep-refs = 10` what the last ten commits of each branch of this clone use stays.
    /// Nothing goes that an image needs which stays, and what goes does not come back. The profile
    /// of this build must write the tier.
    Collect {
        /// The tier
        name: String,
        /// Print what would go and why, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Remove also more than half of the images, if a limit of bytes asks for that
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: TierCommon,
    },
    /// Bring images into a tier from this machine's store, or from other tiers through it
    ///
    /// Builds nothing: exits 1 where an image is nowhere. The profile of this build must write the
    /// tier.
    Warm {
        /// The tier; `machine` is this machine's store
        name: String,
        /// The images and disks: by default, all
        images: Vec<String>,
        #[command(flatten)]
        common: TierCommon,
    },
}

/// What all commands about tiers are told.
#[derive(clap::Args)]
pub(super) struct TierCommon {
    #[command(flatten)]
    pub(super) talk: TalkArgs,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// What `lock` is told.
#[derive(clap::Args)]
pub struct LockArgs {
    /// The images whose Dockerfiles are looked at: by default, all of larder.toml
    pub(super) names: Vec<String>,
    /// Resolve anew what is in larder.lock for the images of larder.toml, or the names and
    /// addresses in Dockerfiles, that follow; without any, for all
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(super) update: Option<Vec<String>>,
    /// Change nothing, ask registries and addresses, print what is behind, and exit 1 if anything
    /// is
    #[arg(long, conflicts_with = "update")]
    pub(super) check: bool,
    /// What builds the images, whatever larder.toml says
    #[arg(long, value_enum)]
    pub(super) engine: Option<Engine>,
    #[command(flatten)]
    pub(super) talk: TalkArgs,
    #[command(flatten)]
    pub(super) project: ProjectArgs,
}

/// How much a command says.
#[derive(clap::Args)]
pub struct TalkArgs {
    /// Print each command before it runs
    #[arg(short, long, conflicts_with = "quiet")]
    pub(super) verbose: bool,
    /// Print warnings and errors only
    #[arg(short, long)]
    pub(super) quiet: bool,
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
