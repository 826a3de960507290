//! pkgcache against nginx's `proxy_cache` and caches of packages: hits, misses, memory, idle
//! connections, readiness; and installs by real clients.
//!
//! All on one machine over the loopback, the load generator too: the ratios say how much a server
//! does with what is left. Nothing here measures a network or a disk.

mod client;
mod crowd;
mod ground;
mod installs;
mod link;
mod origin;
mod ranges;
mod remote;
mod servers;
mod verified;

use std::io::{self, Write};
use std::time::Duration;

use camino::Utf8Path;
use toolkit::Outcome;

use super::Scope;
use super::basics::{lost, say};
use super::figures::{Figure, Figures, Limit, median, megabytes};
use super::race::machine;
use client::Client;
use ground::Ground;
use installs::CLIENTS;
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner};
use larder::process::tools::Tools;
use origin::{FILES, LARGE, SMALL};
use servers::{Server, Servers};
use verified::Blobs;

/// Rounds of each race; each contender has its turn in each.
const ROUNDS: usize = 3;
/// Unlike downloads whose first byte is waited for.
const DOWNLOADS: usize = 300;
/// Megabytes that the server may have, whatever it serves.
const MEMORY: f64 = 30.0;

/// What can be measured alone: the servers' answers, many idle connections, a full store, ranges of
/// a large file, a bucket that nodes share, what lock files name, and each client's installs.
pub const PARTS: [&str; 10] =
    ["answers", "idle", "ready", "ranges", "remote", "warm", CLIENTS[0], CLIENTS[1], CLIENTS[2], CLIENTS[3]];

/// Measures, and prints the figures. `No` where a limit was missed.
pub(super) fn bench(
    scope: &Scope,
    tools: &Tools,
    runner: &Runner,
    folder: &Utf8Path,
    out: &mut impl Write,
) -> Result<Outcome, RunError> {
    writeln!(out, "{}\n", machine(runner)).map_err(lost)?;
    let ground = Ground { tools, runner, folder: folder.to_owned(), peers: &scope.peers };
    let mut within = true;
    if scope.has("answers") {
        within &= answers(&ground, out)?;
    }
    origin::write(&folder.join("origin")).map_err(lost)?;
    if scope.has("idle") {
        within &= shown(&crowd::idle(&ground)?, out)?;
    }
    if scope.has("ready") {
        within &= shown(&crowd::ready(&ground)?, out)?;
    }
    if scope.has("ranges") {
        for figures in ranges::bench(&ground)? {
            within &= shown(&figures, out)?;
        }
    }
    if scope.has("remote") {
        for figures in remote::bench(&ground)? {
            within &= shown(&figures, out)?;
        }
    }
    if scope.has("warm") {
        within &= installs::warm(&ground, out)?;
    }
    for client in CLIENTS.into_iter().filter(|client| scope.has(client)) {
        within &= installs::bench(client, &ground, out)?;
    }
    Ok(Outcome::from_bool(within))
}

/// Prints the figures. Returns whether they are within their limits.
fn shown(figures: &Figures, out: &mut impl Write) -> Result<bool, RunError> {
    writeln!(out, "{figures}").and_then(|()| out.flush()).map_err(lost)?;
    Ok(figures.is_within())
}

/// Hits, misses, and the memory after all of them.
fn answers(ground: &Ground<'_>, out: &mut impl Write) -> Result<bool, RunError> {
    say("writing the origin's files and starting the servers");
    let root = ground.folder.join("origin");
    origin::write(&root).map_err(lost)?;
    let blobs = Blobs::write(&root).map_err(lost)?;
    let servers = Servers::start(ground)?;
    let mut within = true;
    let mut show = |figures: Figures| shown(&figures, out).map(|kept| within &= kept);
    for (file, kibibytes) in FILES {
        show(hits(ground.runner, &servers, file, kibibytes)?)?;
    }
    for at in 0..FILES.len() {
        show(blobs.hits(ground.runner, &servers, at)?)?;
    }
    show(first_bytes(&servers).map_err(lost)?)?;
    show(blobs.first_bytes(&servers).map_err(lost)?)?;
    show(over_a_link(ground)?)?;
    let contenders = [&servers.pkgcache, &servers.origin].map(Server::authority);
    show(throughput("as fast as it goes", contenders, None).map_err(lost)?)?;
    show(memory(&servers))?;
    Ok(within)
}

/// How fast one download is where a link is what limits it.
fn over_a_link(ground: &Ground<'_>) -> Result<Figures, RunError> {
    let link = link::start(64 << 20);
    let server = servers::pkgcache(&ground.below("link").map_err(lost)?, &link.url())?;
    let contenders = [server.authority(), &link.address.to_string()];
    throughput("over a link of 1 Gbit/s", contenders, Some(0.95)).map_err(lost)
}

/// One file again and again, over 16 connections.
fn hits(runner: &Runner, servers: &Servers, file: &str, kibibytes: u64) -> Result<Figures, RunError> {
    let small = file == SMALL;
    let unit = if small { "requests/s" } else { "MB/s" };
    let title = format!("hits, {kibibytes} KiB, wrk -t1 -c16");
    let contenders: Vec<&Server> = servers.caches().filter(|server| small || !server.is_index).collect();
    let mut figures = Figures::new(title, unit);
    for server in &contenders {
        Client::connect(server.authority()).and_then(|mut it| it.get(&server.path(file))).map_err(lost)?;
    }
    let mut rates = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for (server, rates) in contenders.iter().zip(&mut rates) {
            let url = format!("{}{}", server.url(), server.path(file));
            let wrk = Cmd::new("wrk").args(["-t1", "-c16", "-d3s", "--timeout", "30s"]).arg(url);
            let (_, text) = runner.ask(&wrk)?;
            let told = client::wrk(&String::from_utf8_lossy(&text));
            rates.extend(told.map(|(requests, bytes)| if small { requests } else { bytes / 1e6 }));
        }
    }
    for (server, rates) in contenders.iter().zip(rates) {
        let limit = match (server.is_index, small) {
            (true, _) => 10.0,
            (false, true) => 1.0,
            (false, false) => 0.8,
        };
        figures.add(Figure::new(server.name, rates).limit(Limit::AtLeast(limit)));
    }
    for (name, reason) in &servers.absent {
        figures.add(Figure::not_run(name, reason.clone()));
    }
    Ok(figures)
}

/// How long the first byte of what is not stored takes.
fn first_bytes(servers: &Servers) -> io::Result<Figures> {
    let mut figures = Figures::new(format!("first byte of {DOWNLOADS} misses, 10 KiB"), "ms");
    let contenders = [&servers.pkgcache, &servers.origin];
    let mut clients = contenders.map(|server| Client::connect(server.authority()));
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..DOWNLOADS {
        for (client, times) in clients.iter_mut().zip(&mut times) {
            let client = client.as_mut().map_err(|error| io::Error::other(error.to_string()))?;
            times.push(client.get(&format!("/{SMALL}?{number}"))?.first.as_secs_f64() * 1e3);
        }
    }
    let added = median(&times[0]).zip(median(&times[1])).map(|(through, direct)| through - direct);
    let [through, direct] = times;
    figures.add(Figure::new("pkgcache", through));
    figures.add(Figure::new("directly", direct));
    figures.add(Figure::new("added", added.into_iter().collect()).limit(Limit::AtMost(1.0)));
    Ok(figures)
}

/// How fast one download of what is not stored is: from pkgcache, and from its upstream.
fn throughput(how: &str, contenders: [&str; 2], limit: Option<f64>) -> io::Result<Figures> {
    let mut figures = Figures::new(format!("misses, 64 MiB, {how}"), "MB/s");
    let mut rates = [Vec::new(), Vec::new()];
    for number in 0..ROUNDS {
        for (authority, rates) in contenders.iter().zip(&mut rates) {
            let got = Client::connect(authority)?.get(&format!("/{LARGE}?{number}"))?;
            rates.push(megabytes(got.bytes) / got.whole.max(Duration::from_nanos(1)).as_secs_f64());
        }
    }
    let [through, direct] = rates;
    figures.add(Figure::new("pkgcache", through));
    let direct = Figure::new("directly", direct);
    figures.add(match limit {
        Some(limit) => direct.limit(Limit::AtLeast(limit)),
        None => direct,
    });
    Ok(figures)
}

/// The most that the server ever had, after all that.
fn memory(servers: &Servers) -> Figures {
    let mut figures = Figures::new("most memory, after all the above".to_owned(), "MB");
    let peak = servers.pkgcache.memory("VmHWM:").map(megabytes);
    figures.add(Figure::new("pkgcache", peak.into_iter().collect()).limit(Limit::AtMost(MEMORY)));
    figures
}
