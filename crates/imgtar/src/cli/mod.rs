//! The command line of `imgtar`: its flags, what each command does with the library, and what is
//! printed. Nothing else of imgtar knows clap, the environment or the terminal.
//!
//! Deliberately absent: anything that reads or writes a stored byte.
#![expect(clippy::doc_markdown, reason = "the comments are the manual's text, in which backticks show")]

pub(crate) mod bar;
pub(crate) mod disk;
pub(crate) mod docker_host;
pub(crate) mod engine;
pub(crate) mod extract;
mod index;
pub(crate) mod init;
mod packages;
pub(crate) mod registry;
pub(crate) mod registry_args;
pub(crate) mod run;
mod serve;
mod signing;
pub(crate) mod tier;
pub(crate) mod view;

use camino::Utf8PathBuf;
use clap::{Parser, Subcommand, ValueEnum};
use imgtar::engine::Kind;
use imgtar::format::oci::Platform;
use storekit::Reference;
use storekit::{Key, KeyOrName, Remark};
use toolkit::Common;

pub(crate) use self::serve::{ServeArgs, serve};

const EXAMPLE: &str = "Example:
    key=$(hashctx -f Dockerfile --platform linux/amd64 .)
    imgtar load \"$key\" || {
        docker build --platform linux/amd64 -t app . && imgtar save \"$key\" app; }";

/// Keep container images in a store that is an OCI image layout
///
/// Images come from archives (`import`), engines (`save`), registries (`pull`) or folders (`pack`),
/// and go back to archives (`export`), engines (`load`) and registries (`push`). Each stands under
/// a KEY, as `hashctx` prints one: 1 to 128 letters, digits, `_`, `.` and `-`. A layer is stored
/// once, whatever number of images share it. Image IDs and layer digests never change.
///
/// A stored image can also be named by the first 4 or more hex digits of its key, or by a name: one
/// that it was saved with, such as `app` or `app:1`, or the one in larder.toml (`--image`); of
/// several with that name it is the newest. A key goes before a name, and a name before the
/// beginning of a key. Exit code 2, and a list, where several keys begin so. A whole key of 64 hex
/// digits is only ever that key, and saves are always under the key as it is written.
///
/// The store is the folder of `--store`, else LARDER_DIR, else `[store] dir` in larder.toml or in
/// larder/config.toml in your config folder, else `larder` in your cache folder. OCI tools read it:
/// `skopeo inspect oci:STORE/images:KEY`.
///
/// The engine is docker if it answers, else podman, where `--engine` does not say. DOCKER_HOST and
/// docker's contexts are used; LARDER_DOCKER and LARDER_PODMAN name commands to call instead of
/// `docker` and `podman`.
///
/// Exit codes: 0 done, or yes; 1 nothing is stored under the key; 2 trouble; 3 stored bytes are
/// damaged or missing, and nothing was handed on that could pass as complete.
#[derive(Debug, Parser)]
#[command(name = "imgtar", version, max_term_width = 100, after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Save an image archive, or a disk image, under a key
    ///
    /// Reads what `docker save`, `podman save` (docker-archive and oci-archive), `skopeo copy` and
    /// `imgtar export` write: plain, gzip or zstd. An archive with several images or platforms is
    /// kept whole. A layer that is stored already is only hashed where FILE is a plain tar, so name
    /// the file rather than piping it.
    ///
    /// The first save under a key wins, unless `--force`; a key whose blobs are missing or damaged
    /// counts as unsaved. An archive that is cut off, damaged or hostile changes nothing.
    ///
    /// A disk image is stored in chunks of about 4MB, those of zeros left out, and shares with
    /// other disks what they have in the same places. A qcow2 is known by its first bytes, a raw
    /// disk by the end of its name, `.raw` or `.img`, or by `--type raw`. One in gzip or zstd, such
    /// as `disk.raw.gz`, is decompressed.
    #[command(after_long_help = "Example:\n    docker save app | imgtar import \"$key\"")]
    Import {
        /// What the image is found by
        key: Key,
        /// The archive or the disk, `-` for stdin
        #[arg(default_value = "-")]
        file: Utf8PathBuf,
        /// What FILE is; told by its first bytes and its name by default
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<crate::cli::disk::FileType>,
        #[command(flatten)]
        notes: NoteArgs,
    },
    /// Write an image archive, or a disk image
    ///
    /// The archive is a docker-archive and an OCI layout in one, with plain layers, the whole of it
    /// compressed with zstd. Docker from 23 on, podman and skopeo load it. Docker before 23 needs
    /// `--compress none`. Layers are verified while they are written, and the list of images comes
    /// last: a stream that breaks off, or that meets a damaged layer (exit code 3), loads nowhere.
    ///
    /// Artifacts (charts, signatures), indexes for several platforms, and images that something in
    /// the store refers to are written as they are stored, so that their digests stay. An image
    /// comes with its signatures and SBOMs. With `--platform`, only the images come, with plain
    /// layers and OCI's media types: for tools that do not know Docker's (skopeo 1.9, umoci).
    ///
    /// A disk image comes out byte for byte, not compressed: with holes for its zeros where FILE is
    /// a file.
    #[command(after_long_help = "Example:\n    imgtar export \"$key\" --compress none | docker load")]
    Export {
        /// The image: its key, the beginning of one, or a name
        key: KeyOrName,
        /// The archive or the disk, `-` for stdout
        #[arg(default_value = "-")]
        file: Utf8PathBuf,
        /// How the whole is compressed: an archive with zstd by default, a disk not at all
        #[arg(long, value_name = "HOW")]
        compress: Option<Compress>,
        /// Only the images for this platform, such as `linux/arm64`
        #[arg(long)]
        platform: Option<Platform>,
    },
    /// Save an engine's image under a key
    ///
    /// Remembers the image's names for `load`. If a complete image is stored under the key already,
    /// the engine is not asked.
    ///
    /// If the store has layers of the image, the engine pushes it to a registry on 127.0.0.1 that
    /// lives as long as the save, and sends only new layers. Otherwise, or if that would take
    /// longer, it writes an archive. `-v` says which and why.
    #[command(after_long_help = "Example:\n    imgtar save \"$key\" app:latest --build-seconds 93")]
    Save {
        /// What the image is found by
        key: Key,
        /// The image's name or ID in the engine; docker takes a name without a tag for the images
        /// of all its tags
        image: String,
        #[command(flatten)]
        notes: NoteArgs,
        #[command(flatten)]
        engine: EngineArgs,
        /// How the image is copied: `push`, `archive`, or whichever is faster. With `push`, docker
        /// may have to compress and send layers that the store has; the next push need not
        #[arg(long, value_name = "HOW", default_value = "auto")]
        by: By,
    },
    /// Load an image into an engine, under its names
    ///
    /// A stored name without a registry is one of docker.io, also in podman. A name given with
    /// `--tag` is completed as the engine does it: podman keeps it as `localhost/NAME`.
    ///
    /// Sends only the layers that the engine lacks; an image that it has is only tagged. Each layer
    /// that is sent is verified before the engine can use the image: if one is damaged, the load
    /// ends with exit code 3, and the engine is as it was. Layers that the engine has are not read.
    #[command(after_long_help = "Example:\n    imgtar load \"$key\" || docker build -t app .")]
    Load {
        /// The image: its key, the beginning of one, or a name
        key: KeyOrName,
        /// A name for the image, instead of the stored ones; may be given more than once
        #[arg(long = "tag", value_name = "NAME")]
        tags: Vec<String>,
        /// The image for this platform, where the key holds several; the engine's own by default
        #[arg(long)]
        platform: Option<Platform>,
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Make an index of stored images, one for each platform
    ///
    /// No blob is copied. Engines take the image for their own platform from it, and a push gives a
    /// registry all of them under one name. Attestations that came with an image are listed after
    /// the images. The index keeps what it lists: a collection removes none of it, whatever becomes
    /// of the images' own keys.
    ///
    /// Where the key has this index already, nothing is done. Any other image under it stays,
    /// unless `--force`.
    #[command(
        after_long_help = "Example:\n    imgtar index \"$key\" \"$amd64\" \"$arm64\" --name app:1 && imgtar push \"$key\" registry.example/app:1"
    )]
    Index {
        /// What the index is found by
        key: Key,
        /// The images: keys, beginnings of keys, or names; of one that holds several platforms,
        /// `=PLATFORM` takes one
        #[arg(required = true, value_name = "IMAGE[=PLATFORM]")]
        parts: Vec<index::PartArg>,
        #[command(flatten)]
        notes: NoteArgs,
    },
    Init(crate::cli::init::InitArgs),
    Extract(crate::cli::extract::ExtractArgs),
    /// Tell by the exit code whether images are stored: 0 yes, 1 not all, 3 yes but blobs are
    /// missing
    ///
    /// Looks at documents and sizes, not at the bytes of layers: `verify` does. With `--remote`,
    /// registries are asked whether they have the images; with `--tier`, a place is asked for the
    /// keys, one question for each: 0 all of them, 1 not all. In a repository
    /// whose blobs Git LFS has not fetched, every command that needs them ends with 2 and names the
    /// command that fetches them.
    Has {
        /// The images: keys, beginnings of keys, or names; with `--tier` whole keys
        #[arg(required_unless_present = "remote", value_name = "KEY")]
        keys: Vec<KeyOrName>,
        /// Ask registries for these images
        #[arg(long, value_name = "REF", num_args = 1.., conflicts_with_all = ["keys", "tier"])]
        remote: Vec<Reference>,
        #[command(flatten)]
        tier: tier::TierArgs,
        #[command(flatten)]
        registry: registry_args::RegistryArgs,
    },
    /// Push an image to a registry
    ///
    /// Sends only what the registry lacks. What another of its repositories has (`--from`, or as
    /// seen before) is taken from there. With `--compress keep`, the image has the same digest
    /// there as here. For other forms, layers are compressed while they are sent, and manifests are
    /// written anew; image IDs and the contents of layers stay.
    ///
    /// Credentials come from where `docker login` and `podman login` keep them; HTTPS_PROXY,
    /// ALL_PROXY (`http`, `https`, `socks5`, and `socks5h`, which looks up the names), NO_PROXY,
    /// SSL_CERT_FILE and SSL_CERT_DIR are used. After a cut connection, or if the registry is busy,
    /// it tries again.
    ///
    /// With `--tier`, the image goes to another place, under its key and as it is stored, with all
    /// that is noted with it. The first save there wins too, unless `--force`: the other image's
    /// digest is said, and the exit code is 0. With `--force`, what is there already is read
    /// through, and sent anew where it is damaged; exit code 3 if the place keeps what is.
    #[command(
        after_long_help = "Examples:\n    imgtar push \"$key\" registry.example/team/app:1 --compress gzip\n    imgtar push \"$key\" --tier registry:registry.example/team/cache"
    )]
    Push(registry_args::PushArgs),
    /// Pull an image from a registry
    ///
    /// Fetches only what the store lacks. An image comes with all its platforms, its attestations
    /// and all else that its index names, byte for byte; every byte is verified. A pull that was
    /// cut goes on where it stopped when it is run again. The first save under a key wins, unless
    /// `--force`: with `--key`, the registry is not asked then. A REF with a digest gives the image
    /// no name, even with a tag. Exit code 1: the registry does not have the image.
    ///
    /// With `--tier`, REF is a key, and what stands under it in another place comes under the same
    /// key, with all that is noted with it: names, build time, where it came from, inputs. Exit
    /// code 3: what stands there is damaged.
    #[command(
        after_long_help = "Examples:\n    imgtar pull registry.example/team/app:1 --key \"$key\" && imgtar load \"$key\"\n    imgtar pull \"$key\" --tier registry:registry.example/team/cache --timeout 5s"
    )]
    Pull(Box<registry_args::PullArgs>),
    /// Print the digest that a reference stands for; exit code 1 if it does not exist
    ///
    /// The registry is asked, without reading the image. With `--engine`, the engine tells which
    /// digest the image has in that registry; for an image that was not pulled, the image's ID is
    /// printed. A file is fetched, and its SHA-256 is printed, as `ADD --checksum` takes it.
    #[command(
        after_long_help = "Example:\n    hashctx -f Dockerfile . --base debian:12=\"$(imgtar resolve debian:12)\""
    )]
    Resolve(registry_args::ResolveArgs),
    /// List the tags of a repository in a registry, sorted; exit code 1 if there is no such
    /// repository
    Tags(registry_args::TagsArgs),
    /// Give an image in a registry further tags in its repository; no blob moves
    ///
    /// Exit code 1: the registry does not have the image.
    Retag(registry_args::RetagArgs),
    /// List what is stored
    ///
    /// SIZE counts blobs that several keys share under each of them: `gcctl df` tells what is
    /// shared. With `--tier`, what stands in another place is listed.
    Ls {
        /// Only what is noted with each image, with `--tier`: no sizes and blobs, which need more
        /// questions
        #[arg(long, requires = "tier")]
        brief: bool,
        #[command(flatten)]
        tier: tier::TierArgs,
        #[command(flatten)]
        registry: registry_args::RegistryArgs,
    },
    /// Show an image's platforms, layers, sizes and names, an artifact's type and files
    Info {
        /// The image: its key, the beginning of one, or a name; with `--tier` a whole key
        key: KeyOrName,
        /// Print the manifest of inputs that was saved with the image, for `hashctx --diff`; with
        /// `--tier` that in another place
        #[arg(long, conflicts_with = "document")]
        inputs: bool,
        /// Print what the builds of the image fetched, as far as that is on record
        ///
        /// Steps that the engine took from its own cache fetched nothing: what they had fetched is
        /// told where an earlier build of the key, or of the image of that name before, did. So
        /// more may be told than is in the image. With `--json`, as FORMAT.md of the store says.
        /// Neither archives nor tiers carry it. Exit code 1: nothing is on record.
        #[arg(long, conflicts_with_all = ["document", "inputs"])]
        packages: bool,
        /// Print the image's own manifest or index, byte for byte
        #[arg(long = "manifest")]
        document: bool,
        #[command(flatten)]
        tier: tier::TierArgs,
        #[command(flatten)]
        registry: registry_args::RegistryArgs,
    },
    /// Set the names that `load` restores
    ///
    /// Replaces the names that were saved with the image. A name without a tag gets `:latest`.
    Tag {
        /// The image: its key, the beginning of one, or a name
        key: KeyOrName,
        /// Names such as `app:1.2`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Vouch for stored images; exit code 1 if one was not stored
    ///
    /// Signs with LARDER_SIGNING_KEY, a private key of Ed25519 in PEM or the path of one, that this
    /// image, with its names and inputs, stands under its key. Where it is set, `save`, `import`,
    /// `pack` and `index` sign what they save; what a pull brings is not signed by that. A push
    /// takes signatures along, and `--signed-by` asks for them.
    Sign {
        /// The images: keys, beginnings of keys, or names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<KeyOrName>,
    },
    /// Remove keys; exit code 1 if one was not stored, or stays
    ///
    /// A key that is pinned (`gcctl pin`) stays. What refers to a removed image alone (signatures,
    /// SBOMs) goes with it, unless it is pinned.
    ///
    /// The blobs stay until a collection (`gcctl run`), and `gcctl undo` brings the keys back until
    /// then.
    ///
    /// With `--tier`, they are removed from another place. What an entry that stays needs is not:
    /// a bucket loses the blobs that no other key needs and that are older than an hour, a registry
    /// deletes a manifest only where no other tag has it.
    Rm {
        /// The images: keys, beginnings of keys, or names; with `--tier` whole keys
        #[arg(required_unless_present = "plan", value_name = "KEY")]
        keys: Vec<KeyOrName>,
        /// Remove what a plan names, as `gcctl plan --listing FILE --tier NAME --json` prints it;
        /// `-` is stdin
        ///
        /// Each key is looked at again: one that another image stands under by now stays.
        #[arg(long, value_name = "FILE", requires = "tier", conflicts_with = "keys")]
        plan: Option<Utf8PathBuf>,
        #[command(flatten)]
        tier: tier::TierArgs,
        #[command(flatten)]
        registry: registry_args::RegistryArgs,
    },
    /// Read images through and compare every blob with its digest, every layer with its diffID
    ///
    /// Without a KEY, all images. Damaged blobs are moved aside, so that saving the image anew
    /// mends the store. Exit code 3 where something is damaged or missing; each such thing is a
    /// line on stdout.
    Verify {
        /// The images: keys, beginnings of keys, or names
        #[arg(value_name = "KEY")]
        keys: Vec<KeyOrName>,
    },
    /// Serve the store as an OCI registry, on loopback
    ///
    /// docker, podman, skopeo, containerd and BuildKit (`--cache-to type=registry`) pull from it
    /// and push to it. An image that was saved with the name app:1 is `127.0.0.1:5000/app:1`, any
    /// other is `127.0.0.1:5000/larder/keys:KEY`. What is pushed as team/app:1 stands under the key
    /// team._app..1 with that name (other OCI tools find it in the store as team/app:1), what is
    /// pushed as larder/keys:KEY under KEY. Engines that cannot read zstd layers are offered plain
    /// ones. skopeo reads them, but cannot write them to docker's own formats (`docker-daemon:`,
    /// `docker-archive:`): use `imgtar load` or `imgtar export` for these. podman and skopeo need
    /// `--tls-verify=false`, `ctr images pull` needs `--plain-http`.
    ///
    /// Every user of this machine can push, and what is pushed to larder/keys:KEY is what `imgtar
    /// load KEY` loads: if only some may push, give a token (`docker login -u any`, the token is
    /// the password) or `--read-only`.
    ///
    /// The address is printed when the server answers. The server ends with SIGTERM (exit code 0),
    /// Ctrl-C (130) or SIGHUP (129), after the requests that it is answering. There is no TLS: if
    /// other machines are to reach it, put a proxy in front of it, or trust the network.
    #[command(after_long_help = "Example:\n    imgtar serve & docker pull 127.0.0.1:5000/app:1")]
    Serve(ServeArgs),
    /// Make an image from a folder or a tar, without an engine
    ///
    /// A folder becomes one layer: sorted, owned by 0:0, modes 755 and 644, all times
    /// SOURCE_DATE_EPOCH (or 1980-01-02). The same input gives the same image ID on any machine. A
    /// tar becomes the layer as it is.
    #[command(
        after_long_help = "Example:\n    hashctx --tar dist | imgtar pack \"$key\" - --entrypoint /app --name app:latest"
    )]
    Pack {
        /// What the image is found by
        key: Key,
        /// A folder, a tar file, or `-` for a tar on stdin
        #[arg(value_name = "DIR|FILE")]
        from: Utf8PathBuf,
        #[command(flatten)]
        config: Box<PackArgs>,
        #[command(flatten)]
        notes: NoteArgs,
    },
}

/// What is noted beside a saved image.
#[derive(Debug, clap::Args)]
pub(crate) struct NoteArgs {
    /// How long the build took, in seconds: what a later load saves
    #[arg(long, value_name = "N")]
    pub(crate) build_seconds: Option<f64>,
    /// hashctx's manifest of the inputs, which explains later misses; an image for another platform
    /// is refused
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<Utf8PathBuf>,
    /// What the build fetched, as `pkgcache record` writes it: shown by `info --packages`
    ///
    /// Adds to what is on record of the key already, or else of the image of that name (`--image`)
    /// before, unless the file says that it is complete.
    #[arg(long, value_name = "FILE")]
    pub(crate) packages: Option<Utf8PathBuf>,
    /// Replace what is stored under the key
    #[arg(long)]
    pub(crate) force: bool,
    /// A name to remember, instead of those that came with the image; may be given more than once
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) origin: OriginArgs,
}

/// Where a saved image came from: shown by `info` and `ls --json`, and part of no digest.
#[derive(Debug, clap::Args)]
pub(crate) struct OriginArgs {
    /// What its project calls it: its name in larder.toml
    // `save` has an IMAGE of its own.
    #[arg(id = "origin_image", long = "image", value_name = "NAME")]
    pub(crate) image: Option<Remark>,
    /// The machine that made it
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<Remark>,
    /// The git commit that it was made from; a `+` at the end says that files had changed
    #[arg(long, value_name = "COMMIT")]
    pub(crate) commit: Option<Remark>,
    /// The project that it is of: where its git repository is, such as `git.example/team/app`
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<Remark>,
}

impl NoteArgs {
    /// Whether anything is to be noted.
    pub(crate) fn says_anything(&self) -> bool {
        let OriginArgs { image, host, commit, project } = &self.origin;
        self.build_seconds.is_some()
            || self.manifest.is_some()
            || !self.names.is_empty()
            || [image, host, commit, project].into_iter().any(Option::is_some)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Which engine; by default docker if it answers, else podman
    #[arg(long)]
    pub(crate) engine: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Auto,
    Push,
    Archive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    Zstd,
    None,
}

/// What the config of a packed image says.
#[derive(Debug, clap::Args)]
pub(crate) struct PackArgs {
    /// What is run: one word, or a JSON list; may be given more than once, word by word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) entrypoint: Vec<String>,
    /// Its default arguments, given like `--entrypoint`
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) cmd: Vec<String>,
    /// An environment variable; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Where the command starts
    #[arg(long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// A label; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// The user that runs it
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// For which machine; this one's by default
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
}
