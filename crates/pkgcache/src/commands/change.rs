//! `rm` and `refresh`: what is forgotten, and what is to be asked for again.

use jiff::{SignedDuration, Timestamp};
use storekit::{PackageEntry, StoredResponse};

use super::selection::{Selection, Sum};
use super::{Console, each};
use crate::cache;
use crate::error::Result;
use crate::response::stored_head::Answer;
use toolkit::Outcome;

/// Forgets the URLs. Bodies that no other URL has stay until they are collected. `No` where none is
/// stored.
///
/// # Errors
/// I/O errors. An entry that cannot be read is a warning.
pub fn rm(packages: &storekit::Packages, which: &Selection, console: &mut Console<'_>) -> Result<Outcome> {
    let mut sum = Sum::default();
    let any = each(packages, which, console, &mut |entry, _, _| {
        packages.remove(&entry.key)?;
        sum.add(entry);
        Ok(())
    })?;
    console.say(&if any { format!("removed: {}", sum.words()) } else { which.words() });
    Ok(Outcome::from_bool(any))
}

/// Makes what is stored of the URLs stale, so that the upstream is asked at the next request
/// whether it still holds. `No` where none is stored.
///
/// # Errors
/// As [`rm`].
pub fn refresh(
    packages: &storekit::Packages,
    which: &Selection,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let now = Timestamp::now();
    let any = each(packages, which, console, &mut |entry, used, _| {
        let mut entry = entry.clone();
        entry.responses.iter_mut().for_each(|it| age(it, now));
        super::put_unused(packages, &entry, used)
    })?;
    if !any {
        console.say(&which.words());
    }
    Ok(Outcome::from_bool(any))
}

/// Makes the response older than any index may be without being asked for again: by a day, or by
/// what it says itself. No older: it may have to stand in for an upstream that fails.
fn age(stored: &mut StoredResponse, now: Timestamp) {
    let left = Answer::from_stored(stored).map_or(0, |it| it.lifetime(true) - it.age(cache::now()));
    let back = SignedDuration::from_secs(left.saturating_add(1).max(86_400));
    let time = stored.received.min(now).checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH);
    (stored.requested, stored.received) = (time, time);
}

/// An entry as it is, for those who only look.
pub(super) type Each<'a> =
    dyn FnMut(&PackageEntry, std::time::SystemTime, &mut Console<'_>) -> Result<()> + 'a;
