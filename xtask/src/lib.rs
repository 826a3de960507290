//! This repository's own work: its checks, its tests, its comparisons with the tools' peers.
//!
//! What every project can use is in the crate `larder`. Reads no environment and no command line:
//! `main` does.

pub mod bench;
pub mod checks;
pub mod dist;
pub mod rules;
mod stall;
pub mod test;
pub mod tidy;
pub mod workspace;
