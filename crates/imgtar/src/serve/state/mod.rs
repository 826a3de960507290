//! What requests share: the store as a registry sees it, and what is known of its blobs.
//!
//! Deliberately absent: requests and responses.

pub(crate) mod app;
pub(crate) mod facts;
pub(crate) mod held_blobs;
pub(crate) mod offers;
pub(crate) mod stock;
