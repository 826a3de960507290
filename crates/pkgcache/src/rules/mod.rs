//! What HTTP says about caching (RFC 9110, 9111, 5861, 9211, 9213), as functions of headers and
//! times.
//!
//! Nothing here reads a clock, a file or a socket. Times are seconds since 1970.

pub(crate) mod age;
pub(crate) mod conditional;
pub(crate) mod fields;
pub(crate) mod freshness;
pub(crate) mod invalidate;
pub(crate) mod merge;
pub(crate) mod policy;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod reuse;
pub(crate) mod storable;
pub(crate) mod vary;
