//! Brings back what the last run removed.

use serde::Serialize;
use storekit::{Batch, Key, Store};
use toolkit::Outcome;
use toolkit::words::count;

use super::console::Console;
use crate::error::{Error, Result};
use crate::show;

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
