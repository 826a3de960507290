//! Which files of a folder are inputs: the listers, and the filters that hide some.

pub mod case_clash;
pub mod engine_ignore;
pub mod files_from;
pub mod select;
pub mod stores;
pub mod walk;
