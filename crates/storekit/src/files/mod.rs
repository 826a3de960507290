//! Files of a store: written whole or not at all (`replace`), locked (`lock`), a sign that a piece
//! of work is being done (`turn`), told from the pointers of Git LFS (`lfs`), still what was read
//! (`state`), written in few bytes where they are derived (`packed`). And files that a user names
//! for an output (`output`).
//!
//! Deliberately absent: what stands in the files.

pub mod lfs;
pub mod lock;
pub mod look;
pub mod output;
pub(crate) mod packed;
pub mod replace;
pub mod state;
pub mod turn;
