//! A caching HTTP proxy for package downloads: correct first (RFC 9111), then fast.
//!
//! Deliberately absent: what a package is (see [`classify`]), terminals, environment variables, command lines.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")
)]

pub mod access;
mod ahead;
pub mod answer;
pub mod body;
pub mod cache;
pub mod classify;
pub mod commands;
pub mod config;
mod connection;
mod download;
pub mod error;
mod fetch;
pub mod flight;
mod forward;
pub mod guard;
pub mod handle;
pub mod head;
mod hit;
pub mod hosts;
mod location;
mod log;
pub mod meter;
mod minutes;
mod places;
pub mod plain;
mod queues;
mod quick;
mod recent;
mod redirect;
pub mod reply;
pub mod rules;
pub mod run;
pub mod serve;
pub mod settings;
pub mod shelf;
pub mod spill;
pub mod target;
mod tls;
mod tunnel;
pub mod upload;
pub mod upstream;

pub use error::{Error, Result};
