//! Other programs: a command as data, where the tools are, and what runs them.
//!
//! Knows what a program is called and how it ended, and nothing of images.

pub(crate) mod aside;
pub mod background;
pub mod children;
pub mod command;
pub mod error;
pub(crate) mod held;
pub mod live;
pub(crate) mod masked;
pub mod packages;
mod podman;
pub mod runner;
pub(crate) mod temp;
pub mod tools;
mod tree;
