//! The bytes of a client's connection: where requests begin and end, and how many clients there
//! may be.
//!
//! Deliberately absent: what a request means; connections to upstreams (`upstream`).

pub(crate) mod crowd;
pub(crate) mod framing;
pub(crate) mod guard;
pub(crate) mod peer;
pub(crate) mod queues;
pub(crate) mod seat;
pub(crate) mod stream;
