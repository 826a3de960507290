//! The built proxy between clients and origin servers of these tests' own, which delay, cut, lie,
//! change and count.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests write what they like")]

mod breaker;
mod caching;
mod commands;
mod crash;
mod credential_clients;
mod credentials;
mod doors;
mod forms;
mod head;
mod indexes;
mod integrity;
mod led_clients;
mod lifetimes;
mod listing;
mod manual;
mod meeting;
mod nginx;
mod npm_versions;
mod one_object;
mod parents;
mod patience;
mod python_pages;
mod quick;
mod records;
mod running;
mod safety;
mod servers;
mod storage;
mod streaming;
mod support;
mod tls;
