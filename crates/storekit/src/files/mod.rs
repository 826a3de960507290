//! Files of a store: written whole or not at all, locked, told from the pointers of Git LFS.

pub mod lfs;
pub mod lock;
pub mod replace;
