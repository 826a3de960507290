//! What people and scripts get to see.

mod df;
pub mod files;
pub mod info;
pub mod ls;

use std::collections::BTreeMap;

use serde::Serialize;
use storekit::{ByteSize, Digest, Key, WrittenSize};

use crate::limits::{Limits, Why};
use crate::packages::Eviction as PackageEviction;
use crate::plan::file::{self as plan_file, WrittenUnmet};
use crate::plan::{Eviction, Left, Objection, Plan, Rest, Unmet};
use crate::sweep::{Kept, Reason, Swept};
pub use df::{Df, df, df_table, ecosystems, image_names};
use toolkit::words::{ago, count, span};
use toolkit::{Align, Table};

/// The table of what goes, or went. With `all`, each blob that nothing needs has a line of its own.
#[must_use]
pub fn going<'a>(
    plan: &Plan,
    images: &[Eviction],
    packages: impl Iterator<Item = PackageEviction<'a>> + Clone,
    all: bool,
) -> Table {
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
    // A cache of packages has many: without `all`, they stand together by ecosystem and reason.
    for PackageEviction { package, why: reason, bytes } in packages.clone().filter(|_| all) {
        let (last_use, reason) = (ago(package.used(), plan.time), why(reason, &plan.limits));
        table.row([package.url().to_owned(), size(bytes), last_use, "-".into(), reason]);
    }
    let mut other = |what: String, bytes: u64, why: String| {
        table.row([what, size(bytes), "-".into(), "-".into(), why]);
    };
    for ((ecosystem, reason), (number, bytes)) in
        if all { BTreeMap::new() } else { together(packages, &plan.limits) }
    {
        let what = format!("{} of {ecosystem}", count(number, "package"));
        other(what, bytes, reason);
    }
    if !plan.bodies.is_empty() {
        let bytes = plan.bodies.iter().fold(0, |sum: u64, body| sum.saturating_add(body.bytes));
        other(counted(&[(plan.bodies.len() as u64, "package body")]), bytes, "no package needs it".into());
    }
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

/// How many packages of an ecosystem go for a reason, and what that frees.
fn together<'a>(
    packages: impl Iterator<Item = PackageEviction<'a>>,
    limits: &Limits,
) -> BTreeMap<(&'a str, String), (u64, u64)> {
    let mut sums: BTreeMap<_, BTreeMap<&str, (Why, u64, u64)>> = BTreeMap::new();
    for PackageEviction { package, why, bytes } in packages {
        let reasons = sums.entry(package.ecosystem()).or_default();
        let sum = reasons.entry(why.name()).or_insert((why, 0, 0));
        (sum.1, sum.2) = (sum.1 + 1, sum.2.saturating_add(bytes));
    }
    let each = |(name, reasons): (&'a str, BTreeMap<_, _>)| {
        reasons
            .into_values()
            .map(move |(reason, number, bytes)| ((name, why(reason, limits)), (number, bytes)))
    };
    sums.into_iter().flat_map(each).collect()
}

const UNNEEDED: &str = "no image needs it";

/// Why something goes.
#[must_use]
pub fn why(why: Why, limits: &Limits) -> String {
    let bytes = |limit: Option<WrittenSize>| limit.unwrap_or_default().size;
    match why {
        Why::MaxAge => format!("unused for over {}", span(limits.max_age.unwrap_or_default().0.as_secs())),
        Why::MaxImages => format!("over {}", count(limits.max_images.unwrap_or_default(), "image")),
        Why::MaxDisks => format!("over {}", count(limits.max_disks.unwrap_or_default(), "disk")),
        Why::MaxPerImage => format!("over {} of its name", limits.max_per_image.unwrap_or_default()),
        Why::PackagesMaxAge => {
            format!("unused for over {}", span(limits.packages_max_age.unwrap_or_default().0.as_secs()))
        }
        Why::ModelsMaxAge => {
            format!(
                "a model, unused for over {}",
                span(limits.models_max_age.unwrap_or_default().0.as_secs())
            )
        }
        Why::PackagesMaxSize => format!("packages over {}", bytes(limits.packages_max_size)),
        Why::MaxSize => format!("over {}", bytes(limits.max_size)),
        Why::MinFree => format!("under {} free", bytes(limits.min_free)),
        Why::TrashGrace => format!("removed over {} ago", span(limits.grace().as_secs())),
        Why::Clean => "clean".to_owned(),
        Why::Subject => "its image goes".to_owned(),
    }
}

/// What a plan comes to, in one line.
#[must_use]
pub fn outlook(plan: &Plan) -> String {
    let mut parts = Vec::new();
    let moved = plan.bytes().saturating_sub(plan.abandoned);
    if moved > 0 {
        let fate = if plan.shred { "be deleted at once" } else { "go into the trash" };
        parts.push(format!("{} would {fate}", what_goes(plan)));
    }
    if plan.package_bytes() > 0 || !plan.packages.is_empty() {
        parts.push(format!("{} would be deleted at once", packages_that_go(plan)));
    }
    if plan.abandoned > 0 {
        parts.push(format!("{} of unfinished files would be deleted", ByteSize(plan.abandoned)));
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
    if swept.unfinished > 0 {
        parts.push(format!("deleted {} of unfinished files", ByteSize(swept.unfinished)));
    }
    if swept.package_bytes > 0 || !swept.packages.is_empty() {
        let number = swept.packages.len() as u64;
        parts.push(format!("deleted {}", amount_of_packages(number, swept.bodies, swept.package_bytes)));
    }
    let moved = swept.bytes.saturating_sub(swept.unfinished);
    if moved > 0 {
        parts.push(format!("removed {}", amount(&swept.images, swept.blobs, moved)));
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

fn what_goes(plan: &Plan) -> String {
    let blobs = plan.images.iter().map(|image| image.blobs.len()).sum::<usize>() + plan.blobs.len();
    amount(&plan.images, blobs as u64, plan.bytes().saturating_sub(plan.abandoned))
}

fn packages_that_go(plan: &Plan) -> String {
    amount_of_packages(plan.packages.len() as u64, plan.bodies.len() as u64, plan.package_bytes())
}

/// `3 packages and 2 package bodies (16.4kB)`.
fn amount_of_packages(packages: u64, bodies: u64, bytes: u64) -> String {
    let parts = counted(&[(packages, "package"), (bodies, "package body")]);
    format!("{parts} ({})", ByteSize(bytes))
}

/// `1 image, 2 referrers and 3 blobs (16.4kB)`: what there is none of is left out.
fn amount(images: &[Eviction], blobs: u64, bytes: u64) -> String {
    let referrers = images.iter().filter(|image| image.subject.is_some()).count() as u64;
    let images = images.len() as u64 - referrers;
    let parts = counted(&[(images, "image"), (referrers, "referrer"), (blobs, "blob")]);
    format!("{parts} ({})", ByteSize(bytes))
}

/// `2 images and 1 referrer`, of so many entries; empty for none.
#[must_use]
pub fn entries(all: u64, referrers: u64) -> String {
    counted(&[(all.saturating_sub(referrers), "image"), (referrers, "referrer")])
}

fn counted(parts: &[(u64, &str)]) -> String {
    let some = parts.iter().filter(|(number, _)| *number > 0);
    let words = some.map(|(number, one)| match (*number, *one) {
        (number, "package body") if number != 1 => format!("{number} package bodies"),
        (number, one) => count(number, one),
    });
    listed(&words.collect::<Vec<_>>(), "and")
}

/// `a, b and c`.
fn listed(parts: &[String], and: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {and} {last}", first.join(", ")),
    }
}

/// What cannot be undone once it is done, in one line; `None` where all of it can.
#[must_use]
pub fn for_good(plan: &Plan) -> Option<String> {
    let early = plan.trash.iter().filter(|it| it.why != Why::TrashGrace);
    let early = early.fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
    let mut parts = Vec::new();
    if plan.shred && plan.bytes() > plan.abandoned {
        parts.push(what_goes(plan));
    }
    if early > 0 {
        parts.push(format!("{} of trash", ByteSize(early)));
    }
    let reason =
        if plan.limits.grace().is_zero() { "the trash keeps nothing" } else { "a limit of bytes needs it" };
    (!parts.is_empty()).then(|| format!("deleting {} for good: {reason}", listed(&parts, "and")))
}

/// What a plan that needs `--force` would lose.
#[must_use]
pub fn lost(objection: &Objection) -> String {
    let Objection { lost, of, bytes, of_packages, .. } = *objection;
    let one = if of_packages { "package" } else { "image" };
    if lost == 0 {
        return format!("no {one}");
    }
    let all = if lost == of { "all of them, " } else { "" };
    format!("{lost} of {} ({all}{})", count(of, one), ByteSize(bytes))
}

fn left(left: &Left) -> String {
    let packages = (left.packages > 0).then(|| count(left.packages, "package"));
    let parts: Vec<_> = [count(left.images, "image")].into_iter().chain(packages).collect();
    format!("left: {}, {} with trash", listed(&parts, "and"), ByteSize(left.bytes))
}

/// Why no more goes for a limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// What is left.
    pub rest: Rest,
    /// How many blobs stayed because they are being written or read.
    pub in_use: u64,
    /// How many images the limits would take now.
    pub more: u64,
}

impl Held {
    /// What is true of it, in words; empty where nothing is known.
    fn reasons(&self, why: Why) -> String {
        let Rest { images, pinned, newest, writing, bytes } = self.rest;
        let of_bytes = why.is_of_bytes();
        let is_are = |number| if number == 1 { "is" } else { "are" };
        let mut parts = Vec::new();
        let mut add = |number: u64, text: String| parts.extend((number > 0).then_some(text));
        add(pinned, format!("{} {} pinned", count(pinned, "image"), is_are(pinned)));
        if of_bytes {
            let which =
                if newest == 1 { "is the newest of its name" } else { "are the newest of their names" };
            add(newest, format!("{} {which}", count(newest, "image")));
            add(self.in_use, format!("{} {} in use", count(self.in_use, "blob"), is_are(self.in_use)));
            add(writing, format!("{} is being written", ByteSize(writing)));
            add(u64::from(images == 0), "no image is left".to_owned());
        }
        add(self.more, format!("{} came or changed since the plan was made", count(self.more, "image")));
        if why == Why::MinFree {
            parts.push(format!("the whole store is {}", ByteSize(bytes)));
        }
        listed(&parts, "and")
    }
}

/// A limit that is not met, in one line.
#[must_use]
pub fn unmet(unmet: &Unmet, held: &Held) -> String {
    let Unmet { why, left, limit } = *unmet;
    let what = match why {
        Why::MaxImages => format!("{} left, over the limit of {limit}", count(left, "image")),
        Why::MaxDisks => format!("{} left, over the limit of {limit}", count(left, "disk")),
        Why::MaxPerImage => format!("{} of one name left, over the limit of {limit}", count(left, "image")),
        Why::PackagesMaxSize => {
            format!("{} of packages left, over the limit of {}", ByteSize(left), ByteSize(limit))
        }
        Why::PackagesMaxAge | Why::ModelsMaxAge => {
            format!("a package is unused for {}, over the limit of {}", span(left), span(limit))
        }
        Why::MinFree => format!("only {} free, under the limit of {}", ByteSize(left), ByteSize(limit)),
        Why::MaxAge => format!("an image is unused for {}, over the limit of {}", span(left), span(limit)),
        _ => format!("{} left, over the limit of {}", ByteSize(left), ByteSize(limit)),
    };
    match held.reasons(why) {
        reasons if reasons.is_empty() => what,
        reasons => format!("{what}: {reasons}"),
    }
}

/// Why something stayed.
#[must_use]
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Gone => "gone already",
        Reason::SavedAnew => "something else was saved under it",
        Reason::Used => "used since",
        Reason::Pinned => "pinned since",
        Reason::InUse => "in use",
        Reason::Needed => "needed by an image or a package now",
        Reason::SubjectStays => "the image that it refers to stays",
    }
}

/// A line of what `run` and `apply` print with `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Line<'a> {
    /// An image that went.
    Image {
        /// The key that it was stored under.
        key: &'a Key,
        /// The digest of its manifest or index.
        digest: Digest,
        /// For which limit.
        why: Why,
        /// The bytes that the plan said.
        bytes: u64,
    },
    /// A package that went.
    Package {
        /// The ecosystem that it was fetched for.
        ecosystem: &'a str,
        /// Its URL.
        url: &'a str,
        /// For which limit.
        why: Why,
        /// The bytes that the plan said.
        bytes: u64,
    },
    /// Something that stayed although the plan names it.
    Kept {
        /// A key, a digest or a URL.
        name: &'a str,
        /// Why it stayed.
        reason: Reason,
    },
    /// The last line: what was done, and what is left.
    End {
        /// How many images went.
        images: u64,
        /// How many went because the image went that they refer to.
        referrers: u64,
        /// How many blobs went.
        blobs: u64,
        /// How many packages went.
        packages: u64,
        /// The bytes that went out of packages/.
        package_bytes: u64,
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
pub fn lines<'a>(plan: &'a Plan, swept: &'a Swept) -> Vec<Line<'a>> {
    let images = swept.images.iter().map(|it| Line::Image {
        key: &it.key,
        digest: it.digest,
        why: it.why,
        bytes: it.bytes,
    });
    let packages = swept.packages.iter().filter_map(|place| plan.packages.get(*place));
    let packages = packages.map(|it| Line::Package {
        ecosystem: it.package.ecosystem(),
        url: it.package.url(),
        why: it.why,
        bytes: it.bytes,
    });
    let kept = swept.kept.iter().map(|Kept { name, reason, .. }| Line::Kept { name, reason: *reason });
    let Swept { blobs, bytes, package_bytes, trashed, emptied, left, .. } = *swept;
    let unmet = plan_file::written(&swept.unmet);
    let referrers = swept.images.iter().filter(|image| image.subject.is_some()).count() as u64;
    let went = swept.images.len() as u64 - referrers;
    let end = Line::End {
        images: went,
        referrers,
        blobs,
        packages: swept.packages.len() as u64,
        package_bytes,
        bytes,
        trashed,
        emptied,
        left,
        unmet,
    };
    images.chain(packages).chain(kept).chain([end]).collect()
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}
