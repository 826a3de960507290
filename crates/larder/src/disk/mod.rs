//! `[disk.NAME]`: disks, archives and folders that a command of the project's makes, kept like
//! images.

pub mod glob;

/// Folders in which a disk is made begin so; one that is not locked was left by a killed bake.
pub(crate) const WORK: &str = ".larder-disk-";
