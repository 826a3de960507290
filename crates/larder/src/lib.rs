//! Brings a project's images up to date.
//!
//! Runs the larder tools as processes and links none of them. Reads no environment: `cli` does,
//! for the binary `larder` and for this repository's `cargo xtask`.

pub mod bake;
pub mod ci;
pub mod cli;
pub mod compose;
pub mod config;
mod depot;
pub mod disk;
pub mod init;
pub mod list;
pub mod lock;
mod note;
pub mod occasion;
pub mod outputs;
pub mod process;
pub mod report;
mod repository;
mod schedule;
pub mod tags;
pub mod tier;
pub mod times;
pub mod why;
