//! What becomes of a request: looked up, passed on, tunnelled.
//!
//! Deliberately absent: the rules that it asks (`rules`), the fetch that it waits for (`fetch`),
//! the connection that the request came on (`server`).

pub(crate) mod forward;
mod head;
pub(crate) mod lookup;
mod stand_in;
pub(crate) mod tunnel;
