//! What stands in a store, and what does not stay in one.

mod lookup;
mod many;
mod orphans;
mod records;
mod repository;
mod stored;
