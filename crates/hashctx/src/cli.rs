//! The command line: flags and their meaning. The help text is the manual.

#![expect(clippy::doc_markdown, reason = "these comments are read at the terminal, as they are")]

use std::collections::BTreeMap;
use std::ffi::OsString;

use camino::Utf8PathBuf;
use clap::{Parser, ValueEnum};
use hashctx::dockerignore::Engine;
use hashctx::{Build, Config, ModePolicy, Rules, Selection};
use storekit::Platform;
use toolkit::Common;

/// Print one key for everything that a container build depends on
///
/// The key is 64 hex digits, a valid image tag: the BLAKE3 digest of a manifest that names every
/// input. Same inputs, same key, whatever the checkout's path, the user, the umask, the files'
/// times or the number of threads.
///
///     hashctx                      the project in this folder: .gitignore, .dockerignore both hide
///     hashctx -f Dockerfile .      what `docker build -f Dockerfile .` depends on
///     hashctx --manifest | b3sum   the same key, computed by another program
///     hashctx --diff OLD           why the key differs from that of a saved manifest
///
/// Messages go to stderr, data to stdout. Exit codes: 0 done, or the same; 1 different; 2 trouble,
/// and no key.
#[derive(Debug, Parser)]
#[command(name = "hashctx", version, verbatim_doc_comment, max_term_width = 100)]
pub(crate) struct Cli {
    /// The folder to hash: the build context
    #[arg(default_value = ".", hide_default_value = true)]
    pub(crate) dir: Utf8PathBuf,

    /// What follows `--`: PATHs of `--check-ignore`, else DIR
    #[arg(last = true, hide = true)]
    pub(crate) rest: Vec<OsString>,

    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) build: BuildFlags,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Which files, and what of them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What enters the key")]
pub(crate) struct Which {
    /// Whose ignore files hide files
    ///
    /// `all` hides what git or the engine ignores, `git` and `docker` what one of them does, `none`
    /// nothing. The default is `all`; with `--file` it is `docker`, because an engine reads what
    /// git ignores. With `--file` and `all`, build from `hashctx --tar`, so that the engine gets
    /// the same files.
    #[arg(long, value_name = "WHOSE")]
    pub(crate) ignore: Option<Ignore>,

    /// The engine that builds: whose ignore file hides files, and how it reads the Dockerfile
    ///
    /// Engines read different ignore files, and in different ways. `buildkit`: FILE.dockerignore
    /// beside the Dockerfile FILE, where it is not empty, else .dockerignore. `docker`, the builder
    /// before BuildKit: .dockerignore. `podman`, and Buildah: FILE.dockerignore,
    /// FILE.containerignore, .containerignore, .dockerignore. A socket becomes an empty file with
    /// `buildkit`; the others leave it out. In Dockerfiles, only `buildkit` knows frontends (`#
    /// syntax=`), and `docker` does not set TARGETARCH and the like; a Dockerfile whose name ends
    /// in `.in`, which podman preprocesses, is refused for `podman`.
    #[arg(long, value_name = "ENGINE", default_value = "buildkit")]
    pub(crate) engine: EngineName,

    /// The engine's ignore file, as in `podman build --ignorefile`
    #[arg(long = "ignorefile", value_name = "FILE")]
    pub(crate) ignore_file: Option<Utf8PathBuf>,

    /// Hash exactly the paths listed in FILE (`-`: stdin), one a line, or ended by NUL with `-0`
    ///
    /// Paths are relative to DIR, and must not lead through a symbolic link. Ignore files do not
    /// matter. An empty folder counts as a folder. A repository in the list (a submodule) counts
    /// with the files that git lists in it. Any other folder is refused, unless the list names
    /// files in it.
    #[arg(long, value_name = "FILE", conflicts_with = "ignore")]
    pub(crate) files_from: Option<Utf8PathBuf>,

    /// Accept a list of `--files-from` that names no path; without this, that is an error
    #[arg(long, requires = "files_from")]
    pub(crate) allow_empty: bool,

    /// Add a value to the key
    ///
    /// Only its digest is in the manifest.
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) inputs: Vec<(String, String)>,

    /// Which part of the files' modes enters the key
    ///
    /// `exec`: whether the owner may execute a file, as git keeps it; the same for every umask.
    /// `full`: all permission bits, those of folders too. `none`: nothing.
    #[arg(long, value_name = "HOW", default_value = "exec")]
    pub(crate) mode: Mode,
}

/// A build of a Dockerfile.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A build with a Dockerfile")]
pub(crate) struct BuildFlags {
    /// Hash what a build of this Dockerfile depends on; the path is relative to the working folder
    #[arg(short = 'f', long, value_name = "DOCKERFILE")]
    pub(crate) file: Option<Utf8PathBuf>,

    /// The stage to build
    #[arg(long, value_name = "STAGE", requires = "file")]
    pub(crate) target: Option<String>,

    /// A build arg; without a value it is taken from the environment
    ///
    /// The predefined proxy args are accepted and never enter the key.
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]", requires = "file")]
    pub(crate) build_args: Vec<String>,

    /// The platform to build for [default: linux on this machine's architecture]
    ///
    /// `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`, as for the engines. Give the build
    /// the same platform, or it takes that of DOCKER_DEFAULT_PLATFORM or of the engine's machine.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", requires = "file")]
    pub(crate) platform: Option<Platform>,

    /// The digest of an image that the build uses, under the name that FROM or `--from` has for it
    ///
    /// DIGEST is `ALGORITHM:HEX`: the digest in its registry (`imgtar resolve NAME` prints it), or
    /// the ID of a local image.
    #[arg(long = "base", value_name = "NAME=DIGEST", requires = "file", value_parser = base)]
    pub(crate) bases: Vec<(String, String)>,

    /// The same, for an image that the build is to name by this digest
    ///
    /// The key is as with `--base`. The Dockerfile that `--pinned` and `--tar` write names the
    /// image by the digest.
    #[arg(long = "pin", value_name = "NAME=DIGEST", requires = "file", value_parser = base)]
    pub(crate) pins: Vec<(String, String)>,

    /// What stands at an address that `ADD` fetches: the digest of the file, or the commit of the
    /// repository
    ///
    /// ADDRESS is what `--images --json` prints, variables expanded. PIN is `sha256:HEX` or a whole
    /// commit.
    #[arg(long = "source", value_name = "ADDRESS=PIN", requires = "file", value_parser = source)]
    pub(crate) sources: Vec<(String, String)>,

    /// The same, where the build is to check that
    ///
    /// The key is as with `--source`. The Dockerfile that `--pinned` and `--tar` write has
    /// `--checksum` for a file, and the commit in the address of a repository. Docker's frontend
    /// knows both from 1.6 on.
    #[arg(long = "pin-source", value_name = "ADDRESS=PIN", requires = "file", value_parser = source)]
    pub(crate) pinned_sources: Vec<(String, String)>,

    /// Another name for an image that the build uses, in the Dockerfile that `--pinned` and `--tar`
    /// write
    ///
    /// The key is as without it: give the image's digest with `--base`.
    #[arg(long = "use", value_name = "NAME=IMAGE", requires = "file", value_parser = pair)]
    pub(crate) uses: Vec<(String, String)>,

    /// A named context: a folder, or an address such as docker-image://IMAGE
    #[arg(long = "build-context", value_name = "NAME=PATH", requires = "file", value_parser = pair)]
    pub(crate) contexts: Vec<(String, String)>,
}

/// What to print, or to do, instead of printing the key.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to print instead of the key")]
#[group(multiple = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Output {
    /// Print the manifest: a line for each input; its BLAKE3 digest is the key
    #[arg(long, group = "what")]
    pub(crate) manifest: bool,

    /// Print the paths of the hashed files, links and empty folders
    #[arg(long, group = "what")]
    pub(crate) list: bool,

    /// Print what changed since the manifest OLD was saved, or between OLD and the manifest NEW
    ///
    /// A line for each: added, removed, changed, mode-changed, renamed, arg-changed, base-changed
    /// and so on. Exits 1 if anything differs. If the second value is a folder, it is DIR.
    #[arg(long, value_names = ["OLD", "NEW"], num_args = 1..=2, group = "what")]
    pub(crate) diff: Vec<Utf8PathBuf>,

    /// Say for each PATH, existing or not, whether it is left out, and which line of which file
    /// decides
    ///
    /// Paths are relative to DIR, which must stand before this flag. Without a PATH, or with `-`,
    /// they are read from stdin, one a line, or ended by NUL with `-0`. Put those that begin with a
    /// dash after `--`. A `/` at the end means a folder. With `--file`, the lines of the Dockerfile
    /// that read the path are named too; a path that none reads is `unread`, which counts as left
    /// out. Exits 0 if any is left out, else 1.
    #[arg(long, value_name = "PATH", num_args = 0.., group = "what")]
    pub(crate) check_ignore: Option<Vec<OsString>>,

    /// Print the images that the build starts from or copies from, and hash nothing
    ///
    /// Prints each image of the stages that are needed once, with variables expanded. `--json` adds
    /// the platform of each, a line for a frontend (`# syntax=`) that has no digest or is not
    /// docker's, one for each address without a digest or a commit that is fetched, and one for
    /// each `--build-arg` that no stage declares.
    #[arg(long, group = "what", requires = "file")]
    pub(crate) images: bool,

    /// Write to FILE the Dockerfile with the digests of `--pin` behind the images' names, and the
    /// names of `--use`
    ///
    /// To build from it, name it with `-f` and keep the context. If the Dockerfile has an ignore
    /// file of its own, a copy is written beside FILE, so that the engine reads the same rules.
    /// Lines keep their numbers. Images in the language of another frontend than docker's stay as
    /// they are.
    #[arg(long, value_name = "FILE", group = "what", requires = "file")]
    pub(crate) pinned: Option<Utf8PathBuf>,

    /// Write a tar of the hashed files and the Dockerfile, for `docker build -`
    ///
    /// The tar's bytes depend on the files only: sorted, owner 0, modes as far as they enter the
    /// key, every time SOURCE_DATE_EPOCH or 1980-01-02. Its files are hashed while they are
    /// written: `--key-file` gets their key. If a file changes meanwhile, the tar is made invalid,
    /// and no engine takes it; with `--allow-changing`, only if a file is cut short. A Dockerfile
    /// from outside DIR is called `Dockerfile` in the tar, or `.Dockerfile` if that name is taken.
    /// Ignore files do not hide it there: if the build copies it, and always without `--file`, the
    /// tar's key covers it too.
    #[arg(long, group = "what")]
    pub(crate) tar: bool,

    /// With `--tar`, write the key to this file; it is never an input itself
    #[arg(long, value_name = "FILE", requires = "tar")]
    pub(crate) key_file: Option<Utf8PathBuf>,

    /// Exit 0 if the key is the one in FILE, 1 if it differs, 2 if FILE does not exist; FILE itself
    /// is never an input
    ///
    /// A run without this flag takes FILE for an input, unless FILE lies outside DIR or an ignore
    /// file hides it.
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) check: Option<Utf8PathBuf>,

    /// Write the key to FILE, for a later `--check`; FILE itself is never an input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) write: Option<Utf8PathBuf>,

    /// End paths with NUL, on output and in `--files-from`
    #[arg(short = '0', long)]
    pub(crate) null: bool,
}

/// How it runs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How it runs")]
pub(crate) struct Run {
    /// Make warnings errors: exit 2 where the key may not cover every input
    #[arg(long)]
    pub(crate) strict: bool,

    /// Accept a file that changes while it is read, with a warning; without this, that is an error
    #[arg(long)]
    pub(crate) allow_changing: bool,

    /// Read every file, even if its digest is remembered
    ///
    /// Digests of files that have not changed since are remembered in the store, in contexts/.
    #[arg(long)]
    pub(crate) no_stat_cache: bool,

    /// How many threads to use [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ignore {
    All,
    Git,
    Docker,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EngineName {
    Buildkit,
    Docker,
    Podman,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    Exec,
    Full,
    None,
}

impl Cli {
    /// Where `--diff` was given two values and the second is a folder, that is the folder to hash.
    /// What follows `--` belongs to `--check-ignore`, or is the folder to hash.
    pub(crate) fn settle(mut self) -> Self {
        match (&mut self.output.check_ignore, self.rest.as_slice()) {
            (Some(paths), _) => paths.append(&mut self.rest),
            (None, [dir]) if self.dir == "." => {
                if let Some(dir) = dir.to_str() {
                    self.dir = dir.into();
                    self.rest.clear();
                }
            }
            _ => {}
        }
        if let Some(last) = self.output.diff.pop_if(|last| last.is_dir()) {
            self.dir = last;
        }
        self
    }

    /// What the library is to do, but for the files of `--files-from` and the stat cache.
    pub(crate) fn config(&self, env: &BTreeMap<String, String>) -> Config {
        let output = &self.output;
        Config {
            root: self.dir.clone(),
            selection: Selection::Rules(self.rules()),
            engine: self.which.engine.into(),
            ignore_file: self.which.ignore_file.clone(),
            mode: self.which.mode.into(),
            build: self.build.file.as_ref().map(|file| self.build(file.clone(), env)),
            inputs: self.which.inputs.clone(),
            key_file: [&output.key_file, &output.check, &output.write].into_iter().find_map(Clone::clone),
            strict: self.run.strict,
            allow_changing: self.run.allow_changing,
            threads: self.threads(),
            cache: None,
        }
    }

    fn rules(&self) -> Rules {
        match self.which.ignore {
            Some(Ignore::Git) => Rules::Git,
            Some(Ignore::None) => Rules::None,
            Some(Ignore::Docker) => Rules::Docker,
            None if self.build.file.is_some() => Rules::Docker,
            Some(Ignore::All) | None => Rules::All,
        }
    }

    fn build(&self, dockerfile: Utf8PathBuf, env: &BTreeMap<String, String>) -> Build {
        let args: BTreeMap<String, String> =
            self.build.build_args.iter().filter_map(|arg| arg_value(arg, env)).collect();
        // Of two of one name the last counts, as for the engines.
        let contexts: BTreeMap<String, String> = self.build.contexts.iter().cloned().collect();
        Build {
            dockerfile,
            target: self.build.target.clone(),
            args: args.into_iter().collect(),
            platform: self.build.platform.clone().unwrap_or_default(),
            bases: [self.build.bases.as_slice(), &self.build.pins].concat(),
            pins: self.build.pins.clone(),
            uses: self.build.uses.clone(),
            sources: [self.build.sources.as_slice(), &self.build.pinned_sources].concat(),
            pinned_sources: self.build.pinned_sources.clone(),
            contexts: contexts.into_iter().collect(),
        }
    }

    fn threads(&self) -> usize {
        let own = || std::thread::available_parallelism().map_or(1, Into::into);
        self.run.threads.map_or_else(own, usize::from)
    }
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Buildkit => Self::BuildKit,
            EngineName::Docker => Self::DockerLegacy,
            EngineName::Podman => Self::Podman,
        }
    }
}

impl From<Mode> for ModePolicy {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Exec => Self::Exec,
            Mode::Full => Self::Full,
            Mode::None => Self::None,
        }
    }
}

/// `NAME=VALUE`; or `NAME`, whose value is the environment's. An argument without a value is
/// dropped, as engines do.
fn arg_value(arg: &str, env: &BTreeMap<String, String>) -> Option<(String, String)> {
    match arg.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => env.get(arg).map(|value| (arg.to_owned(), value.clone())),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it has to be `NAME=VALUE`".to_owned()),
    }
}

/// `ADDRESS=PIN`. An address may have a `=`, a pin has none.
fn source(text: &str) -> Result<(String, String), String> {
    let is_hex = |hex: &str, lengths: &[usize]| {
        lengths.contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match text.rsplit_once('=') {
        Some((address, pin))
            if !address.is_empty()
                && pin.strip_prefix("sha256:").map_or(is_hex(pin, &[40, 64]), |hex| is_hex(hex, &[64])) =>
        {
            Ok((address.to_owned(), pin.to_owned()))
        }
        _ => {
            Err("it has to be `ADDRESS=`, and then `sha256:` and 64 hex digits, or a whole commit".to_owned())
        }
    }
}

/// `NAME=ALGORITHM:HEX`.
fn base(text: &str) -> Result<(String, String), String> {
    // Neither a name nor a digest contains a `=`.
    let (name, digest) = pair(text)?;
    let is_hex = |hex: &str| hex.len() >= 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match digest.split_once(':') {
        Some((algorithm, hex)) if is_hex(hex) && algorithm.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Ok((name, digest))
        }
        _ => Err("the digest has to be `sha256:` and 64 hex digits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_arg_without_a_value_is_the_environments() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(arg_value("A", &env), Some(("A".into(), "1".into())));
        assert_eq!(arg_value("A=", &env), Some(("A".into(), String::new())));
        assert_eq!(arg_value("B", &env), None);
    }
}
