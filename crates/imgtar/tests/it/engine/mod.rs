//! Engines: docker, podman, containerd, and those that a test plays.

mod containerd;
mod daemons;
pub(crate) mod engines;
mod saving;
