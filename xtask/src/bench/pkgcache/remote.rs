//! A node before a bucket that others share, beside a node without one: what a miss costs more,
//! and what is gained where another node has fetched the file.
//!
//! The bucket is `rclone serve s3`, the upstream nginx, all on this machine: what an upstream far
//! away costs is not in it.

use std::io;
use std::time::{Duration, Instant};

use larder::process::runner::RunError;
use larder_tests::{Part, Rclone, have};

use super::super::basics::{lost, say};
use super::super::figures::{Figure, Figures, Limit, megabytes};
use super::client::Client;
use super::ground::Ground;
use super::origin::{LARGE, SMALL};
use super::servers::{self, Server};

/// Unlike downloads whose first byte is waited for.
const DOWNLOADS: usize = 100;
/// Unlike large ones.
const LARGE_ONES: usize = 3;

/// Measures: misses of the first node, beside one that has no bucket; then what the second node
/// has from the bucket; and how soon a node answers.
pub(super) fn bench(ground: &Ground<'_>) -> Result<Vec<Figures>, RunError> {
    if !have(&[Part::Rclone]) {
        let mut figures = Figures::new("a bucket that nodes share".to_owned(), "ms");
        figures.add(Figure::not_run("pkgcache", "rclone is not there".to_owned()));
        return Ok(vec![figures]);
    }
    say("a bucket, two nodes before it, and one without");
    let own = ground.below("remote").map_err(lost)?;
    let (bucket, origin) = (Rclone::start(&own.folder.join("buckets")), servers::origin(ground)?);
    let node = |name, remote| servers::sharing(&own, name, remote, &origin.url());
    let url = bucket.url();
    let alone = node("alone", None)?;
    let first = node("first", Some(url.as_str()))?;
    let misses = [first_bytes(&first).map_err(lost)?, first_bytes(&alone).map_err(lost)?];
    let large = [rates(&first).map_err(lost)?, rates(&alone).map_err(lost)?];
    until_written(&first).map_err(lost)?;
    let begun = Instant::now();
    let second = node("second", Some(url.as_str()))?;
    let ready = begun.elapsed();
    let shared = (first_bytes(&second).map_err(lost)?, rates(&second).map_err(lost)?);
    let title = |what: &str| format!("{what}, with a bucket that nodes share, and without");
    let sizes = [title("first byte of 100 misses, 10 KiB"), title("misses, 64 MiB")];
    let [small_title, large_title] = sizes;
    Ok(vec![
        beside(small_title, "ms", misses, "without"),
        beside(large_title, "MB/s", large, "without"),
        one("the same 100 that another node had fetched: first byte from the bucket", "ms", shared.0, None),
        one("64 MiB that another node had fetched", "MB/s", shared.1, None),
        one(
            "a node with an empty store before a bucket: until it answers",
            "ms",
            vec![ready.as_secs_f64() * 1e3],
            Some(Limit::AtMost(50.0)),
        ),
    ])
}

fn beside(title: String, unit: &'static str, [with, without]: [Vec<f64>; 2], other: &'static str) -> Figures {
    let mut figures = Figures::new(title, unit);
    figures.add(Figure::new("pkgcache", with));
    figures.add(Figure::new(other, without));
    figures
}

fn one(title: &str, unit: &'static str, values: Vec<f64>, limit: Option<Limit>) -> Figures {
    let mut figures = Figures::new(title.to_owned(), unit);
    let figure = Figure::new("pkgcache", values);
    figures.add(match limit {
        Some(limit) => figure.limit(limit),
        None => figure,
    });
    figures
}

/// How long the first byte of unlike small files takes, in milliseconds.
fn first_bytes(server: &Server) -> io::Result<Vec<f64>> {
    let mut client = Client::connect(server.authority())?;
    let mut first = |number| Ok(client.get(&format!("/{SMALL}?{number}"))?.first.as_secs_f64() * 1e3);
    (0..DOWNLOADS).map(&mut first).collect()
}

/// How fast unlike large files come, in megabytes a second.
fn rates(server: &Server) -> io::Result<Vec<f64>> {
    let mut client = Client::connect(server.authority())?;
    let mut rate = |number| {
        let got = client.get(&format!("/{LARGE}?{number}"))?;
        Ok(megabytes(got.bytes) / got.whole.max(Duration::from_nanos(1)).as_secs_f64())
    };
    (0..LARGE_ONES).map(&mut rate).collect()
}

/// Waits until all that was fetched is in the bucket.
fn until_written(server: &Server) -> io::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let text = Client::connect(server.authority())?.text("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix("pkgcache_remote_stored_total "));
        if value.is_some_and(|value| value.trim() == (DOWNLOADS + LARGE_ONES).to_string()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other("the bucket was not written to"))
}
