//! A caching HTTP proxy for package downloads: correct first (RFC 9111), then fast.
//!
//! Deliberately absent: terminals, environment variables, signals and command lines (see
//! [`Outside`]).
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")
)]

pub mod archive;
pub mod authority;
pub mod builds;
mod cache;
pub mod clients;
pub mod commands;
mod config;
#[cfg(test)]
mod damaged;
mod ecosystem;
mod error;
mod fetch;
mod guards;
mod index;
mod known;
pub mod locked;
mod observe;
mod outside;
mod proxy;
mod remote;
mod response;
mod rules;
mod server;
pub mod status;
mod store;
mod upstream;
pub mod warm;
mod wire;

pub use config::changes::Changes;
pub use config::guards::GuardTable;
pub use config::intercept::{Intercept, InterceptTable};
pub use config::remote::{RemoteConfig, RemoteSetting, RemoteTable};
pub use config::settings::Options;
pub use config::{Config, Listen, Mirror, Sources, Upstream};
pub use ecosystem::Ecosystem;
pub use error::{Error, Result};
pub use guards::{Guards, Pattern};
pub use observe::record::Record;
pub use observe::refusals::NotServed;
pub use outside::Outside;
pub use server::entrance::Entrance;
pub use server::listener::Inherited;
pub use server::{Control, Server};
pub use store::replayed::Replayed;
