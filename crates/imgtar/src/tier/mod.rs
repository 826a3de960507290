//! An image under its key in another place: another store, a repository of a registry, a bucket.
//! What is noted with it (names, inputs, where it came from) goes along.
//!
//! - [`place`]: how a place is written. `kind`: what each kind of place can do. `store`,
//!   `registry`: the kinds. `open`: the place that is meant.
//! - [`pull()`], [`push()`], [`has()`]: an image comes, goes, or is asked for.
//!
//! Deliberately absent: which places there are and in which order they are asked; what is removed
//! from a place, and why; the environment, the terminal.

pub(crate) mod artifact;
pub mod config;
pub mod has;
pub(crate) mod kind;
pub(crate) mod open;
pub mod place;
pub mod pull;
pub mod push;
pub(crate) mod registry;
pub(crate) mod store;

pub use crate::error::tier::Error;
pub use crate::tier::config::Config;
pub use crate::tier::has::has;
pub use crate::tier::kind::Found;
pub use crate::tier::place::Place;
pub use crate::tier::pull::{Pulled, pull};
pub use crate::tier::push::{Pushed, push};
