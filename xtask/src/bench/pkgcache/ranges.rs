//! Many ranges at once of a large file that is not stored, as Ollama's server asks for them: how
//! long each waits for its next byte, and how much the upstream sends in all.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use larder::process::runner::RunError;
use larder_tests::http::Origin;
use storekit::{Digest, Hasher};

use super::super::basics::{lost, say};
use super::super::figures::{Figure, Figures, Limit, megabytes};
use super::client::Client;
use super::ground::Ground;
use super::servers::{self, REGISTRY, Server};

/// The size of the file.
const SIZE: u64 = 2_000_000_000;
/// What the link carries, whoever sends: bytes a second.
const RATE: u64 = 50_000_000;
/// So many ranges are asked for at once.
const RANGES: u64 = 16;
const PIECE: usize = 64 << 10;
/// A number that no power of two is a multiple of: pieces are unlike each other.
const PERIOD: u8 = 251;

/// Measures. No range may wait for longer than a second, and nothing is sent twice.
pub(super) fn bench(ground: &Ground<'_>) -> Result<Vec<Figures>, RunError> {
    say("16 ranges of a file of 2 GB at once, over a link of 50 MB/s");
    let digest = digest();
    let origin = start();
    let server = servers::pkgcache(&ground.below("ranges").map_err(lost)?, &origin.url())?;
    let path = format!("/v2/{REGISTRY}/bench/blobs/{digest}");
    let begun = Instant::now();
    let each = SIZE / RANGES;
    let (authority, path) = (server.authority(), path.as_str());
    let waits: io::Result<Vec<f64>> = thread::scope(|scope| {
        let range = |number: u64| number * each..(number + 1) * each;
        let ask = |number| scope.spawn(move || longest_wait(authority, path, &range(number)));
        let clients: Vec<_> = (0..RANGES).map(ask).collect();
        let joined =
            clients.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(io::Error::other("a panic"))));
        joined.collect()
    });
    let waits = waits.map_err(lost)?;
    let whole = begun.elapsed().as_secs_f64();
    let longest = waits.into_iter().fold(0.0, f64::max);
    let sent = upstream_bytes(&server).map_err(lost)?;
    let mut wait = Figures::new("16 ranges of 2 GB at 50 MB/s: the longest wait for a byte".to_owned(), "s");
    wait.add(Figure::new("pkgcache", vec![longest]).limit(Limit::AtMost(1.0)));
    let mut bytes = Figures::new("the same: what the upstream sent".to_owned(), "MB");
    bytes.add(Figure::new("pkgcache", vec![megabytes(sent)]).limit(Limit::AtMost(megabytes(SIZE) * 1.05)));
    bytes.add(Figure::new("the file", vec![megabytes(SIZE)]));
    let mut time = Figures::new("the same: until the last byte".to_owned(), "s");
    time.add(Figure::new("pkgcache", vec![whole]));
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    time.add(Figure::new("the link alone", vec![SIZE as f64 / RATE as f64]));
    Ok(vec![wait, bytes, time])
}

/// Reads a range, and tells the longest time in which nothing came of it.
fn longest_wait(authority: &str, path: &str, range: &Range<u64>) -> io::Result<f64> {
    let mut stream = TcpStream::connect(authority)?;
    let last = range.end - 1;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nRange: bytes={}-{last}\r\n\r\n",
        range.start
    )?;
    let mut stream = BufReader::with_capacity(PIECE, stream);
    let (mut since, mut longest) = (Instant::now(), Duration::ZERO);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 206") {
        return Err(io::Error::other(format!("`{}` for a range", line.trim())));
    }
    while !line.trim().is_empty() {
        line.clear();
        stream.read_line(&mut line)?;
    }
    // The last byte of all is kept until all is found right.
    let mut left = range.end - range.start - u64::from(range.end == SIZE);
    while left > 0 {
        let count = stream.fill_buf()?.len();
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.consume(count);
        left = left.saturating_sub(count as u64);
        longest = longest.max(since.elapsed());
        since = Instant::now();
    }
    if range.end == SIZE {
        io::copy(&mut stream.take(1), &mut io::sink())?;
    }
    Ok(longest.as_secs_f64())
}

fn upstream_bytes(server: &Server) -> io::Result<u64> {
    let text = Client::connect(server.authority())?.text("/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix("pkgcache_upstream_bytes_total "));
    value.and_then(|value| value.trim().parse().ok()).ok_or_else(|| io::Error::other("no such count"))
}

/// What the file repeats: all bytes below 251, often enough for a piece from any place.
fn pattern() -> Vec<u8> {
    (0..PERIOD).cycle().take(PIECE + usize::from(PERIOD)).collect()
}

/// The bytes of the file from a place on.
fn piece(pattern: &[u8], at: u64, size: usize) -> &[u8] {
    let from = usize::try_from(at % u64::from(PERIOD)).unwrap_or_default();
    pattern.get(from..from + size).unwrap_or_default()
}

fn digest() -> Digest {
    let (mut hasher, pattern) = (Hasher::new(), pattern());
    let mut at = 0;
    while at < SIZE {
        let size = PIECE.min(usize::try_from(SIZE - at).unwrap_or(PIECE));
        hasher.update(piece(&pattern, at, size));
        at += size as u64;
    }
    hasher.finish()
}

/// What goes over the link, whoever sends it.
struct Link {
    begun: Instant,
    sent: Mutex<u64>,
}

impl Link {
    /// Waits for the link's time.
    fn carry(&self, bytes: u64) {
        let due = {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            // A link that was idle does not make up for it.
            let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX) * RATE / 1_000_000;
            *sent = now.max(*sent) + bytes;
            *sent
        };
        let due = Duration::from_micros(due * 1_000_000 / RATE);
        thread::sleep(due.saturating_sub(self.begun.elapsed()));
    }
}

/// Starts an origin of the file, and of its ranges, for this process's life.
fn start() -> Origin {
    let link = Arc::new(Link { begun: Instant::now(), sent: Mutex::new(0) });
    let pattern = pattern();
    Origin::serving(move |connection| {
        loop {
            let request = connection.head()?;
            let range = request.header("range").and_then(asked);
            let range_is_asked = range.is_some();
            let Range { start, end } = range.unwrap_or(0..SIZE);
            let mut head = format!(
                "cache-control: max-age=86400\r\netag: \"v1\"\r\ncontent-length: {}\r\n",
                end - start
            );
            if range_is_asked {
                head = format!(
                    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {start}-{}/{SIZE}\r\n{head}\r\n",
                    end - 1
                );
            } else {
                head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
            }
            connection.write(head.as_bytes())?;
            let mut at = start;
            while at < end {
                let size = PIECE.min(usize::try_from(end - at).unwrap_or(PIECE));
                link.carry(size as u64);
                connection.write(piece(&pattern, at, size))?;
                at += size as u64;
            }
        }
    })
}

fn asked(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let end = if last.is_empty() { SIZE } else { last.parse::<u64>().ok()? + 1 };
    Some(first.parse().ok()?..end)
}
