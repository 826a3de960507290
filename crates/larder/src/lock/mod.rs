//! larder.lock: which digest each image stands for that a Dockerfile names by a tag, and what is
//! at each address that a build fetches, resolved once and written down beside larder.toml.
//!
//! `file` has what the file says and writes it, `read` reads it, `resolve` asks for digests. Which
//! images a bake needs, and what it does with their digests, is the bake's.
//!
//! An image that only one machine's engine has is there by its ID, and marked: no other machine
//! can build from it, but all that was built from it has a key there, too.
//!
//! Deliberately absent: images of larder.toml, which are known by their keys.

mod file;
mod read;
mod resolve;

pub use file::{By, FILE, LockFile, Locked};
pub use read::{Invalid, LockError};
pub use resolve::{at_address, in_engine, in_registry};
