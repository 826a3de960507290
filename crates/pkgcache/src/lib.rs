//! A caching HTTP proxy for package downloads: correct first (RFC 9111), then fast.
//!
//! What it needs of its process is handed in ([`Process`]). Deliberately absent: what a package is
//! (see [`Classify`]), terminals, environment variables, signals, command lines.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")
)]

mod cache;
pub mod commands;
pub mod config;
mod ecosystem;
mod error;
mod fetch;
mod observe;
mod proxy;
mod response;
mod rules;
mod server;
mod store;
mod upstream;
mod wire;

pub use cache::{Cache, Process};
pub use config::{Config, Upstream};
pub use ecosystem::{Class, Classify, Generic};
pub use error::{Error, Result};
pub use observe::messages::{Messages, Weight};
pub use server::{Handle, Server};
pub use upstream::Authorities;
