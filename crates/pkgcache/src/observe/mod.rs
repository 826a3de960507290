//! What is counted and logged: for `/metrics`, the access log and stderr.
//!
//! Deliberately absent: any influence on what is answered.

pub mod access_log;
pub(crate) mod log;
pub mod meter;
