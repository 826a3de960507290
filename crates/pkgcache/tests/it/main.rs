//! The built proxy between clients and origin servers of these tests' own, which delay, cut, lie,
//! change and count.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")]

mod entrances;
mod guards;
mod interception;
mod keeping;
mod manual;
mod nginx;
mod packages;
mod quick;
mod remote;
mod servers;
mod support;
mod upstreams;
mod words;
