//! The commands, as they are called from the command line.
//!
//! What changes the store finishes its work before it prints: a closed pipe loses words, not work.

use std::io::{BufRead, Write};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Serialize;
use storekit::error::At;
use storekit::{Batch, Key, KeyOrName, Store};
use toolkit::Outcome;

use crate::error::{Error, Result};
use crate::events::{Returns, Told};
use crate::limits::Limits;
use crate::plan::file as plan_file;
use crate::plan::{self, Clean, Objection, Plan, Unmet};
use crate::show;
use crate::show::Held;
use crate::show::ls::Filter;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::survey::survey;
use crate::sweep::{Kept, Reason, Swept, What, sweep};
use toolkit::words::count;
use toolkit::{Table, output};

/// Where a command's words go.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line, and all combine")]
pub struct Console<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// Messages.
    pub err: &'a mut dyn Write,
    /// Whether data is JSON, one object a line.
    pub json: bool,
    /// Whether messages are left out.
    pub quiet: bool,
    /// Whether details are added.
    pub verbose: bool,
    /// Whether tables have bold headings.
    pub bold: bool,
}

impl Console<'_> {
    pub(crate) fn line(&mut self, line: &impl Serialize) -> Result<()> {
        output::json_line(self.out, line).map_err(Error::output)
    }

    /// The line, where JSON is wanted; else the text.
    fn either(&mut self, line: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            return self.line(line);
        }
        let text = storekit::printable_lines(&text());
        self.out.write_all(text.as_bytes()).map_err(Error::output)
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<()> {
        self.out.write_all(table.text(self.bold).as_bytes()).map_err(Error::output)
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Error::output)
    }

    /// Prints a message, unless messages are not wanted.
    pub fn say(&mut self, message: impl AsRef<str>) {
        if !self.quiet {
            output::say_to(self.err, message.as_ref());
        }
    }

    pub(crate) fn warn(&mut self, message: impl AsRef<str>) {
        if !self.quiet {
            output::warn_to(self.err, message.as_ref());
        }
    }
}

/// Opens the store to work on. A folder that `--store` names must have one; else, where none is
/// yet, it reads as empty, and that is said.
///
/// # Errors
/// [`Error::NoStore`], those of [`Store::open_or_empty`].
pub fn open(folder: &Utf8Path, named: bool, console: &mut Console<'_>) -> Result<Store> {
    match Store::open(folder) {
        Err(storekit::Error::NotAStore { .. }) => {}
        opened => return Ok(opened?),
    }
    let empty = Store::open_or_empty(folder)?;
    if folder.is_symlink() {
        // One that leads nowhere is not a store that is not made yet.
        std::fs::metadata(folder).at("follow the link", folder)?;
    }
    if named {
        return Err(Error::NoStore { path: folder.to_owned() });
    }
    console.say(format!("there is no store at `{folder}` yet"));
    Ok(empty)
}

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Packages, and not images.
    pub packages: bool,
    /// Which, and in which order.
    pub filter: Filter,
    /// Whether only keys or URLs are printed, each with a NUL behind it.
    pub nul: bool,
}

/// Lists images or packages.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn ls(store: &Store, listing: &Listing, console: &mut Console<'_>) -> Result<Outcome> {
    let snapshot = survey(store, &Told::by(store, Timestamp::now())?)?;
    let (mut images, mut packages) = (Vec::new(), Vec::new());
    if listing.packages {
        packages = show::ls::package_rows(&snapshot.packages, &listing.filter, snapshot.now);
    } else {
        images = show::ls::rows(&snapshot, &listing.filter);
    }
    if listing.nul {
        let mut ids = show::ls::ids(&images, &packages);
        ids.try_for_each(|id| write!(console.out, "{id}\0")).map_err(Error::output)?;
    } else if console.json {
        images.iter().try_for_each(|row| console.line(row))?;
        packages.iter().try_for_each(|row| console.line(row))?;
    } else if images.is_empty() && packages.is_empty() {
        console.say(if listing.packages { "no packages are stored" } else { "no images are stored" });
    } else if listing.packages {
        console.table(&show::ls::package_list(&packages, snapshot.now))?;
    } else {
        console.table(&show::ls::list(&images, snapshot.now))?;
    }
    console.flush().map(|()| Outcome::Yes)
}

/// What something is known by.
#[derive(Clone, Debug)]
pub enum Id {
    /// An image: its key, the beginning of it, or a name.
    Image(KeyOrName),
    /// A package: its URL.
    Package(String),
}

impl FromStr for Id {
    type Err = <KeyOrName as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") { Ok(Self::Package(text.to_owned())) } else { text.parse().map(Self::Image) }
    }
}

/// Tells what is known of an image (by its key, the beginning of it, or a name) or of a package (by
/// its URL).
///
/// # Errors
/// As [`ls`]; a text that may mean several.
pub fn info(store: &Store, id: &Id, console: &mut Console<'_>) -> Result<Outcome> {
    let snapshot = survey(store, &Told::by(store, Timestamp::now())?)?;
    let shown = match id {
        Id::Image(text) => image_info(store, &snapshot, text, console)?,
        Id::Package(url) => package_info(&snapshot, url, console)?,
    };
    console.flush().map(|()| Outcome::from_bool(shown))
}

fn image_info(
    store: &Store,
    snapshot: &Snapshot,
    text: &KeyOrName,
    console: &mut Console<'_>,
) -> Result<bool> {
    let rows = show::ls::rows(snapshot, &Filter::default());
    let key = lookup(store, text)?;
    let image = snapshot.images.iter().find(|image| key.as_ref() == Some(&image.key));
    let row = rows.iter().find(|row| key.as_ref() == Some(row.key()));
    let Some((image, row)) = image.zip(row) else {
        console.warn(format!("{}; `gcctl ls` lists the keys", text.absent()));
        return Ok(false);
    };
    let info = show::ls::image_info(snapshot, image, row);
    console.either(&info, || show::ls::image_text(&info, snapshot.now)).map(|()| true)
}

/// The same URL may be stored for several credentials.
fn package_info(snapshot: &Snapshot, url: &str, console: &mut Console<'_>) -> Result<bool> {
    let rows = show::ls::package_rows(&snapshot.packages, &Filter::default(), snapshot.now);
    let found: Vec<_> = rows.iter().filter(|row| row.url() == url).collect();
    for row in &found {
        let info = show::ls::package_info(&snapshot.packages, row);
        console.either(&info, || show::ls::package_text(&info, snapshot.now))?;
    }
    if found.is_empty() {
        console.warn(format!("nothing is stored of `{url}`; `gcctl ls packages` lists the URLs"));
    }
    Ok(!found.is_empty())
}

/// Prints what the store occupies.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn df(store: &Store, console: &mut Console<'_>) -> Result<Outcome> {
    let snapshot = survey(store, &Told::default())?;
    let df = show::df(&snapshot);
    if console.json {
        console.line(&df)?;
    } else {
        console.table(&show::df_table(&df))?;
        if console.verbose && !snapshot.packages.is_empty() {
            console.table(&show::ecosystems(&snapshot.packages))?;
        }
    }
    console.flush().map(|()| Outcome::Yes)
}

/// Prints how well the caches did in the last days, each and all together.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn stats(store: &Store, days: u32, console: &mut Console<'_>) -> Result<Outcome> {
    let span = jiff::SignedDuration::from_hours(24 * i64::from(days.saturating_sub(1)));
    let first = jiff::Timestamp::now().checked_sub(span).unwrap_or(jiff::Timestamp::MIN);
    let mut stats = Stats::default();
    store.events().each(Some(first), |event| stats.add(&event))?;
    let together = stats.together();
    if console.json {
        stats.lines(&together).try_for_each(|line| console.line(&line))?;
    } else {
        for table in stats.tables(&together) {
            console.table(&table)?;
        }
    }
    console.flush()?;
    if stats.is_empty() {
        console.say("nothing is on record: bakes and the package cache note what they do in the store");
    }
    Ok(Outcome::Yes)
}

/// What is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What is over the limits.
    OverLimits,
    /// All of what is said, but for pinned images.
    All(Clean),
}

/// Prints what would go and why.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn plan(store: &Store, wanted: Wanted, limits: &Limits, console: &mut Console<'_>) -> Result<Outcome> {
    let (plan, returns) = look(store, wanted, limits)?;
    say_no_limit(wanted, limits, console);
    if console.json {
        plan_file::write(&plan, console.out).map_err(Error::output)?;
    } else if !plan.is_empty() {
        console.table(&show::going(&plan, &plan.images, plan.packages.iter(), console.verbose))?;
    }
    console.flush()?;
    console.say(show::outlook(&plan));
    if let Some(objection) = plan.objection() {
        console.warn(format!("{}: `--force` is needed", refusal(&objection)));
    }
    warn_of(&plan.unmet, &Held { rest: plan.rest, ..Held::default() }, returns, console);
    Ok(Outcome::Yes)
}

fn say_no_limit(wanted: Wanted, limits: &Limits, console: &mut Console<'_>) {
    if wanted == Wanted::OverLimits && limits.is_none() {
        console.say(
            "no limit is set: only what nothing needs goes (`--max-size 20GB` sets one, or [gcctl] in larder.toml)",
        );
    }
}

/// Removes what is wanted.
///
/// # Errors
/// A store that cannot be read or written, an output that cannot be written.
pub fn run(
    store: &Store,
    wanted: Wanted,
    limits: &Limits,
    force: Force,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let (plan, returns) = look(store, wanted, limits)?;
    say_no_limit(wanted, limits, console);
    let since = plan.time;
    carry_out(store, &plan, since, returns, force, stop, console)
}

/// Whether a plan is carried out that would delete most images for good, or whose limit may lack
/// its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It is refused.
    No,
    /// It is carried out (`--force`).
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
    plan_file::read(input)
}

/// Removes what a plan names. What is left, and whether the limits hold, is found out afterwards.
///
/// # Errors
/// As [`run`].
pub fn apply(
    store: &Store,
    plan: &Plan,
    force: Force,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    if let Some(planned) = plan.store.as_ref().filter(|planned| **planned != place(store)) {
        return Err(Error::OtherStore { planned: planned.clone(), opened: store.root().to_owned() });
    }
    carry_out(store, plan, Timestamp::now(), Returns::default(), force, stop, console)
}

/// The store's folder behind all links.
fn place(store: &Store) -> Utf8PathBuf {
    store.root().canonicalize_utf8().unwrap_or_else(|_| store.root().to_owned())
}

fn look(store: &Store, wanted: Wanted, limits: &Limits) -> Result<(Plan, Returns)> {
    let told = Told::by(store, Timestamp::now())?;
    let (snapshot, returns) = (survey(store, &told)?, told.returns());
    let (plan, returns) = match wanted {
        Wanted::OverLimits => (plan::decide(&snapshot, limits), returns),
        Wanted::All(what) => (plan::clean(&snapshot, limits, what), Returns::default()),
    };
    Ok((Plan { store: Some(place(store)), ..plan }, returns))
}

fn carry_out(
    store: &Store,
    plan: &Plan,
    since: Timestamp,
    returns: Returns,
    force: Force,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    if let Some(objection) = plan.objection().filter(|_| force == Force::No) {
        // Where stderr is closed, the list is lost.
        let lost = show::going(plan, &plan.images, plan.packages.iter(), console.verbose).text(console.bold);
        let _ = console.err.write_all(lost.as_bytes());
        return Err(refusal(&objection));
    }
    if let Some(lost) = show::for_good(plan) {
        console.say(lost);
    }
    let swept = sweep(store, plan, since, stop)?;
    let printed = print(plan, &swept, console);
    console.say(show::result(&swept, &plan.limits));
    report_kept(&swept, console);
    if swept.disk_full {
        console.warn("the disk is full: what went was deleted at once, and cannot be brought back");
    }
    if swept.interrupted {
        console.warn("stopped before the end: the store is whole, and the next run goes on");
        return printed.map(|()| Outcome::No);
    }
    let in_use = swept.kept.iter().filter(|kept| kept.reason == Reason::InUse).count() as u64;
    warn_of(&swept.unmet, &Held { rest: swept.rest, in_use, more: swept.more }, returns, console);
    printed.map(|()| Outcome::from_bool(swept.unmet.is_empty()))
}

pub(crate) fn refusal(objection: &Objection) -> Error {
    let (limit, lost) = (objection.why.name(), show::lost(objection));
    match objection.bare {
        Some(size) => Error::NoUnit { limit, size, lost },
        None => Error::TooMuch { limit, lost },
    }
}

fn print(plan: &Plan, swept: &Swept, console: &mut Console<'_>) -> Result<()> {
    if console.json {
        show::lines(plan, swept).iter().try_for_each(|line| console.line(line))?;
    } else if !(swept.images.is_empty() && swept.packages.is_empty()) {
        // The rest is in the message.
        let images = Plan { time: plan.time, limits: plan.limits, ..Plan::default() };
        let packages = swept.packages.iter().filter_map(|it| plan.packages.get(*it));
        console.table(&show::going(&images, &swept.images, packages, console.verbose))?;
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

fn warn_of(unmet: &[Unmet], held: &Held, returns: Returns, console: &mut Console<'_>) {
    for unmet in unmet {
        console.warn(show::unmet(unmet, held));
    }
    if returns.thrash() {
        let Returns { evicted, wanted } = returns;
        console.warn(format!(
            "the limits are too tight for what is built: of {evicted} images that were removed in the last 7 days, \
             {wanted} were wanted again"
        ));
    }
}

/// Pins the images that are meant: they never go.
///
/// # Errors
/// A text that may mean several; a store that cannot be read or written.
pub fn pin(store: &Store, texts: &[KeyOrName], console: &mut Console<'_>) -> Result<Outcome> {
    let images = store.images();
    let found = texts.iter().map(|text| lookup(store, text)).collect::<Result<Vec<_>>>()?;
    each_key(texts.iter().zip(found), console, |key| {
        // One that cannot be read is worth no pin.
        if images.get(key)?.is_none() {
            let why = format!("nothing is stored under `{key}`: `gcctl ls` lists the keys");
            return Ok(KeyResult::Refused(why));
        }
        let new = images.pin(key)?;
        Ok(KeyResult::Done(if new { "pinned" } else { "was pinned already" }))
    })
}

/// Takes the pins off. A key may be pinned that is not stored.
///
/// # Errors
/// As [`pin`].
pub fn unpin(store: &Store, texts: &[KeyOrName], console: &mut Console<'_>) -> Result<Outcome> {
    let images = store.images();
    let pins = images.pins()?;
    let found = texts.iter().map(|text| match text.as_str().parse() {
        Ok(key) if pins.contains(&key) => Ok(Some(key)),
        _ => lookup(store, text),
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    each_key(texts.iter().zip(found), console, |key| {
        let had = images.unpin(key)?;
        Ok(if had {
            KeyResult::Done("is no longer pinned")
        } else {
            KeyResult::Refused(format!("`{key}` was not pinned"))
        })
    })
}

fn lookup(store: &Store, text: &KeyOrName) -> Result<Option<Key>> {
    Ok(store.images().lookup(text)?.map(|found| found.key))
}

/// What a command did with one key.
enum KeyResult {
    /// It did it; the words follow the key.
    Done(&'static str),
    /// It did not, and why.
    Refused(String),
}

/// Does it for each key that is meant; [`Outcome::No`] where there is none, or it was refused.
fn each_key<'a>(
    found: impl Iterator<Item = (&'a KeyOrName, Option<Key>)>,
    console: &mut Console<'_>,
    each: impl Fn(&Key) -> Result<KeyResult>,
) -> Result<Outcome> {
    let mut all = true;
    for (text, key) in found {
        let Some(key) = key else {
            all = false;
            console.warn(format!("{}; `gcctl ls` lists the keys", text.absent()));
            continue;
        };
        match each(&key)? {
            KeyResult::Done(done) => console.say(format!("`{key}` {done}")),
            KeyResult::Refused(refused) => {
                all = false;
                console.warn(refused);
            }
        }
    }
    Ok(Outcome::from_bool(all))
}

/// A key that was brought back.
#[derive(Serialize)]
struct Restored<'a> {
    key: &'a Key,
}

/// Brings back what the last run has removed, as far as the trash has it.
///
/// # Errors
/// A store that cannot be read or written, an output that cannot be written.
pub fn undo(store: &Store, console: &mut Console<'_>) -> Result<Outcome> {
    for batch in store.trash().batches()?.iter().rev() {
        let before = batch.files()?.len();
        let keys = if before == 0 { Vec::new() } else { store.images().undo(batch)? };
        let left = batch.files()?;
        if left.is_empty() && store.trash().doom(batch.name())? {
            store.trash().shred()?;
        }
        if before > left.len() {
            return restored(store, batch, &keys, (before - left.len()) as u64, console);
        }
        if before > 0 {
            console.warn(format!("nothing of trash/{} can be brought back: {LOST}", batch.name()));
        }
    }
    console.warn("there is nothing to bring back");
    Ok(Outcome::No)
}

const LOST: &str = "what it needs is gone, or another image is stored under its key";

fn restored(
    store: &Store,
    batch: &Batch,
    keys: &[Key],
    files: u64,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    // It counts as used now: else the next run would remove it again.
    for key in keys {
        store.images().touch(key);
    }
    for key in keys {
        if console.json {
            console.line(&Restored { key })?;
        } else {
            writeln!(console.out, "{key}").map_err(Error::output)?;
        }
    }
    console.flush()?;
    let back = show::entries(keys.len() as u64, referrers(store, keys)?);
    let back = if back.is_empty() { String::new() } else { format!(" {back} in") };
    console.say(format!("brought back{back} {} from trash/{}", count(files, "file"), batch.name()));
    let lost = batch.files()?.iter().filter(|path| path.starts_with("images/keys")).count() as u64;
    if lost > 0 {
        console.warn(format!("{} could not be brought back: {LOST}", count(lost, "image")));
    }
    Ok(Outcome::from_bool(lost == 0))
}

/// How many of the keys refer to an image.
fn referrers(store: &Store, keys: &[Key]) -> Result<u64> {
    let mut walker = store.images().walker();
    let mut referrers = 0;
    for key in keys {
        let Some(listed) = store.images().peek(key)? else { continue };
        let reach = walker.reach(&listed.entry.descriptor)?;
        referrers += u64::from(storekit::images::referrers::subject(key, &listed.entry, &reach).is_some());
    }
    Ok(referrers)
}
