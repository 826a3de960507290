//! What all requests share: the store, what is known of it, the uploads under way.

use std::io;
use std::sync::Arc;

use storekit::{Blobs, Descriptor, Digest, Images, Store};

use crate::format::oci::annotation;
use crate::serve::fault::{Fault, Result};
use crate::serve::guard::Guard;
use crate::serve::handlers::uploads::Uploads;
use crate::serve::state::facts::Facts;
use crate::serve::state::held_blobs::Grace;
use crate::serve::state::offers::Offers;
use crate::serve::state::stock::{Stock, Stocks};
use crate::serve::{Config, Listener};

/// One registry.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) images: Images,
    pub(crate) blobs: Blobs,
    pub(crate) facts: Arc<Facts>,
    pub(crate) offers: Offers,
    pub(crate) stocks: Stocks,
    pub(crate) grace: Grace,
    pub(crate) uploads: Uploads,
    pub(crate) guard: Guard,
    pub(crate) read_only: bool,
    listener: Arc<dyn Listener>,
    prove: bool,
}

impl App {
    pub(crate) fn new(store: Store, config: &Config) -> Self {
        let images = store.images();
        let blobs = images.blobs();
        let facts = Arc::new(Facts::new(blobs.clone()));
        Self {
            facts: Arc::clone(&facts),
            offers: Offers::new(blobs.clone(), facts),
            stocks: Stocks::new(images.clone()),
            grace: Grace::new(config.leases),
            uploads: Uploads::new(blobs.clone()),
            guard: Guard::new(config),
            read_only: config.read_only,
            listener: Arc::clone(&config.listener),
            prove: config.prove,
            store,
            images,
            blobs,
        }
    }

    /// Tells the log of trouble.
    pub(crate) fn trouble(&self, message: &str) {
        self.listener.trouble(message);
    }

    /// Tells the log of a request.
    pub(crate) fn request(&self, line: &str) {
        self.listener.request(line);
    }

    /// Tells the log of what broke a download off.
    pub(crate) fn stream_log(&self) -> crate::serve::handlers::stream::Log {
        let listener = Arc::clone(&self.listener);
        Arc::new(move |error: &io::Error| listener.trouble(&format!("a download was broken off: {error}")))
    }

    /// The size of a blob that is there and sound. `None`: it is not there (any more).
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn sound(&self, digest: &Digest) -> Result<Option<u64>> {
        if self.prove {
            return Ok(self.facts.prove(digest)?);
        }
        Ok(self.blobs.size(digest)?)
    }

    /// The compressed layer that unpacks to this, and the size of its plain bytes.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn plain_source(&self, stock: &Stock, diff_id: &Digest) -> Result<Option<(Descriptor, u64)>> {
        let Some(source) = stock.source(diff_id) else { return Ok(None) };
        let stored = &source.stored;
        if self.sound(&stored.digest)? != Some(stored.size) {
            return Ok(None);
        }
        let noted = stored.annotations.get(annotation::PLAIN_SIZE).filter(|_| source.trusted);
        if let Some(size) = noted.and_then(|size| size.parse().ok()) {
            return Ok(Some((stored.clone(), size)));
        }
        match self.facts.plain(&stored.digest) {
            Ok(plain) if plain.diff_id == *diff_id => Ok(Some((stored.clone(), plain.size))),
            Err(crate::Error::Store(error)) if !error.is_corrupt() => Err(error.into()),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Does what blocks on a thread of its own.
    ///
    /// # Errors
    /// What `work` returns.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&app))
            .await
            .unwrap_or_else(|error| Err(Fault::internal(&error)))
    }
}
