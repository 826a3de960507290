//! Responses: as they are stored, as they grow, as they are answered.
//!
//! Deliberately absent: whether one may be stored or used (`rules`), and where it is (`store`).

pub(crate) mod body;
pub(crate) mod flight;
pub(crate) mod location;
pub(crate) mod overflow;
pub(crate) mod reply;
pub(crate) mod segments;
pub(crate) mod stored_head;
