//! What is counted: for `/metrics`, for the access log, and by the minute for events/.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::guards::Guard;
use crate::observe::access_log::AccessLog;
use crate::observe::latency::Latency;
use crate::observe::record::{Note, Recorder};
use crate::observe::uses::{Uses, Wanted};

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Result {
    /// From what is stored.
    Hit,
    /// From what is stored, after the upstream said that it still holds.
    Revalidated,
    /// From what is stored, though it is stale.
    Stale,
    /// From what another request had fetched, as it came.
    Collapsed,
    /// From the bucket that several caches share.
    Remote,
    /// From the upstream.
    Miss,
    /// From the upstream, and nothing was to be stored.
    Pass,
    /// Through a tunnel.
    Tunnel,
    /// By this program itself.
    Own,
    /// Not as it was meant: refused, or the upstream failed.
    Error,
}

impl Result {
    /// Whether what was sent had been stored before, here or in the bucket, or fetched for another
    /// request.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Revalidated | Self::Stale | Self::Collapsed | Self::Remote)
    }

    /// Whether it came from the upstream for this request.
    pub(crate) fn is_miss(self) -> bool {
        matches!(self, Self::Miss | Self::Pass)
    }
}

/// All of them, and the words for them.
pub(crate) const RESULTS: [(Result, &str); 10] = [
    (Result::Hit, "hit"),
    (Result::Revalidated, "revalidated"),
    (Result::Stale, "stale"),
    (Result::Collapsed, "collapsed"),
    (Result::Remote, "remote"),
    (Result::Miss, "miss"),
    (Result::Pass, "pass"),
    (Result::Tunnel, "tunnel"),
    (Result::Own, "own"),
    (Result::Error, "error"),
];

/// What the server counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: [AtomicU64; RESULTS.len()],
    bytes: [AtomicU64; RESULTS.len()],
    /// Requests to upstreams.
    pub(crate) fetches: AtomicU64,
    /// Bytes of bodies from upstreams.
    pub(crate) fetched_bytes: AtomicU64,
    /// Requests to upstreams that got no answer.
    pub(crate) failures: AtomicU64,
    /// Requests that went on to the next server of several.
    pub(crate) failovers: AtomicU64,
    /// Stored bodies that were found damaged.
    pub(crate) damaged: AtomicU64,
    /// Bodies that were not what they had been announced as.
    pub(crate) mismatches: AtomicU64,
    /// Bodies that could not be stored.
    pub(crate) unstored: AtomicU64,
    /// Bytes that came from clients through tunnels.
    pub(crate) tunnel_received: AtomicU64,
    /// How long answers took.
    pub(crate) latencies: [Latency; RESULTS.len()],
    /// Tunnels that ended here, with their TLS.
    pub(crate) intercepted: AtomicU64,
    /// Tunnels that were to end here, and whose clients did not agree on TLS.
    pub(crate) intercept_failures: AtomicU64,
    /// Connections of clients, now.
    pub(crate) connections: AtomicU64,
    /// Connections that were refused.
    pub(crate) refused: AtomicU64,
    /// Requests that were answered without the parser.
    pub(crate) quick: AtomicU64,
    /// Bytes of bodies from the bucket that several caches share.
    pub(crate) remote_bytes: AtomicU64,
    /// Entries and bodies in it that were not what they had to be.
    pub(crate) remote_wrong: AtomicU64,
    /// Entries that were written to it.
    pub(crate) remote_stored: AtomicU64,
    /// Entries that could not be.
    pub(crate) remote_unstored: AtomicU64,
    /// Connections that a drain ended because nothing moved on them.
    pub(crate) cut: AtomicU64,
    /// What each guard refused, by its number.
    pub(crate) guards: [AtomicU64; Guard::ALL.len()],
    /// Files of versions that were withdrawn, and served.
    pub(crate) withdrawn: AtomicU64,
    /// What was asked for lately.
    pub(crate) uses: Uses,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// What the counter says now.
pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// How many requests, and how many bytes they got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Sum {
    /// With so many more.
    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

impl Counts {
    /// How many requests were answered so, and how many bytes they got.
    #[must_use]
    pub(crate) fn of(&self, result: Result) -> Sum {
        let place = result as usize;
        Sum { count: self.requests.get(place).map_or(0, get), bytes: self.bytes.get(place).map_or(0, get) }
    }

    /// The same of all answers that are meant.
    pub(crate) fn of_all(&self, is_meant: fn(Result) -> bool) -> Sum {
        let mut sum = Sum::default();
        RESULTS.iter().filter(|(it, _)| is_meant(*it)).for_each(|(it, _)| sum.add(self.of(*it)));
        sum
    }

    fn note(&self, result: Result, bytes: u64, took: Duration) {
        let place = result as usize;
        if let Some(latency) = self.latencies.get(place) {
            latency.note(took);
        }
        if let (Some(requests), Some(sum)) = (self.requests.get(place), self.bytes.get(place)) {
            add(requests, 1);
            add(sum, bytes);
        }
    }

    /// All of it in the text form of Prometheus.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        family(&mut text, "requests_total", "counter", "Requests, by how they were answered.");
        for (result, name) in RESULTS {
            let _ = writeln!(text, "pkgcache_requests_total{{result=\"{name}\"}} {}", self.of(result).count);
        }
        family(
            &mut text,
            "sent_bytes_total",
            "counter",
            "Bytes of bodies, and through tunnels, sent to clients.",
        );
        for (result, name) in RESULTS {
            let _ =
                writeln!(text, "pkgcache_sent_bytes_total{{result=\"{name}\"}} {}", self.of(result).bytes);
        }
        family(&mut text, "guard_refusals_total", "counter", "Requests that a guard refused.");
        for guard in Guard::ALL {
            let count = self.guards.get(guard as usize).map_or(0, get);
            let _ = writeln!(text, "pkgcache_guard_refusals_total{{guard=\"{}\"}} {count}", guard.name());
        }
        let single = [
            ("upstream_requests_total", "counter", "Requests to upstreams.", &self.fetches),
            ("upstream_bytes_total", "counter", "Bytes of bodies from upstreams.", &self.fetched_bytes),
            (
                "upstream_failures_total",
                "counter",
                "Requests to upstreams without an answer.",
                &self.failures,
            ),
            (
                "upstream_failovers_total",
                "counter",
                "Requests that went on to the next server of a mount.",
                &self.failovers,
            ),
            ("damaged_total", "counter", "Stored bodies found damaged.", &self.damaged),
            ("mismatches_total", "counter", "Bodies unlike their announced digest.", &self.mismatches),
            (
                "tunnel_received_bytes_total",
                "counter",
                "Bytes from clients through tunnels.",
                &self.tunnel_received,
            ),
            (
                "intercepted_total",
                "counter",
                "Tunnels to intercepted hosts, whose TLS ended here.",
                &self.intercepted,
            ),
            (
                "intercept_failures_total",
                "counter",
                "Tunnels to intercepted hosts without an agreement on TLS.",
                &self.intercept_failures,
            ),
            ("unstored_total", "counter", "Bodies that could not be stored.", &self.unstored),
            ("remote_bytes_total", "counter", "Bytes of bodies from the remote.", &self.remote_bytes),
            ("remote_wrong_total", "counter", "What was wrong in the remote.", &self.remote_wrong),
            ("remote_stored_total", "counter", "URLs written to the remote.", &self.remote_stored),
            ("remote_unstored_total", "counter", "URLs not written to it.", &self.remote_unstored),
            ("refused_total", "counter", "Connections and requests that were refused.", &self.refused),
            (
                "withdrawn_total",
                "counter",
                "Files served though their version was withdrawn.",
                &self.withdrawn,
            ),
            ("quick_total", "counter", "Hits that took the short way.", &self.quick),
            ("connections", "gauge", "Connections of clients now.", &self.connections),
        ];
        for (name, kind, help, counter) in single {
            family(&mut text, name, kind, help);
            let _ = writeln!(text, "pkgcache_{name} {}", get(counter));
        }
        family(&mut text, "request_seconds", "histogram", "From a request's head to the end of its answer.");
        for ((_, name), latency) in RESULTS.iter().zip(&self.latencies) {
            latency.write(&mut text, "request_seconds", &format!("result=\"{name}\""));
        }
        self.uses.write(&mut text);
        text
    }
}

/// Begins a family of numbers in the text form of Prometheus.
pub(crate) fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP pkgcache_{name} {help}\n# TYPE pkgcache_{name} {kind}");
}

/// Follows one response to its end.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: Arc<Counts>,
    result: Result,
    bytes: u64,
    whole: bool,
    line: Option<Box<Line>>,
    /// What the response is of, where it gives something that may be stored.
    wanted: Option<Arc<Wanted>>,
    /// Who takes notes, and of what.
    record: Option<(Arc<Recorder>, Option<Box<Note>>)>,
    began: Instant,
    _busy: Busy,
}

/// What a request has until its answer is sent: as long as it lives, its connection is not idle,
/// and its place at the mount is taken.
pub(crate) type Busy = (Arc<()>, Turn);

/// A request's place at its mount, where these are limited.
pub(crate) type Turn = Option<Arc<OwnedSemaphorePermit>>;

/// A line of the access log.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// When the request came, RFC 3339.
    pub(crate) time: jiff::Timestamp,
    /// The address of the client; at a Unix socket it has none.
    pub(crate) client: Option<std::net::IpAddr>,
    /// The request's method.
    pub(crate) method: String,
    /// The URL that was meant.
    pub(crate) url: String,
    /// The request's first line as it came, escaped, where it was refused before it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// The answer's status code.
    pub(crate) status: u16,
    /// How it was answered.
    pub(crate) result: Result,
    /// What `Cache-Status` said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<String>,
    /// Why it was refused, or what the upstream failed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Bytes of the body that were sent; of a tunnel, all that went to the client.
    pub(crate) bytes: u64,
    /// Bytes that came from the client through a tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received: Option<u64>,
    /// From the request's head to the end of the answer.
    pub(crate) seconds: f64,
    /// Whether the answer was sent to its end.
    pub(crate) whole: bool,
    /// Where the line goes, and since when the time runs.
    #[serde(skip)]
    pub(crate) ends: (AccessLog, Instant),
}

impl Line {
    /// Shows the first line of a request that was refused before it was read.
    pub(crate) fn show(&mut self, line: &str) {
        let mut words = line.split(' ').map(str::to_owned);
        self.method = words.next().unwrap_or_default();
        self.url = words.next().unwrap_or_default();
        self.request = Some(line.to_owned());
    }
}

impl Meter {
    /// For a response that is about to be sent to a request that came at `began`; `busy` is dropped
    /// when that is done.
    #[must_use]
    pub(crate) fn new(
        counts: Arc<Counts>,
        result: Result,
        line: Option<Box<Line>>,
        (busy, began): (Busy, Instant),
    ) -> Self {
        Self { counts, result, bytes: 0, whole: false, line, wanted: None, record: None, began, _busy: busy }
    }

    /// Has it counted for what it is of.
    #[must_use]
    pub(crate) fn of(mut self, wanted: Option<Arc<Wanted>>) -> Self {
        self.wanted = wanted;
        self
    }

    /// Has it noted, with what the response is of where that is to be told.
    #[must_use]
    pub(crate) fn noted_by(mut self, recorder: &Arc<Recorder>, note: Option<Box<Note>>) -> Self {
        self.record = Some((Arc::clone(recorder), note));
        self
    }

    /// Sees a frame, or the end.
    pub(crate) fn see(&mut self, frame: Option<&io::Result<Frame<Bytes>>>) {
        match frame {
            None => self.whole = true,
            Some(Ok(frame)) => self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {}
        }
    }

    /// So many bytes of the body were sent.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// So many bytes came from the client.
    pub(crate) fn receive(&mut self, bytes: u64) {
        add(&self.counts.tunnel_received, bytes);
        if let Some(line) = &mut self.line {
            line.received = Some(bytes);
        }
    }

    /// There is no body whose end could be seen.
    pub(crate) fn set_whole(&mut self) {
        self.whole = true;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.counts.note(self.result, self.bytes, self.began.elapsed());
        if let Some(wanted) = self.wanted.take() {
            self.counts.uses.note(&wanted, self.result, self.bytes);
        }
        if let Some((recorder, note)) = self.record.take() {
            recorder.add(note.map(|note| *note), self.result, self.bytes);
        }
        if let Some(mut line) = self.line.take() {
            line.bytes = self.bytes;
            line.whole = self.whole;
            line.seconds = line.ends.1.elapsed().as_secs_f64();
            let log = line.ends.0.clone();
            log.write(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_each_family_once() {
        let counts = Counts::default();
        drop(Meter::new(Arc::new(Counts::default()), Result::Hit, None, (Busy::default(), Instant::now())));
        counts.note(Result::Hit, 10, Duration::from_millis(3));
        let text = counts.to_text();
        assert!(text.contains("pkgcache_requests_total{result=\"hit\"} 1\n"), "{text}");
        assert!(text.contains("pkgcache_sent_bytes_total{result=\"hit\"} 10\n"));
        assert!(text.contains("pkgcache_request_seconds_bucket{result=\"hit\",le=\"0.001\"} 0\n"));
        assert!(text.contains("pkgcache_request_seconds_bucket{result=\"hit\",le=\"0.005\"} 1\n"));
        assert!(text.contains("pkgcache_request_seconds_bucket{result=\"hit\",le=\"+Inf\"} 1\n"));
        assert!(text.contains("pkgcache_request_seconds_sum{result=\"hit\"} 0.003\n"));
        let mut families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count);
    }
}
