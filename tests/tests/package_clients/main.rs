//! Real package clients in front of `pkgcache serve`, whose upstream is a server of the test's own:
//! cold, warm, with the upstream cut off, with damaged bytes, ten at once.
//!
//! The table in crates/pkgcache/CLIENTS.md stands on these.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may fail and write as they like")]

mod apt;
mod cargo;
mod images;
mod served;
