//! What a command prints: to stdout and stderr ([`output`]), in columns ([`mod@table`]), at a
//! terminal while it works (`bar`), and of an error how it looks ([`errors`]) and which command
//! mends it (`remedies`).
//!
//! Deliberately absent: pages, which are files ([`crate::page`]), and the words for numbers and
//! times ([`crate::words`]).

#[cfg(feature = "bar")]
pub mod bar;
pub mod errors;
pub mod output;
pub(crate) mod remedies;
pub mod table;
