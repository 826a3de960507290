//! An image under its key in another place: another store, a repository of a registry, a bucket.
//! What is noted with it (names, inputs, where it came from) goes along.
//!
//! - [`place`]: how a place is written. `kind`: what each kind of place can do. `kinds`: the kinds,
//!   a store, a registry, a bucket. `open`: the place that is meant.
//! - [`has()`], [`pull()`], [`push()`]: an image is asked for, comes, or goes. [`list()`],
//!   [`remove()`]: what stands in a place, and what is no longer to; [`planned`]: as a plan says.
//!   [`inputs()`]: what an image was made from.
//!
//! Deliberately absent: which places there are and in which order they are asked; what is to be
//! removed from a place, and why; the environment, the terminal.

pub mod config;
pub mod has;
pub mod inputs;
pub(crate) mod kind;
pub(crate) mod kinds;
pub mod list;
pub(crate) mod open;
pub mod place;
pub mod planned;
pub mod pull;
pub mod push;
pub(crate) mod reach;
pub mod removal;
pub mod remove;

pub use crate::error::tier::Error;
pub use crate::image::signature::{PublicKey, Signer};
pub use crate::tier::config::Config;
pub use crate::tier::has::has;
pub use crate::tier::inputs::inputs;
pub use crate::tier::kind::Found;
pub use crate::tier::list::{NotedRow, Row, list, noted};
pub use crate::tier::place::Place;
pub use crate::tier::planned::{Planned, Standing};
pub use crate::tier::pull::{Pulled, pull};
pub use crate::tier::push::{Pushed, push};
pub use crate::tier::removal::Removal;
pub use crate::tier::remove::remove;
