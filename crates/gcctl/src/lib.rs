//! What a store holds, what it costs, what may go.
//!
//! A [`survey`] reads the store into a [`snapshot::Snapshot`], [`plan::decide`] chooses from that
//! alone, [`sweep`] acts and looks at each item again before it does. What cannot be read stops a
//! run; it never counts as empty.
//!
//! [`engine`] does the like for what docker or podman keeps, by their own commands, [`extra`] for
//! other folders that settings name.
//!
//! Deliberately absent: registries, and any blob's content beyond what storekit reads to
//! follow it.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod commands;
pub mod disk;
pub mod engine;
pub mod error;
pub mod events;
pub mod evicted;
pub mod extra;
mod holders;
mod holds;
pub mod limits;
mod matcher;
pub mod packages;
pub mod plan;
pub mod replay;
pub mod report;
mod roots;
pub mod show;
pub mod snapshot;
pub mod stats;
pub mod survey;
pub mod sweep;
pub mod tier;
pub mod verify;
mod waiting;

pub use commands::Console;
pub use error::{Error, Result};
pub use limits::Limits;
pub use matcher::Matcher;
