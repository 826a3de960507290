//! Where else images are kept, and which kind of build reads, writes and tags what.

mod place;
pub mod profile;
pub mod template;
pub mod tier;
pub mod version;
