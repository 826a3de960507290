//! Many of something: idle connections, stored entries.

use std::fs::{self, File};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::basics::{lost, say};
use super::super::figures::{Figure, Figures, Limit, megabytes};
use super::client::Client;
use super::ground::Ground;
use super::origin::SMALL;
use super::servers::{origin, pkgcache};
use larder::process::runner::RunError;

const CONNECTIONS: u64 = 10_000;
const ENTRIES: u32 = 1_000_000;
/// So many names one file may have on every file system.
const LINKS: u32 = 30_000;

/// What connections cost that were used once and stay.
pub(super) fn idle(ground: &Ground<'_>) -> Result<Figures, RunError> {
    let mut figures = Figures::new(format!("memory of {CONNECTIONS} idle connections"), "MB");
    let cost = if raise_limit() {
        let origin = origin(ground)?;
        let server = pkgcache(ground, &origin.url())?;
        let path = format!("/{SMALL}");
        Client::connect(server.authority()).and_then(|mut client| client.get(&path)).map_err(lost)?;
        let before = server.memory("VmRSS:");
        let connect = |_| {
            let mut client = Client::connect(server.authority())?;
            client.get(&path).map(|_| client.into_stream())
        };
        let connections: io::Result<Vec<_>> = (0..CONNECTIONS).map(connect).collect();
        let connections = connections.map_err(lost)?;
        let after = server.memory("VmRSS:");
        drop(connections);
        before.zip(after).map(|(before, after)| megabytes(after.saturating_sub(before)))
    } else {
        None
    };
    figures.add(Figure::new("pkgcache", cost.into_iter().collect()).limit(Limit::AtMost(100.0)));
    Ok(figures)
}

/// Whether as many files can be open as connections are needed, here and in the server.
fn raise_limit() -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok()
        && maximum.is_none_or(|maximum| maximum > CONNECTIONS + 500)
}

/// How long a server on a full store takes from its start to its first answer.
pub(super) fn ready(ground: &Ground<'_>) -> Result<Figures, RunError> {
    let mut figures = Figures::new(format!("ready with {ENTRIES} entries"), "ms");
    let own = ground.below("ready").map_err(lost)?;
    // A store as the tool makes it, with one entry.
    let upstream = origin(ground)?;
    let server = pkgcache(&own, &upstream.url())?;
    Client::connect(server.authority()).and_then(|mut it| it.get(&format!("/{SMALL}"))).map_err(lost)?;
    let source = upstream.authority().replace(':', "_");
    let entries = own.folder.join("store/packages/entries").join(source);
    // It is written after the answer.
    let started = Instant::now();
    while !entries.is_dir() && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(server);
    say("writing a million entries");
    fill(&entries).map_err(lost)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let server = pkgcache(&own, &upstream.url())?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        drop(server);
    }
    figures.add(Figure::new("pkgcache", times).limit(Limit::AtMost(50.0)));
    say("removing them");
    Ok(figures)
}

/// Gives the entries the names that they would have.
fn fill(folder: &Utf8Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(io::Error::other(format!("{folder} is not where entries are kept")));
    }
    let mut source = folder.to_owned();
    for number in 0..ENTRIES {
        let shard = folder.join(format!("{:02x}", number % 256));
        if number < 256 {
            fs::create_dir_all(&shard)?;
        }
        let file = shard.join(format!("{:02x}{number:062x}.toml", number % 256));
        if number % LINKS == 0 {
            File::create(&file)?.write_all(b"version = 1\n")?;
            source = file;
        } else {
            fs::hard_link(&source, &file)?;
        }
    }
    Ok(())
}
