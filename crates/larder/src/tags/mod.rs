//! The names that images get in registries: `dev`, `v1.2.3`, `latest`.
//!
//! A `template` says how a name is made, `version` what a git tag says, `forward` whether a name
//! moves on: all pure. `plan` puts them together, `push` does it, both through imgtar.

pub(crate) mod forward;
pub mod plan;
pub mod push;
pub mod template;
pub mod version;
