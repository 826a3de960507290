//! The edge of every larder tool, once: what each command does around its library.
//!
//! Deliberately absent: the files of a store, what is sent over a network, the words of any one
//! tool.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod amount;
pub mod background;
#[cfg(feature = "bar")]
pub mod bar;
pub mod common;
pub mod engine;
pub mod errors;
pub mod guard;
pub mod limits;
#[cfg(feature = "manual")]
pub mod manual;
pub mod nearest;
#[cfg(feature = "net")]
pub mod net;
pub mod outcome;
pub mod output;
pub mod page;
mod remedies;
pub mod settings;
pub mod signals;
pub mod table;
pub mod tables;
pub mod words;

pub use common::{Color, Common};
pub use engine::Engine;
#[cfg(feature = "net")]
pub use net::bucket;
pub use outcome::{Outcome, finish};
pub use output::Output;
pub use settings::{Environment, Settings};
pub use signals::Signals;
pub use table::{Align, Table};

use std::process::ExitCode;

/// Runs a tool's work and turns what it ends with into the process's exit code; the error, if any,
/// is printed.
///
/// Where a signal ended the work, its exit code counts, and one line says so.
#[must_use]
pub fn run(
    signals: &Signals,
    color: Color,
    work: impl FnOnce(&Signals) -> miette::Result<Outcome>,
) -> ExitCode {
    errors::set_up(color);
    let result = work(signals);
    match signals.ended() {
        Some(ended) => {
            signals.say_ended();
            finish(Ok(ended))
        }
        None => finish(result),
    }
}
