//! What the cache holds and does, for people and for programs: `/`, `/status`, `/status.json`.
//!
//! What is stored is looked through at most every so often, and by one request for all that wait
//! (`looks`); `server::look` does it. `page` draws what was seen.
//!
//! What belongs to the credentials of a client is counted, and its URLs are not shown.

pub(crate) mod days;
pub(crate) mod looks;
pub(crate) mod page;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// So many of each kind are named.
pub(crate) const MOST: usize = 20;
/// So many days are shown.
const DAYS: u32 = 30;

/// What the cache holds and does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// This program's version.
    pub version: String,
    /// When this was true.
    pub time: Timestamp,
    /// Since when the server runs.
    pub started: Timestamp,
    /// Where it answers: as whoever asked named it.
    pub url: String,
    /// Whether it asks no upstream.
    pub offline: bool,
    /// How requests were answered since the start, by the words of the access log.
    pub requests: Vec<Requests>,
    /// Bytes that came from upstreams since the start.
    pub fetched: u64,
    /// Tunnels since the start, and what went through them.
    pub tunnels: Tunnels,
    /// Fetches under way.
    pub flights: Vec<FlightNow>,
    /// How many there are.
    pub flight_count: u64,
    /// What is stored, at some time not long ago.
    pub stored: Stored,
    /// The last 30 days, today's last (UTC).
    pub days: Vec<Day>,
    /// What could not be served since the start.
    pub refused: Refused,
    /// What leads clients here.
    pub clients: Vec<Client>,
}

/// Requests that were answered in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The way.
    pub result: String,
    /// How many.
    pub count: u64,
    /// The bytes of the bodies that were sent.
    pub bytes: u64,
}

/// Tunnels: nobody here knows what goes through them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnels {
    /// How many have ended.
    pub count: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Bytes from clients.
    pub received: u64,
}

/// A fetch under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlightNow {
    /// What is fetched, without the query; of what belongs to credentials, where it comes from.
    pub url: String,
    /// For how many seconds.
    pub seconds: f64,
    /// The bytes that have come.
    pub bytes: u64,
    /// The bytes of all, where that is known.
    pub size: Option<u64>,
}

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// When it was looked through.
    pub time: Timestamp,
    /// By ecosystem, the largest first.
    pub ecosystems: Vec<OfEcosystem>,
    /// The indexes that were used last.
    pub indexes: Vec<IndexAge>,
    /// How many stored URLs nobody vouches for.
    pub unverified: u64,
    /// Those of them that were used last.
    pub unverified_urls: Vec<String>,
}

/// What is stored for one kind of client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfEcosystem {
    /// Which.
    pub ecosystem: String,
    /// How many URLs.
    pub urls: u64,
    /// Bytes on disk of the bodies: of what several kinds share, with the first.
    pub bytes: u64,
    /// How many of the URLs nobody vouches for.
    pub unverified: u64,
}

/// An index, and when its upstream last said that it is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexAge {
    /// Of which kind of client.
    pub ecosystem: String,
    /// Its URL.
    pub url: String,
    /// When that was.
    pub checked: Timestamp,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Day {
    /// The day (UTC).
    pub date: Date,
    /// Requests that the store answered.
    pub hits: u64,
    /// Requests that went on to an upstream.
    pub misses: u64,
    /// Bytes that hits sent.
    pub saved_bytes: u64,
    /// Seconds of fetching that hits made needless, by the rates of their sources.
    pub saved_seconds: f64,
    /// Bytes that came from upstreams.
    pub fetched_bytes: u64,
}

impl Day {
    /// The share of hits, 0 to 1; `None` where nothing was asked for.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
    pub fn hit_rate(&self) -> Option<f64> {
        let all = self.hits.saturating_add(self.misses);
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

/// What could not be served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// How often.
    pub count: u64,
    /// The last of them, each once, the newest first.
    pub latest: Vec<String>,
}

/// What leads a client here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Which.
    pub client: String,
    /// Where it belongs: a file, or the shell.
    pub place: String,
    /// The text.
    pub text: String,
}

/// How requests are answered from what was stored, here or in the bucket, or fetched for another.
pub const HITS: [&str; 5] = ["hit", "revalidated", "stale", "collapsed", "remote"];
/// How requests are answered that an upstream was asked for.
pub const MISSES: [&str; 2] = ["miss", "pass"];

impl Status {
    /// As one JSON object.
    #[must_use]
    pub(crate) fn to_json(&self) -> String {
        // All of it is text and numbers.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How many requests were answered from what is stored since the start, and how many were not.
    #[must_use]
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let sum = |words: &[&str]| {
            let meant = self.requests.iter().filter(|it| words.contains(&it.result.as_str()));
            meant.fold(0_u64, |sum, it| sum.saturating_add(it.count))
        };
        (sum(&HITS), sum(&MISSES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::meter::RESULTS;

    #[test]
    fn the_words_are_those_that_are_counted() {
        for (result, word) in RESULTS {
            assert_eq!(
                (HITS.contains(&word), MISSES.contains(&word)),
                (result.is_hit(), result.is_miss()),
                "{word}"
            );
        }
    }
}
