//! Brings a project's images up to date, and runs this repository's own checks.
//!
//! Runs the larder tools as processes and links none of them. Reads no environment and no command
//! line: `main` does.

pub mod background;
pub mod bake;
pub mod bench;
pub mod children;
pub mod ci;
pub mod command;
pub mod config;
pub mod image;
mod names;
pub mod rules;
pub mod runner;
pub mod test;
pub mod tidy;
pub mod times;
pub mod tools;
pub mod workspace;
