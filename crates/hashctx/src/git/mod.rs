//! git's view of a folder: which files it takes for the project's.
//!
//! What `git ls-files --cached --others --exclude-standard` lists less what is not on disk, with
//! submodules and embedded repositories entered under their own rules. No git is run and no `GIT_*`
//! variable is read. Outside a repository the .gitignore files from the folder itself downward
//! count.
//!
//! Deliberately absent, because it differs between machines: the user's global ignore file,
//! `.ignore` files, and `core.ignoreCase` (names are compared as bytes): git sets it by itself,
//! after the file system that it was cloned to.

mod check;
mod config;
mod folder;
mod index;
mod lfs;
mod list;
mod names;
mod objects;
mod pattern;
mod repo;
mod rules;
mod sparse;
mod submodule;
mod walk;
mod wild;

pub use crate::error::git::GitError;
pub use crate::warning::git::GitWarning;
pub use check::{Check, Checker};
pub use lfs::is_lfs_pointer;
pub use list::{GitListing, list, list_and_look, own_folder};
pub use submodule::of_folders as submodule_warnings;
