//! The options that say how much may stay.

use camino::Utf8PathBuf;
use clap::Args;
use gcctl::limits::Layer;
use gcctl::limits::scoped::together;
use storekit::{Age, WrittenSize};
use toolkit::amount::{Amount, Setting};
use toolkit::tables::{Count, Limit, Order};

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
    #[arg(long, value_name = "N")]
    max_images: Option<Setting<Count>>,
    /// Keep at most this many disks
    ///
    /// Where this is set, disks do not count for `--max-images`.
    #[arg(long, value_name = "N")]
    max_disks: Option<Setting<Count>>,
    /// Keep at most this many images of each name: the last used ones
    ///
    /// The name is the one in larder.toml, else the first that a load restores, without its tag:
    /// `app:1` and `app:2` are both of `app`. An image without either has no such limit.
    #[arg(long, value_name = "N")]
    max_per_image: Option<Setting<Count>>,
    /// Keep the last used images of each name, so many, whatever the other limits say
    ///
    /// The name is that of `--max-per-image`.
    #[arg(long, value_name = "N")]
    keep_last: Option<Setting<Count>>,
    /// Occupy at most this many bytes, trash included: 500MB, 10GB, 10GiB
    ///
    /// Counts images and packages: all that `df` shows, but for `contexts`, `events`,
    /// `first-seen`, `other` and the folders of the trash.
    /// What is unused for longest goes first, and packages are deleted at once. It holds although
    /// the last image of a name goes for it. Where it cannot be held even so, for what is pinned or
    /// kept by `--keep-last`, the newest image of each name stays, and all else goes: unless
    /// `--reserved` says what stays instead.
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Setting<WrittenSize>>,
    /// Collect for `--max-size` only over this many bytes: a size, or a share of it, such as `90%`
    /// [default: `--max-size`]
    #[arg(long, value_name = "SIZE")]
    high: Option<Setting<Amount>>,
    /// Then collect down to this many bytes [default: `--high`]
    #[arg(long, value_name = "SIZE")]
    low: Option<Setting<Amount>>,
    /// Keep images and packages that were used within this time: 12h, 30d
    ///
    /// Pinned images may be older.
    #[arg(long, value_name = "AGE")]
    max_age: Option<Setting<Age>>,
    /// Keep at most this many bytes of package downloads [else `max-size` of [pkgcache]]
    #[arg(long, value_name = "SIZE")]
    packages_max_size: Option<Setting<WrittenSize>>,
    /// Keep packages that were used within this time [else `max-age` of [pkgcache], else
    /// `--max-age`]
    #[arg(long, value_name = "AGE")]
    packages_max_age: Option<Setting<Age>>,
    /// Keep models that were used within this time [else `models-max-age` of [pkgcache], else what
    /// holds for packages]
    ///
    /// What came from a hub of models or a registry of Ollama's, and files of weights.
    #[arg(long, value_name = "AGE")]
    models_max_age: Option<Setting<Age>>,
    /// Leave at least this much of the file system of the images free: a size or a share
    /// [default: 5%, at most 10GB]
    ///
    /// The newest image of each name stays all the same, unless `--reserved` says otherwise. The
    /// default takes packages and trash alone, and is no failure where it cannot be had.
    #[arg(long, value_name = "SIZE")]
    min_free: Option<Setting<Amount>>,
    /// Keep this much, whatever `--max-size` and `--min-free` say: a size, or a share of the file
    /// system [default: the newest image of each name]
    ///
    /// Of images and packages, without trash. What would leave less stays, and what is used later
    /// goes in its place, as far as that leaves enough. By default, `--min-free` never takes the
    /// newest image of a name, and `--max-size` only where that makes it hold; `0` lets both take
    /// all that no pin and no `--keep-last` holds.
    #[arg(long, value_name = "SIZE")]
    reserved: Option<Setting<Amount>>,
    /// Limit some things: `ecosystem=npm,max-size=2GB`, `kind=images,name=app-*,max-entries=3`
    ///
    /// Of a `kind` (`images`, `disks`, `packages`), of an `ecosystem`, with a name like `name` (of
    /// an image in larder.toml, or with its tag or without, or its key): at
    /// most `max-size` bytes together, at most `max-entries`, none unused for longer than `max-age`
    /// (the last that is about a thing counts, and not `--max-age`), and `keep-last` of each name
    /// in any case.
    #[arg(long, value_name = "LIMIT")]
    limit: Vec<Limit>,
    /// What goes first: `lru`, what is unused for longest, and of equal ones what was used least;
    /// `cost`, what is cheapest to have again for what it frees [default: lru]
    ///
    /// The cost is the time that its build took, or that its download takes, times its uses, by the
    /// bytes that it alone needs. Downloads are reckoned at the rate that `pkgcache` has measured
    /// of the source; from less than 1 MB, at that of the ecosystem, then of all, then at 10 MB/s.
    /// `gcctl stats` tells the rates.
    #[arg(long, value_name = "ORDER")]
    order: Option<Order>,
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
        conflicts_with_all = ["max_disks", "packages_max_size", "packages_max_age", "models_max_age", "min_free", "reserved", "high", "low", "limit", "order", "trash_grace"]
    )]
    pub(super) listing: Option<Utf8PathBuf>,
    /// The tier that it lists: its limits are in [gcctl.NAME] of larder.toml, with `keep` and
    /// `keep-refs`
    #[arg(long, value_name = "NAME", requires = "listing")]
    pub(super) tier: Option<String>,
    /// Plan also what takes more than half of the images for a limit of bytes
    ///
    /// Of the store, that is planned in any case, and with this nothing is said of what `run` would
    /// hold back.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Args)]
pub(super) struct ForceArg {
    /// Delete also all images or packages, or more than half of them, or of an `[[extra]]` folder,
    /// for good, if a limit asks for that
    ///
    /// Without it, such a limit is held back: what it would take stays, and is listed; what other
    /// limits and other folders ask for goes, and the exit code is 2. The same holds of a limit
    /// below 1 MB without a unit: `--max-size 10` is ten bytes.
    #[arg(long)]
    pub(super) force: bool,
}

impl LimitArgs {
    pub(super) fn layer(&self) -> Layer {
        Layer {
            max_images: self.max_images,
            max_disks: self.max_disks,
            max_per_image: self.max_per_image,
            keep_last: self.keep_last,
            max_size: self.max_size,
            high: self.high,
            low: self.low,
            max_age: self.max_age,
            packages_max_size: self.packages_max_size,
            packages_max_age: self.packages_max_age,
            models_max_age: self.models_max_age,
            min_free: self.min_free,
            reserved: self.reserved,
            order: self.order,
            trash_grace: self.trash_grace,
            background: None,
            engine: Vec::new(),
            scoped: self.limit.iter().cloned().fold(Vec::new(), |all, it| together(vec![it], all)),
        }
    }
}
