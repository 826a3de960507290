//! Disk images in and out: from a file into the store's chunks, and back. What a stored disk is,
//! says [`crate::image::disk`].

mod export;
mod import;
mod reading;

pub use self::export::{to_file, to_stream};
pub use self::import::{Saved, import};
