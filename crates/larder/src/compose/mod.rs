//! Compose files: read as compose reads them, their services baked, and the baked images pinned.

mod build;
mod command;
mod env_file;
mod extends;
mod images;
mod include;
mod interpolate;
mod known;
mod load;
mod merge;
mod paths;
mod pinned;
mod project;
mod source;
mod values;
mod write;
pub(crate) mod yaml;

pub use self::command::{Order, Prepared, prepare, unbake};
pub use self::project::{Request, Surroundings};
pub use self::source::{ComposeError, Misread, MisreadVariables};
pub use self::write::WriteError;
