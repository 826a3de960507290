//! What is counted and logged: for `/metrics`, the access log, and the records of entrances.
//!
//! Deliberately absent: any influence on what is answered; messages (`outside`).

pub(crate) mod access_log;
mod latency;
pub(crate) mod meter;
pub(crate) mod record;
pub(crate) mod refusals;
pub(crate) mod trace;
pub(crate) mod uses;

/// The name that this tool has in events.
pub(crate) const TOOL: &str = "pkgcache";
