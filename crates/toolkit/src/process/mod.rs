//! What the operating system is asked for the process: which signals end it ([`signals`]), which of
//! its children end with it ([`guard`]), how many files it may have open ([`limits`]), and a
//! command that goes on without it ([`background`]).
//!
//! Deliberately absent: the commands that a tool runs for its own work.

pub mod background;
pub mod guard;
pub mod limits;
pub mod signals;
