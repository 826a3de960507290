//! An image under its key in other places, of every kind.

mod every_kind;
mod registry;
mod scene;
mod silence;
mod store;
