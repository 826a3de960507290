//! What each kind of request does: blobs, manifests, lists, uploads, pushes.
//!
//! Deliberately absent: how a request is read (`route`, `connection`), and what requests share
//! (`state`).

pub(crate) mod blobs;
pub(crate) mod lists;
pub(crate) mod manifests;
pub(crate) mod push;
pub(crate) mod stream;
pub(crate) mod uploads;
