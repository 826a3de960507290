//! Pins, set and taken off.

use storekit::{Key, KeyOrName, Store};
use toolkit::Outcome;

use super::{Console, lookup};
use crate::error::Result;

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
