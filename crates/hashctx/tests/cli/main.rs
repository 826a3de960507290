//! hashctx as it is used at the shell.

#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

mod cache;
mod key;
mod output;
mod pinned;
mod precise;
mod rules;
mod session;
