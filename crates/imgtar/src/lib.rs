//! The library behind `imgtar`: container images in and out of a store that is an OCI image layout.
//!
//! - [`archive`], [`catalog`], [`resolve`]: what an image archive holds. Pure but for the layers that a pipe brings.
//! - [`layer`], [`assemble`], [`import`]: into the store, each layer once.
//! - [`image`], [`export`], [`verify`], [`show`]: out of the store, verified.
//! - [`disk`]: disk images, in and out.
//! - [`extract`]: files out of an image.
//! - [`engine`], [`save`], [`load`], [`thin`]: from and to an engine, what it lacks.
//! - [`serve`]: the store as a registry.
//! - [`mod@reference`], [`registry`]: to and from any OCI registry.
//! - [`repository`]: a store that git keeps.
//! - [`pack`]: an image from a folder or a tar.
//!
//! Deliberately absent: the terminal, the environment, command-line flags; unpacking to disk, but for what is extracted.

pub mod archive;
pub mod assemble;
pub mod catalog;
pub mod disk;
pub mod engine;
pub mod error;
pub mod export;
pub mod extract;
pub mod form;
mod http1;
pub mod image;
pub mod import;
mod inputs;
pub mod known;
pub mod layer;
mod learnt;
pub mod load;
pub mod name;
pub mod oci;
pub mod pack;
pub mod parallel;
pub mod path;
pub mod progress;
mod proved;
pub mod reference;
mod referrers;
pub mod registry;
pub mod repository;
pub mod resolve;
pub mod save;
pub mod serve;
pub mod show;
mod tarball;
pub mod thin;
pub mod verify;
mod warm;
mod whole;

pub use error::{Error, Result};
