//! The `Cache-Status` field: what this cache did with a request. Source: RFC 9211; the parameter
//! `verified`, which says who vouches for the bytes, is our own, as are `withdrawn` and `hidden`.

use std::fmt;

use http::{HeaderMap, HeaderValue};
use storekit::Level;

/// The field's name.
pub(crate) const CACHE_STATUS: &str = "cache-status";

/// What it says where the upstream gave no usable answer.
pub(crate) const UPSTREAM_FAILED: &str = "upstream-failed";

/// Why a request went to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// Its method is not one that is answered from what is stored.
    Method,
    /// Nothing is stored for the URL.
    UriMiss,
    /// What is stored for the URL answers other requests.
    VaryMiss,
    /// It asked for the server itself.
    Request,
    /// What is stored is stale.
    Stale,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    /// Answered from what is stored, without asking the server.
    pub(crate) hit: bool,
    /// Why it went to the server.
    pub(crate) forward: Option<Forward>,
    /// What the server answered, where the client gets another status code.
    pub(crate) forward_status: Option<u16>,
    /// For how many more seconds the response is fresh.
    pub(crate) ttl: Option<i64>,
    /// Whether the answer is being stored.
    pub(crate) stored: bool,
    /// Whether another request was waited for.
    pub(crate) collapsed: bool,
    /// Who vouches for the bytes.
    pub(crate) level: Level,
    /// More, as a token.
    pub(crate) detail: Option<&'static str>,
}

impl CacheStatus {
    /// A hit.
    #[must_use]
    pub(crate) fn hit(ttl: i64) -> Self {
        Self { hit: true, ttl: Some(ttl), ..Self::default() }
    }

    /// A request that went to the server.
    #[must_use]
    pub(crate) fn forwarded(forward: Forward) -> Self {
        Self { forward: Some(forward), ..Self::default() }
    }

    /// Adds it to the response, behind what caches nearer to the server have said.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.to_string()) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

/// Adds a word to what this cache says of a response: `withdrawn`, or `hidden=N`.
pub(crate) fn mark(headers: &mut HeaderMap, word: &str) {
    let all: Vec<_> = headers.get_all(CACHE_STATUS).iter().cloned().collect();
    let Some((last, before)) = all.split_last() else { return };
    let Ok(marked) = HeaderValue::from_bytes(&[last.as_bytes(), b"; ", word.as_bytes()].concat()) else {
        return;
    };
    headers.remove(CACHE_STATUS);
    for value in before.iter().chain([&marked]) {
        headers.append(CACHE_STATUS, value.clone());
    }
}

impl Forward {
    fn token(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkgcache")?;
        if self.hit {
            f.write_str("; hit")?;
        }
        if let Some(forward) = self.forward {
            write!(f, "; fwd={}", forward.token())?;
        }
        if let Some(status) = self.forward_status {
            write!(f, "; fwd-status={status}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        for (name, _) in
            [("stored", self.stored), ("collapsed", self.collapsed)].iter().filter(|(_, set)| *set)
        {
            write!(f, "; {name}")?;
        }
        if self.level != Level::None {
            write!(f, "; verified={}", self.level.name())?;
        }
        if let Some(detail) = self.detail {
            write!(f, "; detail={detail}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &CacheStatus, expected: &str) {
        assert_eq!(status.to_string(), expected);
    }

    #[test]
    fn what_was_done_is_said_in_the_standard_words() {
        check(&CacheStatus::hit(376), "pkgcache; hit; ttl=376");
        let status = CacheStatus { stored: true, ..CacheStatus::forwarded(Forward::UriMiss) };
        check(&status, "pkgcache; fwd=uri-miss; stored");
        let status = CacheStatus { forward_status: Some(304), ..CacheStatus::forwarded(Forward::Stale) };
        check(&status, "pkgcache; fwd=stale; fwd-status=304");
        let status = CacheStatus { detail: Some("offline"), ..CacheStatus::hit(-5) };
        check(&status, "pkgcache; hit; ttl=-5; detail=offline");
    }

    #[test]
    fn it_stands_behind_what_was_said_before() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("origin; hit"));
        CacheStatus::hit(1).add_to(&mut headers);
        assert_eq!(headers.get_all(CACHE_STATUS).iter().count(), 2);
    }
}
