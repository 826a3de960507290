//! One bake of a key at a time: who comes second waits, and finds the image in the store.

use std::time::Duration;

use camino::Utf8Path;
use storekit::files::turn::Turn;
use storekit::store::Store;

use crate::process::runner::{RunError, Runner};

/// How long another bake of the same key is waited for. A build that takes longer is made twice.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Waits for the turn of the key; `tell` is called before. `None` without a store.
///
/// # Errors
/// An interruption.
pub(crate) fn take(
    store: Option<&Utf8Path>,
    key: &str,
    runner: &Runner,
    tell: impl FnOnce(),
) -> Result<Option<Turn>, RunError> {
    let Some(store) = store.filter(|store| Store::open_or_create(store).is_ok()) else {
        return Ok(None);
    };
    let mut tell = Some(tell);
    let turn = Turn::take(&store.join(format!(".bake-{key}")), "", PATIENCE, |_| {
        tell.take().into_iter().for_each(|tell| tell());
        runner.uninterrupted().map(|()| true)
    });
    turn.map(Some)
}
