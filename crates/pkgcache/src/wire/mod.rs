//! The bytes of a client's connection: where requests begin and end, and who may send them.

pub mod framing;
pub mod guard;
pub(crate) mod queues;
pub(crate) mod seat;
