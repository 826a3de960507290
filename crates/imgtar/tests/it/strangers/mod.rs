//! Input that nobody should trust: refused, and nothing of it is left.

mod bombs;
pub(crate) mod hostile;
mod mutated;
pub(crate) mod untrusted;
