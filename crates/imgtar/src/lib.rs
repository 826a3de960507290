//! The library behind `imgtar`: container images in and out of a store that is an OCI image layout.
//!
//! - [`format`](mod@format): what bytes and names mean; touches no store.
//! - [`layer`]: one layer into the store, and which layers it has already.
//! - [`image`]: what is stored under a key, read back and verified; what every save does.
//! - [`archive`]: image archives in and out. [`disk`]: disk images in and out. [`pack`]: an image
//!   from a folder or a tar. [`index`]: one of stored images.
//! - [`extract`]: files out of an image.
//! - [`engine`]: from and to docker and podman, only what the other side lacks.
//! - [`tier`]: an image under its key in another place, with what is noted with it.
//! - [`registry`]: from and to any OCI registry. [`serve`]: the store as a registry.
//! - [`repository`]: a store that git keeps.
//!
//! Deliberately absent: the terminal, the environment, command-line flags; unpacking to disk, but
//! for what is extracted.

pub mod archive;
pub mod disk;
pub mod engine;
pub mod error;
pub mod extract;
pub mod format;
pub mod image;
pub mod index;
pub mod layer;
pub mod pack;
pub mod parallel;
pub mod progress;
pub mod registry;
pub mod repository;
pub mod serve;
pub mod source;
pub mod tally;
pub mod tier;

pub use error::{Error, Result};
