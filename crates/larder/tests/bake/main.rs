//! The course of a bake, with stand-ins for the tools: small scripts that note how they were
//! called.

#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

mod course;
mod family;
mod lock;
mod packs;
mod project;
mod words;
