//! What a store occupies, by kind.

use serde::Serialize;
use storekit::ByteSize;
use toolkit::{Align, Table};

use crate::packages::Packages;
use crate::snapshot::{Snapshot, Usage};

/// What `df --json` prints.
#[derive(Debug, Serialize)]
pub struct Df {
    #[serde(flatten)]
    usage: Usage,
    total: u64,
    free: u64,
    images: u64,
    /// What refers to these images, and lives and dies with them.
    referrers: u64,
    /// How many URLs are stored.
    urls: u64,
}

/// The numbers of `df`.
#[must_use]
pub fn df(snapshot: &Snapshot) -> Df {
    let usage = snapshot.usage();
    let images = snapshot.count(&snapshot.referrers());
    let referrers = snapshot.images.len() as u64 - images;
    let urls = snapshot.packages.len() as u64;
    Df { usage, total: usage.total(), free: snapshot.free, images, referrers, urls }
}

/// The table of `df`.
#[must_use]
pub fn df_table(df: &Df) -> Table {
    let mut table = Table::new(&[("WHAT", Align::Left), ("SIZE", Align::Right), ("", Align::Left)]);
    let usage = &df.usage;
    for (what, bytes, note) in [
        ("unique", usage.unique, "what one image alone needs"),
        ("shared", usage.shared, "what several images need, counted once"),
        ("unreferenced", usage.unreferenced, "what no image needs: goes with the next run"),
        ("packages", usage.packages, "downloads that one URL has"),
        ("  shared", usage.packages_shared, "downloads that several URLs have, counted once"),
        ("  unneeded", usage.packages_unneeded, "downloads that no URL has any more: go with the next run"),
        ("unfinished", usage.unfinished, "what is being written, or was left unfinished"),
        ("trash", usage.trash, "what was removed and could be brought back"),
        ("damaged", usage.damaged, "what was set aside: its bytes are not what they should be"),
        ("contexts", usage.contexts, "what hashctx remembers of folders"),
        ("events", usage.events, "what happened, for `stats`"),
        ("other", usage.other, "all else: index, inputs of no key, folders, files with several names"),
        ("total", df.total, "the whole folder"),
    ] {
        table.row([what.to_owned(), ByteSize(bytes).to_string(), note.to_owned()]);
    }
    table
}

/// The table of `df --verbose`: the packages by ecosystem.
#[must_use]
pub fn ecosystems(packages: &Packages) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[("ECOSYSTEM", Left), ("URLS", Right), ("OWN", Right), ("SHARED", Right)]);
    for (ecosystem, sum) in packages.by_ecosystem() {
        let bytes = |bytes| ByteSize(bytes).to_string();
        table.row([ecosystem.to_owned(), sum.entries.to_string(), bytes(sum.own), bytes(sum.shared)]);
    }
    table
}
