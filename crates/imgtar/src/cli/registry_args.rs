//! The flags of the commands that speak with registries.

use clap::ValueEnum;
use imgtar::engine::Kind;
use imgtar::format::compression::Form;
use imgtar::format::oci::Platform;
use storekit::Reference;
use storekit::{Age, Key, KeyOrName};

use crate::cli::NoteArgs;
use crate::cli::tier::TierArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// The image: its key, the beginning of one, or a name
    pub(crate) key: KeyOrName,
    /// Where it goes, such as `registry.example/team/app:1`; several get it in this order, and what
    /// is in one repository moves once
    #[arg(value_name = "REF", required_unless_present = "tier", conflicts_with = "tier")]
    pub(crate) references: Vec<Reference>,
    /// How layers are compressed in the registry; Docker before 23 cannot pull zstd
    #[arg(long, value_name = "HOW", default_value = "keep", conflicts_with = "tier")]
    pub(crate) compress: Recompress,
    /// Another repository of the registry that has some of the layers; may be given more than once
    #[arg(long, value_name = "NAME", conflicts_with = "tier")]
    pub(crate) from: Vec<String>,
    /// Send also layers that are kept elsewhere (`urls`, as those of Windows), if their makers
    /// allow it. A registry that refuses such addresses gets them as its own, and the image has
    /// another digest there
    #[arg(long, conflicts_with = "tier")]
    pub(crate) foreign: bool,
    /// Write the key into the image's manifest there, as the annotation `dev.larder.key`, which
    /// `resolve --key` prints; the image has another digest then
    #[arg(long, conflicts_with = "tier")]
    pub(crate) note_key: bool,
    /// Send nothing: ask whether the registry can be reached and takes a push to each repository.
    /// It may be silent for TIME, 10s by default
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10s",
        conflicts_with = "tier"
    )]
    pub(crate) check: Option<Age>,
    /// Replace what stands under the key in the place of `--tier`
    #[arg(long, requires = "tier")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) tier: TierArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// The image, such as `debian:12` or `registry.example/team/app@sha256:…`; its key with
    /// `--tier`
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// What the image is found by; `sha256-HEX`, after its digest, by default
    #[arg(long, conflicts_with = "tier")]
    pub(crate) key: Option<Key>,
    /// Only the image for this platform, such as `linux/arm64`; all by default
    #[arg(long, conflicts_with = "tier")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) notes: NoteArgs,
    #[command(flatten)]
    pub(crate) tier: TierArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TagsArgs {
    /// The repository, such as `registry.example/team/app`
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: Reference,
    /// How long the registry may be silent, such as `5s`: what did not answer is not asked again
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Age>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetagArgs {
    /// The image, such as `registry.example/team/app:1.2`
    #[arg(value_name = "REF")]
    pub(crate) reference: Reference,
    /// A further name for it in the same repository
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<Reference>,
    /// How long the registry may be silent, such as `5s`: what did not answer is not asked again
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Age>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResolveArgs {
    /// The image, such as `debian:12`; or the URL of a file
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// The digest of the image for this platform, where the reference stands for several
    #[arg(long, conflicts_with = "engine")]
    pub(crate) platform: Option<Platform>,
    /// Print the key that the image was pushed with (`push --note-key`), and not its digest; exit
    /// code 1 if it has none
    #[arg(long, conflicts_with_all = ["platform", "engine"])]
    pub(crate) key: bool,
    /// Ask this engine what it holds under the name, instead of the registry
    #[arg(long)]
    pub(crate) engine: Option<Kind>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// How registries are spoken with.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct RegistryArgs {
    /// Talk to the registry without TLS; not needed for a registry on this machine
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// A token server that may get the registry's password; LARDER_AUTH_REALM names one too
    #[arg(long, value_name = "HOST")]
    pub(crate) auth_realm: Vec<String>,
    /// How many blobs move at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recompress {
    /// Every byte as it is stored, and so the digest
    Keep,
    /// All layers with zstd
    Zstd,
    /// All layers with gzip
    Gzip,
}

impl Recompress {
    pub(crate) fn form(self) -> Option<Form> {
        match self {
            Self::Keep => None,
            Self::Zstd => Some(Form::Zstd),
            Self::Gzip => Some(Form::Gzip),
        }
    }
}
