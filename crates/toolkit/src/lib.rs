//! The edge of every larder tool, once: what each command does around its library.
//!
//! Deliberately absent: the files of a store, what is sent over a network, the words of any one
//! tool.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write what they like"))]

pub mod amount;
pub mod common;
pub mod engine;
#[cfg(feature = "manual")]
pub mod manual;
pub mod nearest;
#[cfg(feature = "net")]
pub mod net;
pub mod outcome;
pub mod page;
pub mod print;
pub mod process;
pub mod settings;
pub mod tables;
pub mod words;

pub use common::{Color, Common};
pub use engine::Engine;
#[cfg(feature = "net")]
pub use net::bucket;
pub use outcome::{Outcome, finish};
#[cfg(feature = "bar")]
pub use print::bar;
pub use print::output::Output;
pub use print::table::{Align, Table};
pub use print::{errors, output, table};
pub use process::signals::Signals;
pub use process::{background, guard, limits, signals};
pub use settings::{Environment, Settings};

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
