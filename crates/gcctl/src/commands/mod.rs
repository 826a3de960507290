//! The commands, as they are called from the command line.
//!
//! What changes the store finishes its work before it prints: a closed pipe loses words, not work.

mod background;
mod collect;
mod console;
mod limits;
mod named;
mod pins;
mod undo;
mod view;

pub use background::background;
pub(crate) use collect::refusal;
pub use collect::{Force, Wanted, apply, plan, read_plan, run};
pub use console::{Console, open};
pub use limits::limits;
pub use named::meant;
pub use pins::{Pinned, Until, pin, pins, unpin};
pub use undo::undo;
pub use view::{Id, Listing, df, info, ls, stats};
