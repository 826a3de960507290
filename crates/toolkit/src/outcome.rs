//! What a command ended with, and the exit code that says so.
//!
//! The codes are an interface: scripts branch on them. 0 yes, 1 no, 2 trouble, 3 corruption.

use std::io::{self, Write};
use std::process::ExitCode;

use storekit::printable_lines;

use crate::print::output::{is_reader_gone, say};
use crate::print::remedies::remedy;

/// How a command ended, where it ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or a hit: exit code 0.
    Yes,
    /// A miss, a difference, over the limit: exit code 1.
    No,
    /// Another program's exit code, passed on unchanged.
    Code(u8),
}

impl Outcome {
    /// `Yes` where `yes` holds.
    #[must_use]
    pub fn from_bool(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// The diagnostic code that every error for damaged stored bytes carries at its end.
const CORRUPT: &str = "::corrupt";

/// Turns the result of a command into the process's exit code, and prints the error, if any, to
/// stderr.
///
/// A listing whose reader has gone ([`crate::Output::listing`]) is a quiet success. An error whose
/// diagnostic code (or that of an error below it) ends in `::corrupt` exits 3, any other 2.
#[must_use]
pub fn finish(result: miette::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(report) if report.chain().any(is_reader_gone) => ExitCode::SUCCESS,
        Err(report) => {
            // Where stderr is closed too, the error is lost.
            let _ = writeln!(io::stderr(), "{}", printable_lines(format!("{report:?}").trim_end()));
            if let Some(remedy) = remedy(&report) {
                say(&format!("  try: {remedy}"));
            }
            ExitCode::from(if is_corrupt(&report) { 3 } else { 2 })
        }
    }
}

/// Whether the error is one of stored bytes that do not match their digest. Limit: of an error with
/// a context ([`miette::WrapErr`]) its own code counts, and none below it.
#[must_use]
pub fn is_corrupt(report: &miette::Report) -> bool {
    let mut next: Option<&dyn miette::Diagnostic> = Some(report.as_ref());
    while let Some(diagnostic) = next {
        if diagnostic.code().is_some_and(|code| code.to_string().ends_with(CORRUPT)) {
            return true;
        }
        next = diagnostic.diagnostic_source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::Diagnostic;
    use thiserror::Error;

    #[derive(Debug, Error, Diagnostic)]
    #[error("damaged")]
    #[diagnostic(code(storekit::corrupt))]
    struct Damaged;

    #[derive(Debug, Error, Diagnostic)]
    #[error("cannot load")]
    #[diagnostic(code(imgtar::engine::load))]
    struct Loading(
        #[source]
        #[diagnostic_source]
        Damaged,
    );

    #[test]
    fn corruption_is_found_below_other_errors() {
        assert!(is_corrupt(&Damaged.into()));
        assert!(is_corrupt(&Loading(Damaged).into()));
        assert!(is_corrupt(&miette::Report::from(Damaged).wrap_err("cannot import `x`")));
        assert!(!is_corrupt(&miette::miette!("cannot write")));
    }
}
