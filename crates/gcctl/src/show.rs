//! What people and scripts get to see.

use jiff::Timestamp;
use serde::Serialize;
use storekit::{ByteSize, Digest, Key};

use crate::limits::{Limits, Why};
use crate::plan::{Eviction, Left, Plan, Unmet};
use crate::plan_file::{self, WrittenUnmet};
use crate::snapshot::{Holders, Image, Snapshot, Usage};
use crate::sweep::{Kept, Reason, Swept};
use crate::table::{Align, Table, ago, count, span};

/// An image as `ls` shows it: one JSON object a line.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    key: &'a Key,
    digest: Digest,
    names: &'a [String],
    /// Bytes on disk, with what it shares.
    size: u64,
    /// Bytes on disk that would be free if it alone went.
    own: u64,
    saved: Timestamp,
    used: Timestamp,
    uses: u64,
    pinned: bool,
    /// Whether something that it needs is not there.
    incomplete: bool,
}

/// The images, the last used first.
#[must_use]
pub fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let holders = Holders::of(snapshot);
    let mut rows: Vec<_> = snapshot.images.iter().map(|image| row(snapshot, image, &holders)).collect();
    rows.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(b.key)));
    rows
}

fn row<'a>(snapshot: &Snapshot, image: &'a Image, holders: &Holders) -> Row<'a> {
    Row {
        key: &image.key,
        digest: image.digest,
        names: &image.names,
        size: snapshot.size(image),
        own: snapshot.own(image, holders),
        saved: image.saved,
        used: image.used,
        uses: image.uses,
        pinned: image.pinned,
        incomplete: image.incomplete,
    }
}

/// The table of `ls`.
#[must_use]
pub fn list(rows: &[Row<'_>], now: Timestamp) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("KEY", Left),
        ("SIZE", Right),
        ("OWN", Right),
        ("LAST USE", Right),
        ("USES", Right),
        ("NAMES", Left),
    ]);
    for row in rows {
        let marks = [(row.pinned, "(pinned)"), (row.incomplete, "(incomplete)")];
        let marks = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark);
        let names: Vec<_> = row.names.iter().map(String::as_str).chain(marks).collect();
        table.row([
            row.key.to_string(),
            size(row.size),
            size(row.own),
            ago(row.used, now),
            row.uses.to_string(),
            names.join(" "),
        ]);
    }
    table
}

/// What `df --json` prints.
#[derive(Debug, Serialize)]
pub struct Df {
    #[serde(flatten)]
    usage: Usage,
    total: u64,
    free: u64,
    images: usize,
}

/// The numbers of `df`.
#[must_use]
pub fn df(snapshot: &Snapshot) -> Df {
    let usage = snapshot.usage();
    Df { usage, total: usage.total(), free: snapshot.free, images: snapshot.images.len() }
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
        ("unfinished", usage.unfinished, "what is being written, or was left unfinished"),
        ("trash", usage.trash, "what was removed and could be brought back"),
        ("damaged", usage.damaged, "what was set aside: its bytes are not what they should be"),
        ("other", usage.other, "all else: events, index, contexts, packages, folders"),
        ("total", df.total, "the whole folder"),
    ] {
        table.row([what.to_owned(), size(bytes), note.to_owned()]);
    }
    table
}

/// The table of what goes, or went. With `all`, each blob that nothing needs has a line of its own.
#[must_use]
pub fn going(plan: &Plan, images: &[Eviction], all: bool) -> Table {
    use Align::{Left, Right};
    let mut table =
        Table::new(&[("WHAT", Left), ("FREES", Right), ("LAST USE", Right), ("USES", Right), ("WHY", Left)]);
    for image in images {
        let last_use = ago(image.used, plan.time);
        table.row([
            image.key.to_string(),
            size(image.bytes),
            last_use,
            image.uses.to_string(),
            why(image.why, &plan.limits),
        ]);
    }
    let mut other = |what: String, bytes: u64, why: String| {
        table.row([what, size(bytes), "-".into(), "-".into(), why]);
    };
    if all {
        plan.blobs.iter().for_each(|blob| other(blob.digest.to_string(), blob.bytes, UNNEEDED.into()));
    } else if !plan.blobs.is_empty() {
        let bytes = plan.blobs.iter().fold(0, |sum: u64, blob| sum.saturating_add(blob.bytes));
        other(count(plan.blobs.len() as u64, "blob"), bytes, UNNEEDED.into());
    }
    if plan.abandoned > 0 {
        other("unfinished files".into(), plan.abandoned, "left by a writer that died".into());
    }
    for emptied in &plan.trash {
        other(format!("trash/{}", emptied.name), emptied.bytes, why(emptied.why, &plan.limits));
    }
    table
}

const UNNEEDED: &str = "no image needs it";

/// Why something goes.
#[must_use]
pub fn why(why: Why, limits: &Limits) -> String {
    let bytes = |limit: Option<ByteSize>| limit.unwrap_or_default();
    match why {
        Why::MaxAge => format!("unused for over {}", span(limits.max_age.unwrap_or_default().0.as_secs())),
        Why::MaxImages => format!("over {}", count(limits.max_images.unwrap_or_default(), "image")),
        Why::MaxSize => format!("over {}", bytes(limits.max_size)),
        Why::MinFree => format!("under {} free", bytes(limits.min_free)),
        Why::TrashGrace => format!("removed over {} ago", span(limits.grace().as_secs())),
        Why::Clean => "clean".to_owned(),
    }
}

/// What a plan comes to, in one line.
#[must_use]
pub fn outlook(plan: &Plan) -> String {
    let mut parts = Vec::new();
    if plan.bytes() > 0 {
        let blobs = plan.images.iter().map(|image| image.blobs.len()).sum::<usize>() + plan.blobs.len();
        let fate = if plan.shred { "be deleted at once" } else { "go into the trash" };
        parts.push(format!("{} would {fate}", amount(plan.images.len(), blobs as u64, plan.bytes())));
    }
    if !plan.trash.is_empty() {
        let emptied = plan.trash.iter().fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
        parts.push(format!("{} of trash would be emptied", ByteSize(emptied)));
    }
    if parts.is_empty() {
        parts.push("nothing would go".to_owned());
    }
    format!("{}; {}", parts.join(", "), left(&plan.left))
}

/// What a sweep did, in one line.
#[must_use]
pub fn result(swept: &Swept, limits: &Limits) -> String {
    let mut parts = Vec::new();
    if swept.emptied > 0 {
        parts.push(format!("emptied {} of trash", ByteSize(swept.emptied)));
    }
    if swept.bytes > 0 {
        parts.push(format!("removed {}", amount(swept.images.len(), swept.blobs, swept.bytes)));
    }
    if swept.trashed > 0 {
        let grace = span(limits.grace().as_secs());
        parts.push(format!("for {grace} in the trash (`gcctl undo` brings it back)"));
    }
    if parts.is_empty() {
        parts.push("nothing to remove".to_owned());
    }
    format!("{}; {}", parts.join(", "), left(&swept.left))
}

fn amount(images: usize, blobs: u64, bytes: u64) -> String {
    format!("{} and {} ({})", count(images as u64, "image"), count(blobs, "blob"), ByteSize(bytes))
}

fn left(left: &Left) -> String {
    format!("left: {}, {} with trash", count(left.images, "image"), ByteSize(left.bytes))
}

/// A limit that is not met, in one line.
#[must_use]
pub fn unmet(unmet: &Unmet) -> String {
    let Unmet { why, left, limit } = *unmet;
    let held = "the rest is pinned or in use";
    match why {
        Why::MaxImages => format!("{} left, over the limit of {limit}: {held}", count(left, "image")),
        Why::MinFree => {
            format!("only {} free, under the limit of {}: {held}", ByteSize(left), ByteSize(limit))
        }
        _ => format!("{} left, over the limit of {}: {held}", ByteSize(left), ByteSize(limit)),
    }
}

/// Why something stayed.
#[must_use]
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Gone => "gone already",
        Reason::SavedAnew => "another image was saved under it",
        Reason::Used => "used since",
        Reason::Pinned => "pinned since",
        Reason::InUse => "in use",
        Reason::Needed => "needed by an image now",
    }
}

/// A line of what `run` and `apply` print with `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line<'a> {
    /// An image that went.
    Image {
        /// Its key.
        key: &'a Key,
        /// Its digest.
        digest: Digest,
        /// For which limit.
        why: Why,
        /// The bytes that the plan said.
        bytes: u64,
    },
    /// Something that stayed although the plan names it.
    Kept {
        /// A key or a digest.
        name: &'a str,
        /// Why.
        reason: Reason,
    },
    /// The last line.
    End {
        /// How many images went.
        images: usize,
        /// How many blobs went.
        blobs: u64,
        /// The bytes that went out of images/.
        bytes: u64,
        /// Of these, what lies in the trash.
        trashed: u64,
        /// The bytes of trash that was emptied.
        emptied: u64,
        /// What is left.
        left: Left,
        /// The limits that are not met.
        unmet: Vec<WrittenUnmet>,
    },
}

/// What `run` and `apply` print with `--json`.
#[must_use]
pub fn lines(swept: &Swept) -> Vec<Line<'_>> {
    let images = swept.images.iter().map(|it| Line::Image {
        key: &it.key,
        digest: it.digest,
        why: it.why,
        bytes: it.bytes,
    });
    let kept = swept.kept.iter().map(|Kept { name, reason }| Line::Kept { name, reason: *reason });
    let Swept { blobs, bytes, trashed, emptied, left, .. } = *swept;
    let unmet = plan_file::written(&swept.unmet);
    let end = Line::End { images: swept.images.len(), blobs, bytes, trashed, emptied, left, unmet };
    images.chain(kept).chain([end]).collect()
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}
