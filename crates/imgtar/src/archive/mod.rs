//! Image archives: what a tar stream holds, into the store and out of it.

pub mod assemble;
pub mod catalog;
pub mod export;
pub mod import;
pub mod resolve;
pub mod walk;
