//! Files: how one is opened, looked at and hashed, and what a path contributes to the key.
//!
//! Deliberately absent: which files are inputs (`listing`), and what is remembered of them
//! (`stat_cache`).

pub mod digest;
pub mod entry;
pub(crate) mod mapped;
pub(crate) mod regular;
pub mod stat;
