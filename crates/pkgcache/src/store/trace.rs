//! What a request makes the cache look at: the entries, as they were when it saw them last.
//!
//! An index that vouches for a file is looked at by whoever asks for the file, and a replay needs
//! it as much as the file. Every look goes through the shelf, so this is noted there, for the
//! request whose task it is; what is fetched in a task of its own is looked at by the request again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use storekit::images::fetched::MOST;
use storekit::{Digest, PackageKey, StoredResponse};

use crate::store::Known;

tokio::task_local! {
    /// Where the looks of the request at hand are noted.
    static TRACE: Arc<Trace>;
}

/// A key, and what was found under it last.
type Look = (PackageKey, Option<Arc<Known>>);

/// What was looked at.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<HashMap<Digest, Look>>);

impl Trace {
    /// Does the work of a request, and notes what that looks at.
    pub(crate) async fn follow<W: Future>(self: &Arc<Self>, work: W) -> W::Output {
        TRACE.scope(Arc::clone(self), work).await
    }

    /// What was looked at, with what was found there last.
    pub(crate) fn take(&self) -> Vec<(PackageKey, Vec<Arc<StoredResponse>>)> {
        let looks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let stored = |known: Arc<Known>| known.responses.iter().map(|it| Arc::clone(&it.stored)).collect();
        looks.into_values().map(|(key, known)| (key, known.map(stored).unwrap_or_default())).collect()
    }
}

/// Notes a look of the request at hand, if there is one that is followed.
pub(super) fn looked_at(key: &PackageKey, known: Option<&Arc<Known>>) {
    // Outside of a request nobody is followed.
    let _ = TRACE.try_with(|trace| {
        let mut looks = trace.0.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = key.digest();
        if looks.len() < MOST || looks.contains_key(&digest) {
            let look = looks.entry(digest).or_insert_with(|| (key.clone(), None));
            look.1 = known.cloned().or_else(|| look.1.take());
        }
    });
}
