//! What is counted and logged.

pub mod access_log;
pub(crate) mod log;
pub mod meter;
