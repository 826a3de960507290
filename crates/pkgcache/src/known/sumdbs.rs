//! The trees of checksum databases whose right edge was compared with a signed root.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ecosystem::go::note::Key;
use crate::ecosystem::go::tiles::{Hash, Place, Tree};

/// A tree, and the tiles at its edge.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The tree.
    pub(crate) tree: Tree,
    /// The tiles, and where they are.
    pub(crate) tiles: Vec<(Place, Vec<Hash>)>,
}

/// The largest tree of each database that was seen.
#[derive(Debug, Default)]
pub(crate) struct Sumdbs(Mutex<HashMap<String, (Key, Arc<Edge>)>>);

impl Sumdbs {
    fn state(&self) -> MutexGuard<'_, HashMap<String, (Key, Arc<Edge>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest tree that this key signed.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Edge>> {
        self.state().get(&key.name).filter(|(its, _)| its == key).map(|(_, edge)| Arc::clone(edge))
    }

    /// Remembers the tree, unless a larger one is known.
    pub(crate) fn keep(&self, key: &Key, edge: &Arc<Edge>) {
        let mut state = self.state();
        let known = state.get(&key.name).filter(|(its, _)| its == key);
        if known.is_none_or(|(_, it)| it.tree.size < edge.tree.size) {
            state.insert(key.name.clone(), (key.clone(), Arc::clone(edge)));
        }
    }
}
