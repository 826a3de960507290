//! The names that images get in registries: `dev`, `v1.2.3`, `latest`.
//!
//! `forward` says whether a name moves on: that is pure. `commit` says whether it would name what
//! was built. `plan` puts names together, as larder.toml has them, `push` gives them, both through
//! imgtar.

pub(crate) mod commit;
pub(crate) mod forward;
pub mod plan;
pub mod push;
