//! The rules of `.dockerignore` files, exactly as moby/patternmatcher has them.
//!
//! [`Patterns`] is parsed from the bytes of an ignore file and judges paths, which are bytes too:
//! relative to the context, `/` between the parts, none at either end. It never panics, and its
//! time is linear in the path. [`choose`] says which ignore file counts for which engine, [`load`]
//! reads it.
//!
//! The reference has two ways to judge, and they differ (`foo/x` then `!foo`: the first keeps
//! `foo/x`, the second does not), so both stand here: [`Patterns::matches`] asks about one path
//! alone, [`Patterns::enter`] walks a tree from its root and is what engines do. A key must use the
//! second.
//!
//! Absent: walking, and git's rules.

pub(crate) mod choose;
mod gopath;
mod goregex;
mod matcher;
mod parse;
mod pattern;

pub use crate::error::dockerignore::{BadLine, LoadError, PatternError};
pub use choose::{Candidate, Chosen, Engine, Found, candidates, choose, load};
pub(crate) use gopath::{clean, trim_space};
pub use matcher::{Folder, Patterns, Rule, Verdict};
