//! The real package clients, through pkgcache, in front of upstreams that a test plays.
//!
//! Each client installs a package and what that needs: with an empty cache, again with nothing of
//! its own, with the upstream cut off, with damaged files, ten at once. All talk to 127.0.0.1. The
//! table in crates/pkgcache/CLIENTS.md stands on these.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may fail and write as they like")]

mod apk;
mod apt;
mod cargo;
mod columns;
mod dnf;
mod doors;
mod go;
mod guards;
mod huggingface;
mod images;
mod lfs;
mod locks;
mod npm;
mod ollama;
mod python;
mod releases;
mod replay;
mod served;
mod team;
mod torch;
mod warm;
mod world;
