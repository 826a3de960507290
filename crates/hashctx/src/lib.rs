//! The library behind `hashctx`: a build context → a manifest → a key.
//!
//! Deliberately absent: clap, the terminal, the environment. Callers pass a configuration and a
//! writer.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod config;
pub mod context;
pub mod dockerfile;
pub mod dockerignore;
pub mod error;
pub mod files;
pub mod git;
pub mod listed;
pub mod listing;
pub mod manifest;
pub mod path;
pub mod report;
pub mod stat_cache;
pub mod tar;
pub mod warning;

pub use config::{Build, Config, Rules, Selection};
pub use context::{Hashed, Images, Pinned, hash, images, pinned};
pub use error::HashError;
pub use files::digest::Digest;
pub use files::entry::{Content, Entry, FileMode, ModePolicy};
pub use files::stat::{Kind, Stat};
pub use listed::{Filter, Judgement, Listed, Lister, Listing, Rule, Verdict};
pub use manifest::{Key, Manifest};
pub use path::RelPath;
pub use warning::Warning;
