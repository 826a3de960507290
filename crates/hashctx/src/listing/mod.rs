//! Which files of a folder are inputs: the listers, and the filters that hide some.
//!
//! Deliberately absent: the rules of ignore files (`git`, `dockerignore`), and the content of files
//! (`files`).

pub mod case_clash;
pub mod engine_ignore;
pub mod files_from;
pub mod select;
pub mod stores;
pub mod walk;
