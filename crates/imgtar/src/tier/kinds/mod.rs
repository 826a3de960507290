//! The kinds of places, each as a [`Tier`](crate::tier::kind::Tier): another store, a repository of
//! a registry (with an `artifact` for what is noted), a bucket (`s3`).
//!
//! Deliberately absent: what the kinds have in common, which is written once beside this room.

pub(crate) mod artifact;
pub(crate) mod registry;
pub(crate) mod s3;
pub(crate) mod store;
