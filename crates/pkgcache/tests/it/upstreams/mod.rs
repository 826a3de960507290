//! What upstreams do: delay, break off, fail, lie.

mod ahead;
mod breaker;
mod meeting;
mod parents;
mod patience;
mod safety;
mod streaming;
mod tls;
