//! A caching HTTP proxy for package downloads: correct first (RFC 9111), then fast.
//!
//! Deliberately absent: what a package is (see [`ecosystem`]), terminals, environment variables,
//! command lines.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")
)]

pub mod cache;
pub mod commands;
pub mod config;
pub mod ecosystem;
pub mod error;
mod fetch;
pub mod observe;
pub mod proxy;
pub mod response;
pub mod rules;
pub mod server;
pub mod store;
pub mod upstream;
pub mod wire;

pub use error::{Error, Result};
