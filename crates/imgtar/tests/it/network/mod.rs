//! Registries on the other side, and what stands on the way to them.

mod credentials;
mod indexes;
mod names;
mod proxies;
mod refusals;
pub(crate) mod registries;
