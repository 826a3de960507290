//! What upstreams do: delay, break off, fail, lie.

mod ahead;
mod breaker;
mod meeting;
mod mirrors;
mod parents;
mod patience;
mod safety;
mod streaming;
mod tls;
