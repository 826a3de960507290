//! What is on its way to the tiers that are written, while other images are baked.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use super::reach::Tiers;
use super::reached::Trouble;

/// The keys that wait for each tier. Each tier has a thread of its own, which sends one image after
/// the other: a blob that two of them share moves once. The threads end when all is sent that was
/// queued before this is dropped.
pub(crate) struct Queue(Mutex<Waiting>);

struct Waiting {
    senders: Vec<(usize, Sender<String>)>,
    queued: BTreeSet<(usize, String)>,
}

impl Queue {
    /// Begins to send. `tell` hears of each trouble, on whichever thread it came up.
    pub(crate) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        tiers: &'env Tiers<'env>,
        tell: &'env (impl Fn(&Trouble) + Sync),
    ) -> Self {
        let mut senders = Vec::new();
        for at in tiers.written().iter().copied() {
            let (sender, keys) = mpsc::channel::<String>();
            senders.push((at, sender));
            scope.spawn(move || {
                for key in keys {
                    // After a signal nothing starts, and the bake itself ends with it.
                    let Ok(trouble) = tiers.push(at, &key) else { return };
                    trouble.iter().for_each(tell);
                }
            });
        }
        Self(Mutex::new(Waiting { senders, queued: BTreeSet::new() }))
    }

    /// Sends the image of the key to these tiers, or to all where none is named, each once.
    pub(crate) fn send(&self, key: &str, to: Option<&[usize]>) {
        let mut waiting = self.waiting();
        let Waiting { senders, queued } = &mut *waiting;
        for (at, sender) in senders.iter().filter(|(at, _)| to.is_none_or(|to| to.contains(at))) {
            if queued.insert((*at, key.to_owned())) {
                // A thread that a signal ended takes nothing.
                let _ = sender.send(key.to_owned());
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
