//! What is counted and logged: for `/metrics`, the access log, and the records of entrances.
//!
//! Deliberately absent: any influence on what is answered; messages (`outside`).

pub(crate) mod access_log;
pub(crate) mod meter;
pub(crate) mod record;
pub(crate) mod refusals;
pub(crate) mod trace;
pub(crate) mod uses;
