//! The store on disk: whatever more than one larder tool touches there.
//!
//! Deliberately absent: engines, registries, networks, archives, terminals, command lines.

pub mod outcome;

pub use outcome::{Outcome, finish};
