//! What goes in comes out: archives, packed folders, disks, files of images.

pub(crate) mod archives;
mod artifacts;
mod disks;
mod extracting;
mod foreign;
pub(crate) mod indexes;
mod loose;
mod names;
mod packing;
mod platforms;
