//! One client's installs on all its ways, in turn.

use std::fmt;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use larder::process::command::quoted;
use larder::process::runner::RunError;
use larder_tests::http::{Site, get};

use super::super::super::basics::{Bytes, lost, say, sh};
use super::super::super::figures::{Figure, Figures, Limit as Bound, median};
use super::super::super::table::{Limit, Table};
use super::super::client;
use super::super::ground::Ground;
use super::super::servers::{Server, configured};
use super::case::{Client, Cold, Peer, alone};
use super::packages::COUNT;
use super::traffic::{Asked, Traffic};

/// Stores without anything, to which each file is new.
const EMPTY: usize = 5;
/// The most that an install through pkgcache may take, as a share of one through another cache.
/// Most of either is the client's own work, so that they differ by little; the rest is noise.
const PEER: f64 = 1.05;
/// What a server may still have to do when a client has all: it asks for nothing more when the
/// upstream was not asked for so long.
const SETTLED: Duration = Duration::from_millis(300);

/// What was measured of a client.
pub(super) struct Race {
    title: String,
    times: Table,
    traffic: Traffic,
    first: Figures,
}

impl Race {
    pub(super) fn is_within(&self) -> bool {
        self.times.is_within() && self.traffic.is_within() && self.first.is_within()
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}  asked of the upstream", self.title, self.times)?;
        writeln!(f, "{}\n{}", self.traffic, self.first)
    }
}

/// How the packages come to the client.
struct Way {
    name: String,
    /// Where the client is told they are.
    place: String,
    limit: Option<Limit>,
    /// The most requests to the upstream, once all is stored.
    requests: Option<usize>,
    /// Whether the client keeps its own cache from one install to the next.
    keeps: bool,
    /// Why it is not run.
    absent: Option<String>,
    /// Runs as long as it is needed.
    _server: Option<Server>,
}

/// Measures the client.
///
/// # Errors
/// Where pkgcache does not run, or the client fails with it.
pub(super) fn run<C: Client>(client: &C, ground: &Ground<'_>) -> Result<Race, RunError> {
    let first = first_bytes(client, ground)?;
    let ways = ways(client, ground)?;
    let mut times = Table::new(ways.iter().map(|way| (way.name.clone(), way.limit)));
    let mut traffic = Traffic::default();
    let mut total = 0;
    for round in 0..=C::ROUNDS {
        for (index, way) in ways.iter().enumerate().filter(|(_, way)| way.absent.is_none()) {
            match install(client, ground, way, round)? {
                // The tool itself must run.
                Err(reason) if index == 0 => return Err(lost(io::Error::other(reason))),
                Err(reason) => times.fail(index, reason),
                Ok((_, asked)) if round == 0 => {
                    total = if index == 0 { asked.bytes } else { total };
                    traffic.cold(&way.name, asked, way.requests);
                }
                Ok((time, asked)) => {
                    if way.requests.is_some_and(|limit| asked.requests > limit) {
                        tell(client.site());
                    }
                    times.add(index, time);
                    traffic.warm(&way.name, asked);
                }
            }
        }
    }
    for (index, way) in ways.iter().enumerate() {
        if let Some(reason) = &way.absent {
            times.fail(index, reason);
        }
    }
    let title =
        format!("{} {COUNT} packages ({}), the cache has them, the client has nothing", C::JOB, Bytes(total));
    Ok(Race { title, times, traffic, first })
}

/// pkgcache, its peers, the client's own cache, and none.
fn ways<C: Client>(client: &C, ground: &Ground<'_>) -> Result<Vec<Way>, RunError> {
    let server = configured(ground, "pkgcache", &client.settings(), &client.site().authority())?;
    let place = client.at_pkgcache(&server.url());
    let way = |name: String, place: String, limit: Option<f64>| Way {
        name,
        place,
        limit: limit.map(Limit::Share),
        requests: None,
        keeps: false,
        absent: None,
        _server: None,
    };
    let own = Way { requests: Some(0), _server: Some(server), ..way("pkgcache".to_owned(), place, None) };
    let mut ways = vec![own];
    for Peer { name, started } in client.peers(ground)? {
        ways.push(match started {
            Ok((server, place)) => Way { _server: Some(server), ..way(name.to_owned(), place, Some(PEER)) },
            Err(reason) => Way { absent: Some(reason), ..way(name.to_owned(), String::new(), None) },
        });
    }
    let cached = way(format!("{}'s own cache", program::<C>()), client.directly(), Some(C::OWN_CACHE));
    ways.push(Way { keeps: true, ..cached });
    ways.push(way("no cache".to_owned(), client.directly(), None));
    Ok(ways)
}

/// Installs once; how long it took, and what the upstream was asked for. Or why the client failed.
fn install<C: Client>(
    client: &C,
    ground: &Ground<'_>,
    way: &Way,
    round: usize,
) -> Result<Result<(Duration, Asked), String>, RunError> {
    let folder = ground.folder.join("clients").join(way.name.replace([' ', '\''], "-"));
    if way.keeps && round > 0 {
        let removal = format!("cd {} && rm -rf {}", quoted(folder.as_str()), C::INSTALLED);
        ground.runner.ask(&sh(removal))?;
    } else if folder.is_dir() {
        fs::remove_dir_all(&folder).map_err(lost)?;
    }
    fs::create_dir_all(folder.join("home"))
        .and_then(|()| client.prepare(&folder, &way.place))
        .map_err(lost)?;
    client.site().forget();
    let line = alone(&folder, &client.line(&way.place));
    let started = Instant::now();
    let (status, _) = ground.runner.ask(&line)?;
    let time = started.elapsed();
    if !status.success() {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        return Ok(Err(failure(program::<C>(), &log)));
    }
    Ok(Ok((time, asked(client.site()))))
}

/// The client's program.
fn program<C: Client>() -> &'static str {
    C::JOB.split(' ').next().unwrap_or(C::NAME)
}

/// Why a client failed, by what it said: two lines from the first error on, or the last one.
fn failure(client: &str, log: &str) -> String {
    let said: Vec<_> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| line.to_ascii_lowercase().starts_with("err");
    let first = said.iter().position(is_error).unwrap_or(said.len().saturating_sub(1));
    let told = said.iter().skip(first).take(2).copied().collect::<Vec<_>>().join(" ");
    format!("{client} failed: {}", if told.is_empty() { "it said nothing" } else { &told })
}

/// What the upstream was asked for, once it is asked for no more.
fn asked(site: &Site) -> Asked {
    let mut last = (site.requests(), Instant::now());
    while last.1.elapsed() < SETTLED {
        std::thread::sleep(Duration::from_millis(10));
        if site.requests() != last.0 {
            last = (site.requests(), Instant::now());
        }
    }
    Asked { requests: last.0, bytes: site.bytes("") as u64 }
}

/// Tells who waits what the upstream was asked for again.
fn tell(site: &Site) {
    for exchange in site.log() {
        let request = exchange.request;
        say(&format!("asked again: {} {} ({})", request.method, request.path, exchange.status));
    }
}

/// How long the first byte of each file takes, through a pkgcache that has its index alone.
fn first_bytes<C: Client>(client: &C, ground: &Ground<'_>) -> Result<Figures, RunError> {
    let cold = client.cold();
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..EMPTY {
        let name = format!("cold{number}");
        let server = configured(ground, &name, &client.settings(), &client.site().authority())?;
        fetch(&cold, server.authority(), &client.site().authority(), &mut times).map_err(lost)?;
    }
    let title = format!("first byte of {} files that were not asked for before", times[0].len());
    let mut figures = Figures::new(title, "ms");
    let added = median(&times[0]).zip(median(&times[1])).map(|(through, direct)| through - direct);
    let [through, direct] = times;
    figures.add(Figure::new("pkgcache", through));
    figures.add(Figure::new("directly", direct));
    figures.add(Figure::new("added", added.into_iter().collect()).limit(Bound::AtMost(1.0)));
    Ok(figures)
}

/// Asks for the indexes, and then for each file: from pkgcache, and from the upstream.
fn fetch(cold: &Cold, own: &str, upstream: &str, times: &mut [Vec<f64>; 2]) -> io::Result<()> {
    for index in &cold.indexes {
        let answer = get(own, index)?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("`{}` for {index}", answer.status)));
        }
    }
    let mut clients = [client::Client::connect(own)?, client::Client::connect(upstream)?];
    for paths in &cold.files {
        for ((client, path), times) in clients.iter_mut().zip([&paths.0, &paths.1]).zip(times.iter_mut()) {
            times.push(client.get(path)?.first.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_client_is_quoted() {
        assert_eq!(failure("pip", "a\nERROR: none\n b\nc"), "pip failed: ERROR: none b");
        assert_eq!(failure("pip", "a error\n\n b \n\n"), "pip failed: b");
        assert_eq!(failure("pip", ""), "pip failed: it said nothing");
    }
}
