//! `[disk.NAME]`: disks, archives and folders that a command of the project's makes, kept like
//! images.

pub mod glob;
