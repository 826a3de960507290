//! A session with `imgtar`, and what is in its store.

use std::ops::Deref;

use storekit::{Digest, Store};

/// A session whose lines are imgtar's.
pub(crate) struct Session(larder_tests::Session);

impl Session {
    pub(crate) fn new() -> Self {
        Self(larder_tests::Session::of(env!("CARGO_BIN_EXE_imgtar")))
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.0.store()).unwrap()
    }

    /// The names of all blobs under final names.
    pub(crate) fn blobs(&self) -> Vec<Digest> {
        self.store().images().blobs().list().unwrap()
    }

    /// The IDs of the images under a key.
    #[track_caller]
    pub(crate) fn ids(&self, key: &str) -> Vec<String> {
        let row = self.run(&format!("info {key} --json")).ok().json();
        row["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }
}

impl Deref for Session {
    type Target = larder_tests::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
