//! Images in registries: what only one side has moves, whatever registry it is.
//!
//! - [`Client`]: one repository of one registry. [`push()`], [`pull()`]: a whole image.
//! - `auth`: which credentials are sent. `transport`: one request. [`retry`]: how
//!   often.
//!
//! Deliberately absent: the environment, the terminal; HTTP/2, client certificates, images of
//! Docker's first format, layers from anywhere but the registry.

mod auth;
mod client;
mod config;
mod document;
pub(crate) mod download;
mod file;
mod memory;
mod names;
mod pieces;
mod proxy;
pub mod pull;
pub mod push;
pub mod retry;
pub(crate) mod tags;
pub(crate) mod transport;
pub(crate) mod url;

pub use crate::error::registry::Error;
pub use crate::image::fetch::Document;
pub use crate::registry::auth::credentials::Credentials;
pub use crate::tally::Tally;
pub use client::{Client, Purpose};
pub use config::Config;
pub use file::is_address;
pub use names::{key, retag, tags};
pub use proxy::{Named, Proxies};
pub use pull::{Pulled, pull};
pub use push::{Pushed, push, takes};
pub use retry::Patience;
pub use transport::Waits;

use storekit::Digest;

use crate::error::Result;
use storekit::Reference;

/// The digest of the file that stands at the address now. `None` where there is none.
///
/// # Errors
/// An address that cannot be used; no connection; a server that says no, or leads out of TLS.
pub fn digest_of_file(config: &Config, address: &str) -> Result<Option<Digest>> {
    let transport = transport::Transport::new(&config.roots, &config.proxies, config.patience, &config.waits);
    file::digest(&transport, config.patience, address)
}

/// The digest that the reference stands for in its registry: of the image for the platform, where
/// one is named. `None` where the registry does not have the image.
///
/// # Errors
/// As [`Client::resolve`]; [`Error::NoPlatform`].
pub fn resolve(
    config: &Config,
    reference: &Reference,
    platform: Option<&crate::format::oci::Platform>,
) -> Result<Option<Digest>> {
    let client = Client::new(config, reference, Purpose::Pull)?;
    let Some(platform) = platform else { return client.resolve(&reference.target()) };
    let Some(root) = client.manifest(&reference.target(), None)? else { return Ok(None) };
    let chosen = pull::choose(&client, reference, &root, platform)?;
    Ok(Some(chosen.unwrap_or(root.descriptor).digest))
}
