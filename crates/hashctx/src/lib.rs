//! The library behind `hashctx`: a build context → a manifest → a key.
//!
//! Deliberately absent: clap, the terminal, the environment. Callers pass a configuration and a writer.

pub mod dockerignore;
pub mod error;
pub mod git;
pub mod listing;
pub mod path;
pub mod stat;
pub mod warning;

pub use error::HashError;
pub use listing::{Filter, Judgement, Kind, Listed, Lister, Listing, Rule, Verdict};
pub use path::RelPath;
pub use stat::Stat;
pub use warning::Warning;
