//! The commands, as they are called from the command line.
//!
//! What changes the store finishes its work before it prints: a closed pipe loses words, not work.

mod background;
mod collect;
mod collected;
mod console;
mod extra;
mod files;
mod info;
mod limits;
mod named;
mod pins;
mod report;
mod undo;
mod verify;
mod view;
mod what_if;

pub use background::background;
pub(crate) use collect::refusal;
pub use collect::{Force, Wanted, apply, plan, read_plan, run};
pub use console::{Console, open};
pub use extra::ls_extra;
pub use files::ls_files;
pub use info::info;
pub use limits::limits;
pub use named::meant;
pub use pins::{Pinned, Until, pin, pins, unpin};
pub use report::report;
pub use undo::undo;
pub use verify::verify;
pub use view::{Id, Listing, df, ls, stats};
pub use what_if::{WhatIf, what_if};
