//! Where images are looked for, and where they go, beside this machine's store.
//!
//! `route` says which tiers a run reads and writes, `reach` asks them through `imgtar`. A tier that
//! fails costs one warning and is left out from then on; no bake fails for it.

mod queue;
mod reach;
mod route;
mod supply;

pub use route::Route;

pub(crate) use queue::Queue;
pub(crate) use reach::{Pulled, Tally, Tiers, Trouble, on};
pub(crate) use supply::Supply;
