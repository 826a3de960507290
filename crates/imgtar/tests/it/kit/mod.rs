//! What these tests share: a store with `imgtar` at its side, input of every kind, registries.

pub(crate) mod containerd;
pub(crate) mod dice;
pub(crate) mod registry;
pub(crate) mod remotes;
pub(crate) mod session;
pub(crate) mod tars;
