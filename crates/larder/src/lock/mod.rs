//! larder.lock: which digest each image stands for that a Dockerfile names by a tag, and what is
//! at each address that a build fetches, resolved once and written down beside larder.toml.
//!
//! `file` reads and writes the file, `resolve` asks for digests. Which images a bake needs, and
//! what it does with their digests, is the bake's.
//!
//! Deliberately absent: images of larder.toml, which are known by their keys; images that only one
//! machine's engine has, which are known by their IDs: no other machine could follow a lock of
//! them.

mod file;
mod resolve;

pub use file::{FILE, Invalid, LockError, LockFile, Locked};
pub use resolve::{at_address, in_engine, in_registry};
