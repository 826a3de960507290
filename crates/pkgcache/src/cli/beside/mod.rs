//! Commands with a server of their own beside them: `run`, `record` and `replay`.
//!
//! `run` starts the command (`surroundings`, `builds`) and tells what it took (`tally`). The server
//! is the store's one for as long as any command needs it (`instance`), lends addresses to other
//! commands (`lobby`, `record`), or has what a record names alone (`replay`).

mod builds;
mod instance;
mod lobby;
pub(super) mod record;
pub(super) mod replay;
pub(super) mod run;
mod surroundings;
mod tally;
