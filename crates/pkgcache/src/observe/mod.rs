//! What is counted and logged: for `/metrics`, the access log and the messages.
//!
//! Deliberately absent: any influence on what is answered.

pub(crate) mod access_log;
pub(crate) mod messages;
pub(crate) mod meter;
