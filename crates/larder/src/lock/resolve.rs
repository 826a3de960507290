//! What a name stands for now: asked of its registry, else of the engine, which may have the image
//! from there.

use super::file::is_digest;
use crate::engine::Engine;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// The digest of the image in its registry. None where that does not answer, or has no such image.
///
/// # Errors
/// An interruption.
pub fn in_registry(name: &str, tools: &Tools, runner: &Runner) -> Result<Option<String>, RunError> {
    answer(&tools.imgtar("resolve").args(["-q", name]), runner)
}

/// The digest by which the engine knows the image in its registry. The caller has seen that it has
/// one.
///
/// # Errors
/// An interruption.
pub fn in_engine(
    name: &str,
    engine: Engine,
    tools: &Tools,
    runner: &Runner,
) -> Result<Option<String>, RunError> {
    answer(&tools.imgtar("resolve").args(["-q", "--engine", engine.name(), name]), runner)
}

fn answer(cmd: &Cmd, runner: &Runner) -> Result<Option<String>, RunError> {
    match runner.ask(cmd) {
        Err(error) if error.is_interruption() => Err(error),
        Ok((status, said)) if status.success() => {
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            Ok(Some(said).filter(|said| is_digest(said)))
        }
        _ => Ok(None),
    }
}
