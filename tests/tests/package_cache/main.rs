//! pkgcache as a process under load: killed at any moment, and looked at from outside.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may fail and write as they like")]

mod crash;
mod metrics;
mod origin;
