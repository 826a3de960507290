//! Files of a store: written whole or not at all (`replace`), locked (`lock`), told from the
//! pointers of Git LFS (`lfs`), still what was read (`state`).
//!
//! Deliberately absent: what stands in the files.

pub mod lfs;
pub mod lock;
pub mod replace;
pub mod state;
