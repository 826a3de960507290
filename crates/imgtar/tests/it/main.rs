//! `imgtar` as its users meet it: archives, stores, engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests write files that nobody else reads")]

mod engine;
mod images;
mod kit;
mod network;
mod serve;
mod store;
mod strangers;
mod tier;
mod words;
