//! An image under its key in other places, of every kind.

mod bucket;
mod every_kind;
mod hostile_bucket;
mod listing;
mod registry;
mod scene;
mod signatures;
mod silence;
mod store;
