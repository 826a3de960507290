//! Image archives: what a tar stream holds, into the store (`import`) and out of it (`export`).
//!
//! Deliberately absent: engines (they only write and read the stream), files of an image
//! (`extract`), disk images (`disk`).

pub mod assemble;
pub mod catalog;
pub mod export;
pub mod import;
pub mod resolve;
pub mod walk;
