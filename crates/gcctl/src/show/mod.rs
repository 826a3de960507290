//! What people and scripts get to see.

mod df;
pub mod files;
pub mod info;
pub mod ls;
mod odd;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;
use storekit::{ByteSize, Digest, Key, WrittenSize, trash};

use crate::limits::{Limits, Part, Why};
use crate::packages::Eviction as PackageEviction;
use crate::plan::file::{self as plan_file, WrittenUnmet};
use crate::plan::{Eviction, Holds, Left, Objection, Plan, Rest, Share, Unmet};
use crate::sweep::{Kept, Reason, Swept, Went};
pub use df::{Df, df, df_table, ecosystems, image_names};
pub use odd::{doubt, oddities};
use toolkit::amount::{Amount, Setting};
use toolkit::words::{ago, count, span};
use toolkit::{Align, Table};

/// The table of what would go, with the place of each in the order, and what becomes of it. With
/// `all`, each package and each blob that nothing needs has a line of its own.
#[must_use]
pub fn planned(plan: &Plan, all: bool) -> Table {
    rows(plan, &plan.images, plan.packages.iter(), all, true)
}

/// The table of what went, with the bytes that went with each.
#[must_use]
pub fn went(plan: &Plan, swept: &Swept, all: bool) -> Table {
    let done = Plan {
        time: plan.time,
        limits: plan.limits.clone(),
        blobs: swept.idle.clone(),
        bodies: swept.idle_bodies.clone(),
        abandoned: swept.unfinished,
        contexts: swept.contexts,
        trash: swept.emptied.iter().filter(|it| it.bytes > 0).cloned().collect(),
        ..Plan::default()
    };
    going(&done, &swept.images, packages_that_went(plan, swept), all)
}

/// The packages that went, each with the bytes that went with it.
fn packages_that_went<'a>(
    plan: &'a Plan,
    swept: &'a Swept,
) -> impl Iterator<Item = PackageEviction<'a>> + Clone {
    let one = |it: &Went| Some(PackageEviction { bytes: it.bytes, ..plan.packages.get(it.place)? });
    swept.packages.iter().filter_map(one)
}

/// The table of what goes, without its places in the order.
#[must_use]
pub fn going<'a>(
    plan: &Plan,
    images: &[Eviction],
    packages: impl Iterator<Item = PackageEviction<'a>> + Clone,
    all: bool,
) -> Table {
    rows(plan, images, packages, all, false)
}

fn rows<'a>(
    plan: &Plan,
    images: &[Eviction],
    packages: impl Iterator<Item = PackageEviction<'a>> + Clone,
    all: bool,
    is_planned: bool,
) -> Table {
    use Align::{Left, Right};
    let heads = [("WHAT", Left), ("FREES", Right), ("LAST USE", Right), ("USES", Right)];
    let more = [("RANK", Right), ("THEN", Left)];
    let more = more.into_iter().filter(|_| is_planned);
    let mut table = Table::new(&heads.into_iter().chain(more).chain([("WHY", Left)]).collect::<Vec<_>>());
    let mut add = |cells: [String; 4], rank: Option<u64>, at_once: bool, why: String| {
        let then = if at_once { "deleted" } else { "trash" };
        let rank = rank.filter(|rank| *rank > 0).map_or_else(|| "-".to_owned(), |rank| rank.to_string());
        let more = [rank, then.to_owned()].into_iter().filter(|_| is_planned);
        table.row(cells.into_iter().chain(more).chain([why]));
    };
    for image in images {
        let last_use = ago(image.used, plan.time);
        let cells = [image.key.to_string(), size(image.bytes), last_use, image.uses.to_string()];
        add(cells, image.rank, plan.shred, why(image.why, &plan.limits));
    }
    // A cache of packages has many: without `all`, they stand together by ecosystem and reason.
    for PackageEviction { package, why: reason, bytes, rank } in packages.clone().filter(|_| all) {
        let (last_use, reason) = (ago(package.used(), plan.time), why(reason, &plan.limits));
        let cells = [package.url().to_owned(), size(bytes), last_use, "-".into()];
        add(cells, Some(rank.into()), true, reason);
    }
    let mut add = |what: String, bytes: u64, at_once: bool, why: String| {
        add([what, size(bytes), "-".into(), "-".into()], None, at_once, why);
    };
    let mut other = |what: String, bytes: u64, why: String| add(what, bytes, true, why);
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
    if plan.contexts > 0 {
        other("folders that hashctx knows".into(), plan.contexts, why(Why::Clean, &plan.limits));
    }
    if plan.abandoned > 0 {
        other("unfinished files".into(), plan.abandoned, "left by a writer that died".into());
    }
    for emptied in &plan.trash {
        other(format!("trash/{}", emptied.name), emptied.bytes, why(emptied.why, &plan.limits));
    }
    if all {
        let blobs = plan.blobs.iter();
        blobs.for_each(|blob| add(blob.digest.to_string(), blob.bytes, plan.shred, UNNEEDED.into()));
    } else if !plan.blobs.is_empty() {
        let bytes = plan.blobs.iter().fold(0, |sum: u64, blob| sum.saturating_add(blob.bytes));
        add(count(plan.blobs.len() as u64, "blob"), bytes, plan.shred, UNNEEDED.into());
    }
    table
}

/// How many packages of an ecosystem go for a reason, and what that frees.
fn together<'a>(
    packages: impl Iterator<Item = PackageEviction<'a>>,
    limits: &Limits,
) -> BTreeMap<(&'a str, String), (u64, u64)> {
    let mut sums: BTreeMap<_, BTreeMap<Why, (Why, u64, u64)>> = BTreeMap::new();
    for PackageEviction { package, why, bytes, .. } in packages {
        let reasons = sums.entry(package.ecosystem()).or_default();
        let sum = reasons.entry(why).or_insert((why, 0, 0));
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
    let amount = |limit: Option<Amount>| ByteSize(limit.map_or(0, |limit| limit.of(0)));
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
        Why::MaxSize => {
            let low =
                limits.low.or(limits.high).filter(|_| limits.low.is_some() || limits.max_size.is_none());
            format!("over {}", low.map_or(bytes(limits.max_size), |low| ByteSize(low.of(0))))
        }
        Why::MinFree => format!("under {} free", amount(limits.min_free)),
        Why::Limit(place, part) => of_some(place, part, limits),
        Why::Named => "named".to_owned(),
        Why::TrashGrace => format!("removed over {} ago", span(limits.grace().as_secs())),
        Why::Clean => "clean".to_owned(),
        Why::Subject => "its image goes".to_owned(),
    }
}

/// The limit as people write it.
#[must_use]
pub fn limit(why: Why, limits: &Limits) -> String {
    let Why::Limit(place, part) = why else { return why.name().into_owned() };
    let of = limits.scoped.get(usize::from(place)).map(|limit| limit.of.to_string());
    let name = match part {
        Part::Age => "max-age",
        Part::Entries => "max-entries",
        Part::Size => "max-size",
    };
    format!("{name} of {}", of.unwrap_or_default())
}

/// Why something goes for a limit of some things, with which those are.
fn of_some(place: u8, part: Part, limits: &Limits) -> String {
    let Some(limit) = limits.scoped.get(usize::from(place)) else { return String::new() };
    let what = match part {
        Part::Age => {
            let age = limit.max_age.and_then(Setting::value).unwrap_or_default();
            format!("unused for over {}", span(age.0.as_secs()))
        }
        Part::Entries => format!("over {}", limit.max_entries.unwrap_or_default()),
        Part::Size => format!("over {}", limit.max_size.unwrap_or_default().size),
    };
    format!("{what} ({})", limit.of)
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
    if plan.contexts > 0 {
        parts.push(format!("{} about folders would be deleted", ByteSize(plan.contexts)));
    }
    if !plan.trash.is_empty() {
        let emptied = plan.trash.iter().fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
        let is_damaged = plan.trash.iter().any(|it| trash::is_damaged(&it.name));
        let what = if is_damaged { "of trash and damaged files" } else { "of trash" };
        parts.push(format!("{} {what} would be emptied", ByteSize(emptied)));
    }
    if parts.is_empty() {
        let of_store = if plan.extras.is_empty() { "" } else { " of the store" };
        parts.push(format!("nothing{of_store} would go"));
    }
    format!("{}; {}", parts.join(", "), left(&plan.left))
}

/// What a sweep did, in one line; with `extras`, something else went, too.
#[must_use]
pub fn result(swept: &Swept, limits: &Limits, extras: bool) -> String {
    let mut parts = Vec::new();
    if swept.emptied_bytes() > 0 {
        parts.push(format!("emptied {} of trash", ByteSize(swept.emptied_bytes())));
    }
    if swept.contexts > 0 {
        parts.push(format!("deleted {} about folders", ByteSize(swept.contexts)));
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
        parts.push(if extras { "nothing to remove in the store" } else { "nothing to remove" }.to_owned());
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

/// What would go for a limit that needs `--force`.
#[must_use]
pub fn lost(objection: &Objection) -> String {
    let Objection { images, packages, trash, .. } = *objection;
    let share = |share: Share, one: &str| {
        let Share { lost, of, bytes } = share;
        let all = if lost == of { "all of them, " } else { "" };
        (lost > 0).then(|| format!("{lost} of {} ({all}{})", count(of, one), ByteSize(bytes)))
    };
    let trash = (trash > 0).then(|| format!("{} of trash", ByteSize(trash)));
    let parts = [share(images, "image"), share(packages, "package"), trash];
    listed(&parts.into_iter().flatten().collect::<Vec<_>>(), "and")
}

fn left(left: &Left) -> String {
    let packages = (left.packages > 0).then(|| count(left.packages, "package"));
    let parts: Vec<_> = [count(left.images, "image")].into_iter().chain(packages).collect();
    format!("left: {}, {} with trash", listed(&parts, "and"), ByteSize(left.bytes))
}

/// Why no more goes for a limit.
#[derive(Clone, Debug, Default)]
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
        let Rest { images, writing, bytes, .. } = self.rest;
        let holds = self.rest.holds.get(&why).copied().unwrap_or_default();
        let is_are = |number| if number == 1 { "is" } else { "are" };
        let of_name = |number, what| {
            let (is, name) = if number == 1 { ("is", "its name") } else { ("are", "their names") };
            format!("{} {is} {what} of {name}", count(number, "image"))
        };
        let mut parts = Vec::new();
        let mut add = |number: u64, text: String| parts.extend((number > 0).then_some(text));
        let Holds { pinned, last, newest, shared, packages, reserved } = holds;
        add(pinned, format!("{} {} pinned", count(pinned, "image"), is_are(pinned)));
        add(last, of_name(last, "kept by `keep-last` as the last"));
        add(newest, of_name(newest, "the newest"));
        add(shared, format!("{} would free nothing alone", count(shared, "image")));
        add(packages, format!("{} {} held by a pin", count(packages, "package"), is_are(packages)));
        if let Some(bytes) = reserved {
            add(1, format!("{} is reserved", ByteSize(bytes)));
        }
        if why.is_of_bytes() {
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
pub fn unmet(unmet: &Unmet, limits: &Limits, held: &Held) -> String {
    let Unmet { why, left, limit } = *unmet;
    let what = match why {
        Why::MaxImages => format!("{} left, over the limit of {limit}", count(left, "image")),
        Why::MaxDisks => format!("{} left, over the limit of {limit}", count(left, "disk")),
        Why::MaxPerImage => format!("{} of one name left, over the limit of {limit}", count(left, "image")),
        Why::PackagesMaxSize => format!("{} of packages left, {}", ByteSize(left), over(left, limit)),
        Why::PackagesMaxAge | Why::ModelsMaxAge => {
            format!("a package is unused for {}, over the limit of {}", span(left), span(limit))
        }
        Why::MinFree => {
            let lacking = ByteSize(limit.saturating_sub(left));
            format!("only {} free, {lacking} under the limit of {}", ByteSize(left), ByteSize(limit))
        }
        Why::Limit(place, part) => {
            let of = limits.scoped.get(usize::from(place)).map(|limit| limit.of.to_string());
            let of = of.unwrap_or_default();
            match part {
                Part::Age => {
                    format!("one of {of} is unused for {}, over the limit of {}", span(left), span(limit))
                }
                Part::Entries => format!("{left} left of {of}, over the limit of {limit}"),
                Part::Size => format!("{} left of {of}, {}", ByteSize(left), over(left, limit)),
            }
        }
        Why::MaxAge => format!("an image is unused for {}, over the limit of {}", span(left), span(limit)),
        _ => format!("{} left, {}", ByteSize(left), over(left, limit)),
    };
    match held.reasons(why) {
        reasons if reasons.is_empty() => what,
        reasons => format!("{what}: {reasons}"),
    }
}

/// How much too much there is.
fn over(left: u64, limit: u64) -> String {
    format!("{} over the limit of {}", ByteSize(left.saturating_sub(limit)), ByteSize(limit))
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
        Reason::Unreadable => "it cannot be read",
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
        /// The bytes that went with it.
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
        /// The bytes that went with it.
        bytes: u64,
    },
    /// Something that stayed although the plan names it.
    Kept {
        /// A key, a digest or a URL.
        name: &'a str,
        /// Why it stayed.
        reason: Reason,
    },
    /// What was held back, for it needs `--force`.
    HeldBack {
        /// For which limit.
        why: String,
        /// Of which extra folder.
        #[serde(skip_serializing_if = "Option::is_none")]
        folder: Option<Utf8PathBuf>,
        /// How many images would have gone.
        images: u64,
        /// How many packages.
        packages: u64,
        /// How many things of the extra folder.
        items: u64,
        /// The bytes that would have gone with them.
        bytes: u64,
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
        /// The bytes of the folders of the trash that this lies in.
        trash_folders: u64,
        /// The bytes of trash that was emptied, with its folders.
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
    let packages = packages_that_went(plan, swept).map(|it| Line::Package {
        ecosystem: it.package.ecosystem(),
        url: it.package.url(),
        why: it.why,
        bytes: it.bytes,
    });
    let kept = swept.kept.iter().map(|Kept { name, reason, .. }| Line::Kept { name, reason: *reason });
    let Swept { blobs, bytes, package_bytes, trashed, trash_folders, left, .. } = *swept;
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
        trash_folders,
        emptied: swept.emptied_bytes(),
        left,
        unmet,
    };
    images.chain(packages).chain(kept).chain([end]).collect()
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}
