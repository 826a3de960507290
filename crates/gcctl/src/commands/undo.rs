//! Brings back what the last run removed.

use serde::Serialize;
use storekit::{Batch, Key, NotBack, Store};
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
            console.warn(format!("nothing of trash/{} can be brought back", batch.name()));
            say_lost(store, batch, console)?;
        }
    }
    console.warn("there is nothing to bring back");
    Ok(Outcome::No)
}

/// Says of each image that stays in the trash why. Returns how many there are.
fn say_lost(store: &Store, batch: &Batch, console: &mut Console<'_>) -> Result<u64> {
    let lost = store.images().not_brought_back(batch)?;
    for (key, why) in &lost {
        let why = match why {
            NotBack::Taken => "another image is stored under its key".to_owned(),
            NotBack::Damaged => "what stands in the trash of it is damaged".to_owned(),
            NotBack::DamagedBlobs(blobs) => {
                let such = blobs.first().map_or_else(String::new, |first| format!(", such as {first}"));
                format!(
                    "{} of it in the trash {} damaged{such}",
                    count(blobs.len() as u64, "blob"),
                    are(blobs.len())
                )
            }
            NotBack::Lacks(blobs) => {
                let such = blobs.first().map_or_else(String::new, |first| format!(", such as {first}"));
                format!(
                    "it lacks {}{such}, which neither the store nor the trash has",
                    count(blobs.len() as u64, "blob")
                )
            }
        };
        console.warn(format!("`{key}` could not be brought back: {why}"));
    }
    Ok(lost.len() as u64)
}

fn are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

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
    let (files, from) = (count(files, "file"), format!("from trash/{}", batch.name()));
    console.say(if back.is_empty() {
        format!("brought back no image, and {files} that none needs {from}: the next run removes them again")
    } else {
        format!("brought back {back} in {files} {from}")
    });
    let lost = say_lost(store, batch, console)?;
    let damaged = store.images().damaged_in(batch)?.len();
    if damaged > 0 {
        let files = count(damaged as u64, "damaged file");
        console.warn(format!("{files} {} left in trash/{}", are(damaged), batch.name()));
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
