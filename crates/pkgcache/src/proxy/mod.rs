//! What becomes of a request: looked up, passed on, tunnelled.

pub(crate) mod forward;
pub mod lookup;
pub(crate) mod tunnel;
