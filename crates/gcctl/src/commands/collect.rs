//! Plans, and what carries them out.

use std::collections::HashSet;
use std::io::BufRead;
use std::sync::atomic::AtomicBool;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use storekit::files::lfs;
use storekit::{Store, clock};
use toolkit::Outcome;
use toolkit::words::count;

use super::console::Console;
use super::extra;
use crate::error::{Error, Result};
use crate::events::{Returns, Told};
use crate::evicted::returned;
use crate::extra::Folder;
use crate::limits::Limits;
use crate::plan::file as plan_file;
use crate::plan::{self, Clean, Names, Objection, Plan, Unmet};
use crate::show;
use crate::show::Held;
use crate::snapshot::{Image, Snapshot};
use crate::survey::survey;
use crate::sweep::{Kept, Reason, Swept, What, sweep};

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What is over the limits.
    OverLimits,
    /// All of what is said, but for what a pin holds.
    All(Clean),
    /// What was named, but for what a pin holds.
    Named(Names),
}

/// What is said of what waits for `--force`.
pub(super) fn held_back(objection: &Error) -> String {
    format!("{objection}: `--force` is needed, else `run` and `apply` hold it back")
}

/// Prints what would go and why; without `force` also which limits would be held back.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn plan(
    store: &Store,
    wanted: &Wanted,
    limits: &Limits,
    extras: &[Folder],
    force: Force,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let (mut plan, returns) = look_and_say(store, wanted, limits, console)?;
    plan.extras = extra::chosen(extras, plan.time, console);
    say_no_limit(wanted, limits, extras, console);
    if console.json {
        plan_file::write(&plan, console.out).map_err(Error::output)?;
    } else if !plan.is_empty() {
        console.table(&show::planned(&plan, console.verbose))?;
    }
    console.flush()?;
    console.say(show::outlook(&plan));
    for objection in plan.guarded().1.iter().filter(|_| force == Force::No) {
        console.warn(held_back(&refusal(&plan, objection)));
    }
    let held = Held { rest: plan.rest.clone(), ..Held::default() };
    warn_of(&plan.unmet, &plan.limits, &held, &returns, console);
    extra::planned(extras, &plan.extras, plan.time, force, console)?;
    Ok(Outcome::Yes)
}

fn say_no_limit(wanted: &Wanted, limits: &Limits, extras: &[Folder], console: &mut Console<'_>) {
    let has_none = limits.is_none() && !extras.iter().any(Folder::is_limited);
    if *wanted == Wanted::OverLimits && has_none {
        console.say(
            "no limit is set: only what nothing needs goes (`--max-size 20GB` sets one, or [gcctl] in larder.toml)",
        );
    }
}

/// Removes what is wanted, and of `extras` what is over their limits. Without `force`, a limit that
/// would take most is held back, and what others ask for goes.
///
/// # Errors
/// That a limit was held back, when all else is done; a store that cannot be read or written, an
/// output that cannot be written.
pub fn run(
    store: &Store,
    wanted: &Wanted,
    limits: &Limits,
    extras: &[Folder],
    force: Force,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let (mut plan, returns) = look_and_say(store, wanted, limits, console)?;
    plan.extras = extra::chosen(extras, plan.time, console);
    say_no_limit(wanted, limits, extras, console);
    let since = plan.time;
    carry_out(store, &plan, since, &returns, extras, force, stop, console)
}

/// Whether a plan is carried out that would delete most images for good, or whose limit may lack
/// its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Such a limit is held back.
    No,
    /// All is carried out (`--force`).
    Yes,
}

impl From<bool> for Force {
    fn from(force: bool) -> Self {
        if force { Self::Yes } else { Self::No }
    }
}

/// Reads a plan.
///
/// # Errors
/// A text that is not a plan.
pub fn read_plan(input: &mut dyn BufRead) -> Result<Plan> {
    Ok(Plan { is_listed: true, ..plan_file::read(input)? })
}

/// Removes what a plan names. What is left, and whether the limits hold, is found out afterwards.
///
/// # Errors
/// As [`run`].
pub fn apply(
    store: &Store,
    plan: &Plan,
    extras: &[Folder],
    force: Force,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    if let Some(planned) = plan.store.as_ref().filter(|planned| **planned != place(store)) {
        return Err(Error::OtherStore { planned: planned.clone(), opened: store.root().to_owned() });
    }
    extra::check(extras, &plan.extras)?;
    let is_meant = |folder: &&Folder| plan.extras.iter().any(|it| it.folder == folder.path);
    let extras: Vec<_> = extras.iter().filter(is_meant).cloned().collect();
    carry_out(store, plan, Timestamp::now(), &Returns::default(), &extras, force, stop, console)
}

/// The store's folder behind all links.
fn place(store: &Store) -> Utf8PathBuf {
    store.root().canonicalize_utf8().unwrap_or_else(|_| store.root().to_owned())
}

pub(super) fn look(store: &Store, wanted: &Wanted, limits: &Limits) -> Result<(Plan, Returns)> {
    let (_, plan, returns) = look_with(store, wanted, limits)?;
    Ok((plan, returns))
}

/// The same; says what of the store is passed over, and what a damaged image holds.
fn look_and_say(
    store: &Store,
    wanted: &Wanted,
    limits: &Limits,
    console: &mut Console<'_>,
) -> Result<(Plan, Returns)> {
    let (snapshot, plan, returns) = look_with(store, wanted, limits)?;
    if let Some(doubted) = clock::read(store, Timestamp::now()).doubted {
        console.warn(show::doubt(&doubted, snapshot.now));
    }
    let going: HashSet<_> = plan.images.iter().map(|image| &image.key).collect();
    let staying = snapshot.unknown().filter(|image| !going.contains(&image.key));
    let (unfetched, damaged): (Vec<_>, Vec<_>) = staying.partition(|image| image.unfetched);
    let [unfetched, damaged] =
        [&unfetched, &damaged].map(|them| them.iter().map(|it| it.key.as_str()).collect::<Vec<_>>());
    let command = lfs::fetch_command(store.images().blobs().folder());
    for oddity in show::oddities(&snapshot.strays, &damaged, Some((&unfetched, &command))) {
        console.warn(oddity);
    }
    let broken = snapshot
        .images
        .iter()
        .filter(|image| (image.incomplete || image.unknown) && going.contains(&image.key));
    for image in broken {
        console
            .warn(format!("`{}` is not whole: once removed, `gcctl undo` cannot bring it back", image.key));
    }
    if let Wanted::All(what) = wanted {
        say_what_pins_keep(&snapshot, *what, console);
    }
    Ok((plan, returns))
}

/// Says what stays of all that is to go.
fn say_what_pins_keep(snapshot: &Snapshot, what: Clean, console: &mut Console<'_>) {
    let pinned = snapshot.images.iter().filter(|image| image.pinned).count() as u64;
    let held = snapshot.packages.held() as u64;
    let kept = [(what.images, pinned, "image"), (what.packages, held, "package")];
    let kept: Vec<_> = kept.into_iter().filter(|(is_meant, number, _)| *is_meant && *number > 0).collect();
    let words: Vec<_> = kept.iter().map(|(_, number, one)| count(*number, one)).collect();
    if !words.is_empty() {
        let is_one = kept.iter().map(|(_, number, _)| number).sum::<u64>() == 1;
        let (stay, they_are) = if is_one { ("stays", "it is") } else { ("stay", "they are") };
        console.say(format!("{} {stay}, for {they_are} held by pins (`gcctl pins`)", words.join(" and ")));
    }
}

fn look_with(store: &Store, wanted: &Wanted, limits: &Limits) -> Result<(Snapshot, Plan, Returns)> {
    let told = Told::of_all(store, Timestamp::now())?;
    let mut snapshot = survey(store, &told)?;
    if let Wanted::Named(names) = wanted {
        let is_forced = |image: &&mut Image| names.forced.contains(&image.key);
        snapshot.images.iter_mut().filter(is_forced).for_each(|image| image.pinned = false);
    }
    let returns = Returns { packages: returned(store, snapshot.now), ..told.returns() };
    let (plan, returns) = match wanted {
        Wanted::OverLimits => (plan::decide(&snapshot, limits), returns),
        Wanted::All(what) => (plan::clean(&snapshot, limits, *what), Returns::default()),
        Wanted::Named(names) => (plan::named(&snapshot, limits, names), Returns::default()),
    };
    Ok((snapshot, Plan { store: Some(place(store)), ..plan }, returns))
}

#[expect(clippy::too_many_arguments, reason = "each is one thing that the caller decides")]
fn carry_out(
    store: &Store,
    plan: &Plan,
    since: Timestamp,
    returns: &Returns,
    extras: &[Folder],
    force: Force,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let (guarded, objections) = match force {
        Force::Yes => (plan.clone(), Vec::new()),
        Force::No => plan.guarded(),
    };
    let (of_extras, extras_held) = extra::guarded(extras, &plan.extras, force, console)?;
    let whole = plan;
    let plan = &guarded;
    if let Some(lost) = show::for_good(plan) {
        console.say(lost);
    }
    let swept = sweep(store, plan, since, stop)?;
    let has_extras = !of_extras.is_empty();
    let of_extras = extra::carry_out(extras, (&of_extras, &extras_held), plan, stop, console);
    let printed = print(plan, &swept, &held_lines(&objections, &extras_held), console);
    console.say(show::result(&swept, &plan.limits, has_extras));
    report_kept(&swept, console);
    if swept.disk_full {
        console.warn("the disk is full: what went was deleted at once, and cannot be brought back");
    }
    if swept.interrupted {
        console.warn("stopped before the end: the store is whole, and the next run goes on");
        return printed.map(|()| Outcome::No);
    }
    let in_use = swept.kept.iter().filter(|kept| kept.reason == Reason::InUse).count() as u64;
    let held = Held { rest: swept.rest, in_use, more: swept.more };
    warn_of(&swept.unmet, &plan.limits, &held, returns, console);
    let is_within = of_extras?;
    printed?;
    list_held(whole, &objections, console);
    extra::list_held(extras, &whole.extras, &extras_held, whole.time, console);
    let of_store = objections.iter().map(|objection| refusal(whole, objection));
    let mut held: Vec<_> = of_store.chain(extras_held.into_iter().map(|it| it.refusal)).collect();
    let Some(last) = held.pop() else {
        return Ok(Outcome::from_bool(swept.unmet.is_empty() && is_within));
    };
    for refusal in held {
        console.warn(format!("{refusal}: held back without `--force`"));
    }
    Err(last)
}

/// Lists what would have gone for the limits that were held back.
fn list_held(plan: &Plan, objections: &[Objection], console: &mut Console<'_>) {
    for objection in objections {
        let held = plan.of_limit(objection.why);
        if !console.quiet && !held.is_empty() {
            console
                .say(format!("held back for {}, and not removed:", show::limit(objection.why, &plan.limits)));
            let lost = show::going(&held, &held.images, held.packages.iter(), console.verbose);
            // Where stderr is closed, the list is lost.
            let _ = console.err.write_all(lost.text(console.bold).as_bytes());
        }
    }
}

fn held_lines(objections: &[Objection], extras: &[extra::HeldBack]) -> Vec<show::Line<'static>> {
    let of_store = objections.iter().map(|it| show::Line::HeldBack {
        why: it.why.name().into_owned(),
        folder: None,
        images: it.images.lost,
        packages: it.packages.lost,
        items: 0,
        bytes: it.images.bytes.saturating_add(it.packages.bytes),
    });
    let of_extras = extras.iter().map(|it| show::Line::HeldBack {
        why: it.why.to_string(),
        folder: Some(it.folder.clone()),
        images: 0,
        packages: 0,
        items: it.items,
        bytes: it.bytes,
    });
    of_store.chain(of_extras).collect()
}

pub(crate) fn refusal(plan: &Plan, objection: &Objection) -> Error {
    let (limit, lost) = (show::limit(objection.why, &plan.limits), show::lost(objection));
    let takes = match objection.into_trash {
        _ if lost.is_empty() => "remove nothing now".to_owned(),
        true => format!("move {lost} into the trash"),
        false => format!("delete {lost} for good"),
    };
    match objection.bare {
        Some(size) => Error::NoUnit { limit, size, takes },
        None => Error::TooMuch { limit, lost },
    }
}

fn print(plan: &Plan, swept: &Swept, held: &[show::Line<'_>], console: &mut Console<'_>) -> Result<()> {
    if console.json {
        held.iter().try_for_each(|line| console.line(line))?;
        show::lines(plan, swept).iter().try_for_each(|line| console.line(line))?;
    } else if !(swept.images.is_empty() && swept.packages.is_empty()) {
        console.table(&show::went(plan, swept, console.verbose))?;
    }
    console.flush()
}

/// Says for each key, and for all else together, why they stayed.
fn report_kept(swept: &Swept, console: &mut Console<'_>) {
    for kept in swept.kept.iter().filter(|kept| kept.what == What::Image) {
        console.say(format!("kept `{}`: {}", kept.name, show::reason(kept.reason)));
    }
    for (what, one) in [(What::Blob, "blob"), (What::Package, "package"), (What::Body, "package file")] {
        for reason in Reason::ALL {
            let meant = |kept: &&Kept| kept.what == what && kept.reason == reason;
            let number = swept.kept.iter().filter(meant).count() as u64;
            if number > 0 {
                console.say(format!("kept {}: {}", count(number, one), show::reason(reason)));
            }
        }
    }
}

fn warn_of(unmet: &[Unmet], limits: &Limits, held: &Held, returns: &Returns, console: &mut Console<'_>) {
    for unmet in unmet {
        console.warn(show::unmet(unmet, limits, held));
    }
    returns.alarms().into_iter().for_each(|alarm| console.warn(alarm));
}
