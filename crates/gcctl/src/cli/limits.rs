//! The options that say how much may stay.

use camino::Utf8PathBuf;
use clap::Args;
use gcctl::Limits;
use storekit::{Age, WrittenSize};

// Limits; the `LARDER_MAX_IMAGES`, … variables and `[gcctl]` in larder.toml say what no option
// says.
#[derive(Args)]
#[command(
    next_help_heading = "Limits (else LARDER_MAX_IMAGES …, else `max-images` … of [gcctl] in larder.toml)"
)]
pub(super) struct LimitArgs {
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
pub(super) struct PlaceArgs {
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
    pub(super) listing: Option<Utf8PathBuf>,
    /// The tier that it lists: its limits are in [gcctl.NAME] of larder.toml, with `keep` and
    /// `keep-refs`
    #[arg(long, value_name = "NAME", requires = "listing")]
    pub(super) tier: Option<String>,
    /// Plan also what takes more than half of the images for a limit of bytes
    #[arg(long, requires = "listing")]
    pub(super) force: bool,
}

#[derive(Args)]
pub(super) struct ForceArg {
    /// Delete also all images or packages, or more than half of them, for good, if a limit of bytes
    /// asks for that
    ///
    /// Without it, such a limit is refused with exit code 2, and what would be lost is listed. So
    /// is a limit below 1 MB without a unit: `--max-size 10` is ten bytes.
    #[arg(long)]
    pub(super) force: bool,
}

impl LimitArgs {
    pub(super) fn limits(&self) -> Limits {
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
