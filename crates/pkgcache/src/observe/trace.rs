//! What a request makes the cache look at: the entries, as they were when it saw them last.
//!
//! An index that vouches for a file is looked at by whoever asks for the file, and a replay needs
//! it as much as the file. Every look goes through `store::Shelf`, so it is noted there, for the
//! request whose task it is; what is fetched in a task of its own is looked at by the request
//! again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use storekit::images::fetched::MOST;
use storekit::{Digest, PackageKey, StoredResponse};

tokio::task_local! {
    /// Where the looks of the request at hand are noted.
    static TRACE: Arc<Trace>;
}

/// A key, and the responses that were found under it last.
type Look = (PackageKey, Vec<Arc<StoredResponse>>);

/// What was looked at.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<HashMap<Digest, Look>>);

impl Trace {
    /// Does the work of a request, and notes what that looks at.
    pub(crate) async fn follow<W: Future>(self: &Arc<Self>, work: W) -> W::Output {
        TRACE.scope(Arc::clone(self), work).await
    }

    /// What was looked at, with what was found there last.
    pub(crate) fn take(&self) -> Vec<Look> {
        let looks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        looks.into_values().collect()
    }
}

/// Notes a look of the request at hand, if there is one that is followed, and what was `found`.
pub(crate) fn looked_at(key: &PackageKey, found: impl FnOnce() -> Vec<Arc<StoredResponse>>) {
    // Outside of a request nobody is followed.
    let _ = TRACE.try_with(|trace| {
        let mut looks = trace.0.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = key.digest();
        if looks.len() < MOST || looks.contains_key(&digest) {
            let (look, found) = (looks.entry(digest).or_insert_with(|| (key.clone(), Vec::new())), found());
            if !found.is_empty() {
                look.1 = found;
            }
        }
    });
}
