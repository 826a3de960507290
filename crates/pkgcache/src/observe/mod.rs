//! What is counted and logged: for `/metrics` and the access log.
//!
//! Deliberately absent: any influence on what is answered; messages (`outside`).

pub(crate) mod access_log;
pub(crate) mod meter;
