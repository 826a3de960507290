//! `run --background`: what a bake and the package cache start when they have stored something.
//!
//! Bounded and polite: one at a time for each store, no more often than every minute, at the lowest
//! priority, in short steps with pauses, for some minutes at most. Does nothing unless a limit of
//! bytes is exceeded, and never what `run` would ask `--force` for. What it did is written into the
//! file that it locks, for `limits` to tell, and noted as an event.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use storekit::error::At;
use storekit::files::lock;
use storekit::{Event, Kind, Store};
use toolkit::Outcome;

use super::collect::{Wanted, look, refusal};
use super::collected::{Last, path, write};
use crate::error::Result;
use crate::events::TOOL;
use crate::limits::Limits;
use crate::show;
use crate::sweep::{Pace, sweep_at};

/// No more often than this.
const EVERY: Duration = Duration::from_secs(60);
/// For so long at most; the next one goes on.
const LONGEST: Duration = Duration::from_secs(300);
/// So long others have the store between two steps.
const PAUSE: Duration = Duration::from_millis(50);

/// Removes what is over a limit of bytes, where that is wanted and nobody else does.
///
/// # Errors
/// A store that cannot be read or written.
pub fn background(store: &Store, limits: &Limits, stop: &Arc<AtomicBool>) -> Result<Outcome> {
    let Some(mut file) = turn(store)? else { return Ok(Outcome::Yes) };
    step_back();
    let begun = Timestamp::now();
    let (plan, _) = look(store, &Wanted::OverLimits, limits)?;
    let (goes, objections) = plan.guarded_alone();
    let held: Vec<_> = objections.iter().map(|it| format!("{}", refusal(&plan, it))).collect();
    if !plan.is_pressed() {
        return Ok(Outcome::Yes);
    }
    let mut last = Last { time: begun, removed: 0, bytes: 0, said: String::new(), held: false };
    if held.is_empty() || goes.is_pressed() {
        end_after(LONGEST, stop);
        let swept = sweep_at(store, &goes, goes.time, stop, Pace { pause: PAUSE })?;
        let removed = (swept.images.len() + swept.packages.len()) as u64;
        let bytes = swept.bytes.saturating_sub(swept.trashed) + swept.package_bytes + swept.emptied_bytes();
        let said = show::result(&swept, &goes.limits, false);
        last = Last { time: Timestamp::now(), removed, bytes, said, held: false };
    }
    last.held = !held.is_empty();
    for refusal in held {
        let and = if last.said.is_empty() { "" } else { "; " };
        last.said = format!("{}{and}{refusal}: `gcctl run --force` does", last.said);
    }
    // Statistics only: a store that has no room for them goes without.
    let _ = write(&mut file, &last);
    let event = Event::counted(TOOL, Kind::Collect, last.removed, last.bytes, last.time);
    let seconds = last.time.duration_since(begun).as_secs_f64();
    let _ = store.events().record(&Event { seconds: Some(seconds), ..event });
    Ok(Outcome::Yes)
}

/// The locked file; `None` where another one works, or has just done so.
fn turn(store: &Store) -> Result<Option<File>> {
    let path = path(store);
    let is_new = !path.exists();
    let file = lock::open(&path, lock::MODE).at("open", &path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let since = file.metadata().and_then(|it| it.modified()).at("read", &path)?;
    // A clock that was set back delays nothing for long.
    let is_recent = SystemTime::now().duration_since(since).is_ok_and(|age| age < EVERY);
    if is_recent && !is_new {
        return Ok(None);
    }
    file.set_modified(SystemTime::now()).at("stamp", &path)?;
    Ok(Some(file))
}

/// The lowest priority, of the disk too: no system call of Rust's libraries sets the idle class, so
/// `ionice` does, where it is there; else the kernel works with what goes with the priority.
fn step_back() {
    let _ = rustix::process::nice(19);
    let own = std::process::id().to_string();
    let mut ionice = Command::new("ionice");
    ionice.args(["-c", "3", "-p", &own]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = ionice.status();
}

/// Tells the work to stop after a while.
fn end_after(time: Duration, stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
}
