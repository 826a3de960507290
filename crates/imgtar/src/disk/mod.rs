//! Disk images in and out: from a file into the store's chunks, and back.
//!
//! Deliberately absent: what a stored disk is ([`crate::image::disk`]), and how a qcow2 file is
//! read or refused ([`crate::format::qcow2`]).

mod export;
mod import;
mod reading;

pub use self::export::{to_file, to_stream};
pub use self::import::{Saved, import};
