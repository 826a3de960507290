//! Responses: as they are stored, as they grow, as they are answered.
//!
//! Deliberately absent: whether one may be stored or used (`rules`), and where it is (`store`).

pub mod body;
pub mod flight;
pub(crate) mod location;
pub mod overflow;
pub mod reply;
pub mod stored_head;
