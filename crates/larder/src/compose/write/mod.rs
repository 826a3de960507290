//! What a bake writes of its images, and how that is taken back.
//!
//! The baked images are pinned in a file above the compose files (`pins`), or in the files
//! themselves (`edit`); a devcontainer.json gets the file above (`devcontainer`). Of each file of
//! the user's that is changed there is a backup, and a record of what was written (`record`):
//! written before it is changed, removed after it is restored, so that a bake or an unbake that is
//! killed leaves nothing that the next one cannot put right.
//! `plan` decides and touches nothing; `steps` does one thing after the other.

mod devcontainer;
mod diff;
mod edit;
mod pins;
mod plan;
mod record;
mod steps;
mod unbake;

pub(crate) use self::edit::verified;
pub(crate) use self::pins::Pins;
pub(crate) use self::plan::{Places, Standing, Write, all_pins, written};
pub use self::record::WriteError;
pub(crate) use self::record::originals;
pub(crate) use self::steps::{Step, carry_out};
pub(crate) use self::unbake::unbake;

#[cfg(test)]
mod tests;
