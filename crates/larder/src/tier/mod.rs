//! Where images are looked for, and where they go, beside this machine's store.
//!
//! `route` says which tiers a run reads and writes, `reach` asks them through `imgtar` (`reached`:
//! one of them, and how it is; `answer`: what imgtar says); `layers`: what engines keep of builds
//! there; `noted`: what is noted with their images; `seen`: what they had in earlier runs. A tier
//! that fails costs one warning and is left out from then on; no bake fails for it.

mod answer;
mod layers;
mod noted;
mod queue;
mod reach;
mod reached;
mod route;
mod seen;
mod supply;

pub use route::Route;

pub(crate) use layers::{Layers, Repositories};
pub(crate) use noted::Noted;
pub(crate) use queue::Queue;
pub(crate) use reach::{Pulled, Tiers, on};
pub(crate) use reached::{Tally, Trouble};
pub(crate) use seen::forget;
pub(crate) use supply::Supply;
