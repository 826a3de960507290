//! What a store occupies, by kind.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use storekit::digest::DigestMap;
use storekit::{ByteSize, Digest};
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

/// The parts, in their order: the name, the bytes, and what it is.
#[must_use]
pub(crate) fn parts(usage: &Usage) -> [(&'static str, u64, &'static str); 13] {
    [
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
        ("first-seen", usage.first_seen, "when versions of packages were first seen, for `cooldown`"),
        ("other", usage.other, "all else: index, inputs of no key, folders, files with several names"),
    ]
}

/// What a bar stands beside: names and sizes.
const BESIDE: usize = 24;
/// A shorter bar says nothing, and a longer one no more.
const SHORTEST: usize = 8;
const LONGEST: usize = 40;

/// The table of `df`; on a terminal of so many columns with bars, of which the longest is the
/// largest part. Where there is no room for both, the bars stand in the place of the words.
#[must_use]
pub fn df_table(df: &Df, columns: Option<usize>) -> Table {
    let rows = parts(&df.usage);
    let words = rows.iter().map(|(_, _, note)| note.chars().count() + 2).max().unwrap_or(0);
    let room = columns.map_or(0, |columns| columns.saturating_sub(BESIDE));
    let has_both = room >= words + SHORTEST;
    let width = if has_both { room - words } else { room }.min(LONGEST);
    let has_bars = width >= SHORTEST;
    let headings = [("WHAT", Align::Left), ("SIZE", Align::Right), ("", Align::Left), ("", Align::Left)];
    let mut table = Table::new(if has_bars && has_both { &headings } else { &headings[..3] });
    let most = rows.iter().map(|(_, bytes, _)| *bytes).max().unwrap_or(0);
    let mut row = |what: &str, bytes: u64, bar: String, note: &str| {
        let cells = [what.to_owned(), ByteSize(bytes).to_string()];
        let bar = has_bars.then_some(bar);
        let note = (!has_bars || has_both).then(|| note.to_owned());
        table.row(cells.into_iter().chain(bar).chain(note));
    };
    for (what, bytes, note) in rows {
        row(what, bytes, bar(bytes, most, width), note);
    }
    row("total", df.total, String::new(), "the whole folder");
    table
}

/// A bar of eighths of columns; the longest is so wide. What is not nothing shows.
fn bar(bytes: u64, most: u64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let all = u128::from(bytes) * 8 * width as u128;
    let eighths = usize::try_from(all.checked_div(u128::from(most)).unwrap_or(0)).unwrap_or(0);
    let eighths = eighths.max(usize::from(bytes > 0)).min(8 * width);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// What the images of one name occupy.
#[derive(Default)]
struct OfName {
    images: u64,
    own: u64,
    shared: u64,
}

/// The table of `df --verbose`: the images by name. OWN is what would be free without all images of
/// the name; what images of several names share counts for each of them.
#[must_use]
pub fn image_names(snapshot: &Snapshot) -> Table {
    use Align::{Left, Right};
    let mut holder: DigestMap<Option<&str>> = DigestMap::default();
    holder.extend(snapshot.foreign.iter().map(|digest| (*digest, None)));
    for image in &snapshot.images {
        for digest in &image.blobs {
            let by = holder.entry(*digest).or_insert(image.name().or(Some("-")));
            *by = by.filter(|by| *by == image.name().unwrap_or("-"));
        }
    }
    let mut sums: BTreeMap<&str, (OfName, HashSet<Digest>)> = BTreeMap::new();
    for image in &snapshot.images {
        let (sum, counted) = sums.entry(image.name().unwrap_or("-")).or_default();
        sum.images += 1;
        sum.own += image.files;
        for digest in image.blobs.iter().filter(|digest| counted.insert(**digest)) {
            let is_own = holder.get(digest).is_some_and(Option::is_some);
            *(if is_own { &mut sum.own } else { &mut sum.shared }) += snapshot.bytes(digest);
        }
    }
    let mut rows: Vec<_> = sums.into_iter().map(|(name, (sum, _))| (name, sum)).collect();
    rows.sort_by_key(|(_, sum)| Reverse(sum.own));
    let mut table = Table::new(&[("NAME", Left), ("IMAGES", Right), ("OWN", Right), ("SHARED", Right)]);
    for (name, sum) in rows {
        let bytes = |bytes| ByteSize(bytes).to_string();
        table.row([name.to_owned(), sum.images.to_string(), bytes(sum.own), bytes(sum.shared)]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: u64, most: u64, text: &str) {
        assert_eq!(bar(bytes, most, 8), text);
    }

    #[test]
    fn the_largest_part_has_the_longest_bar_and_nothing_has_none() {
        check(0, 0, "");
        check(0, 9, "");
        check(u64::MAX, u64::MAX, "████████");
        check(32, 64, "████");
        check(33, 64, "████▏");
        check(1, u64::MAX, "▏");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let usage = Usage { unique: 700_000_000, events: 3, ..Usage::default() };
        let df = Df { usage, total: usage.total(), free: 0, images: 1, referrers: 0, urls: 0 };
        let widest = |columns| {
            let text = df_table(&df, columns).text(false);
            (
                text.lines().map(|line| line.chars().count()).max().unwrap(),
                text.contains('█'),
                text.contains("what"),
            )
        };
        assert!(!widest(None).1 && widest(None).2);
        assert!(!widest(Some(20)).1, "there is no room for bars");
        for columns in 40..200 {
            let (widest, has_bars, has_words) = widest(Some(columns));
            assert!(widest <= columns && has_bars && has_words == (columns >= 102), "{columns} {widest}");
        }
    }
}
