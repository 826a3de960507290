//! The library behind `hashctx`: a build context → a manifest → a key.
//!
//! Deliberately absent: clap, the terminal, the environment. Callers pass a configuration and a writer.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod check_ignore;
pub mod clash;
pub mod config;
pub mod context;
pub mod diff;
pub mod digest;
pub mod dockerfile;
pub mod dockerignore;
pub mod engine;
pub mod entry;
pub mod error;
mod extra;
pub mod files_from;
pub mod git;
pub mod hash;
pub mod listing;
pub mod manifest;
mod mapped;
pub mod path;
mod precise;
mod regular;
pub mod report;
mod seek;
pub mod select;
pub mod stat;
pub mod stat_cache;
pub mod stores;
pub mod tar;
pub mod walk;
pub mod warning;

pub use config::{Build, Config, Rules, Selection};
pub use context::{Hashed, hash, images};
pub use digest::Digest;
pub use entry::{Content, Entry, FileMode, ModePolicy};
pub use error::HashError;
pub use listing::{Filter, Judgement, Kind, Listed, Lister, Listing, Rule, Verdict};
pub use manifest::{Key, Manifest};
pub use path::RelPath;
pub use stat::Stat;
pub use warning::Warning;
