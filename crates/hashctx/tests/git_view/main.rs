//! git's view of a folder, against the installed git and against damage.
//!
//! Trees are functions of a seed. Repositories and their indexes are written by hand where that is
//! possible, so that one git process for each repository is enough.
#![expect(clippy::disallowed_methods, reason = "nobody else looks at the files of a test")]

mod differential;
mod git;
mod hostile;
mod patterns;
mod random;
mod tree;
mod views;
