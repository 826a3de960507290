//! What was read from indexes lately, by the digest of each: a table never becomes wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use storekit::Digest;

use crate::ecosystem::table::Table;

/// What all tables may take in memory, in bytes.
const MOST: usize = 48 << 20;

/// Tables by the digest of the document, and of whatever else they were made from.
#[derive(Debug, Default)]
pub(crate) struct Tables(Mutex<VecDeque<(Digest, Arc<Table>)>>);

impl Tables {
    /// The table, if it is known.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Table>> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = tables.iter().position(|(it, _)| it == digest)?;
        let found = tables.remove(at)?;
        let table = Arc::clone(&found.1);
        tables.push_front(found);
        Some(table)
    }

    /// Keeps it; those that were not used for longest go.
    pub(crate) fn keep(&self, digest: Digest, table: Arc<Table>) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(it, _)| *it != digest);
        tables.push_front((digest, table));
        let mut weight = 0;
        let fitting = tables.iter().take_while(|(_, table)| {
            weight += table.weight() + 1024;
            weight <= MOST
        });
        let most = fitting.count().max(1);
        tables.truncate(most);
    }
}
