//! Where images are looked for, and where they go, beside this machine's store.
//!
//! `route` says which tiers a run reads and writes, `reach` asks them through `imgtar`; `layers`:
//! what engines keep of builds there; `noted`: what is noted with their images; `seen`: what
//! they had in earlier runs. A tier that fails
//! costs one warning and is left out from then on; no bake fails for it.

mod layers;
mod noted;
mod queue;
mod reach;
mod route;
mod seen;
mod supply;

pub use route::Route;

pub(crate) use layers::{Layers, Repositories};
pub(crate) use noted::Noted;
pub(crate) use queue::Queue;
pub(crate) use reach::{Pulled, Tally, Tiers, Trouble, on};
pub(crate) use seen::forget;
pub(crate) use supply::Supply;
