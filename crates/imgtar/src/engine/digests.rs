//! What an engine knows an image by in registries.

use storekit::Digest;

use super::Engine;
use crate::error::Result;
use storekit::Reference;

/// The digests of an engine's image.
#[derive(Clone, Debug)]
pub struct Digests {
    /// The image's ID.
    pub id: Digest,
    /// Its references with digests in registries.
    pub remote: Vec<Reference>,
}

impl Engine {
    /// The image's ID, and the references with digests that it has in registries. `None`: there is
    /// no such image.
    ///
    /// # Errors
    /// No engine; an engine that cannot be asked.
    pub fn digests(&self, name: &str) -> Result<Option<Digests>> {
        let Some(seen) = self.hold(name)? else { return Ok(None) };
        let unnamed = || self.failed(&["image", "inspect", name], "exit status: 0", "it names no image ID");
        let id = seen.digest().ok_or_else(unnamed)?;
        Ok(Some(Digests { id, remote: seen.references().collect() }))
    }
}
