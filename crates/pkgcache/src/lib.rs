//! A caching HTTP proxy for package downloads: correct first (RFC 9111), then fast.
//!
//! Deliberately absent: what a package is (see [`Classify`]); terminals, environment
//! variables, signals and command lines (see [`Outside`]).
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")
)]

mod cache;
pub mod clients;
pub mod commands;
mod config;
mod ecosystem;
mod error;
mod fetch;
mod observe;
mod outside;
mod proxy;
mod response;
mod rules;
mod server;
mod store;
mod upstream;
mod wire;

pub use config::settings::Options;
pub use config::{Config, Upstream};
pub use ecosystem::{Class, Classify, Generic};
pub use error::{Error, Result};
pub use outside::Outside;
pub use server::{Control, Server};
