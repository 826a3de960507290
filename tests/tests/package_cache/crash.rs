//! A killed pkgcache leaves nothing that the next one serves wrongly.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use larder_tests::http::get;
use larder_tests::{Server, Session, until};

use crate::origin::{self, body};

/// How often it is killed.
const KILLS: u64 = 200;
const CLIENTS: u64 = 6;
/// Names that are asked for at a time, and how many kills later others are.
const NAMES: u64 = 12;
const ROUNDS: u64 = 4;

/// What the clients know and find.
struct Load {
    /// Where the cache is now.
    authority: Mutex<String>,
    /// The number of this round.
    round: AtomicU64,
    over: AtomicBool,
    whole: AtomicU64,
    hits: AtomicU64,
    cut: AtomicU64,
}

/// Ends the clients, however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_wrong_byte_is_served_after_any_of_200_kills() {
    let session = Session::new();
    let origin = origin::start();
    let start = || {
        let line = format!("exec pkgcache serve --listen 127.0.0.1:0 --upstream /={}", origin.url());
        Server::new(session.start(&line))
    };
    let load = Load {
        authority: Mutex::default(),
        round: AtomicU64::new(0),
        over: AtomicBool::new(false),
        whole: AtomicU64::new(0),
        hits: AtomicU64::new(0),
        cut: AtomicU64::new(0),
    };
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                scope.spawn({
                    let load = &load;
                    move || ask(load, number)
                })
            })
            .collect();
        let _over = Over(&load.over);
        for round in 0..KILLS {
            let mut server = start();
            load.round.store(round, Ordering::Relaxed);
            server.authority().clone_into(&mut load.authority.lock().unwrap());
            // Any moment may be the bad one: no event tells of it.
            thread::sleep(Duration::from_millis(10 + next(&mut seed) % 120));
            server.kill();
            if clients.iter().any(thread::ScopedJoinHandle::is_finished) {
                break;
            }
            if round % 50 == 49 {
                session.run("pkgcache verify").ok();
            }
        }
    });
    let [whole, hits, cut] = [&load.whole, &load.hits, &load.cut].map(|count| count.load(Ordering::Relaxed));
    let answered = origin.seen().len();
    assert!(
        hits > KILLS && cut > KILLS / 4,
        "{whole} whole, {hits} hits, {cut} cut, {answered} fetched: no load"
    );
    session.run("pkgcache verify").ok();
}

/// Asks for one name after the other until it is over. Whatever comes has to be right as far as it
/// comes.
fn ask(load: &Load, number: u64) {
    let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while !load.over.load(Ordering::Relaxed) {
        let authority = load.authority.lock().unwrap().clone();
        let group = load.round.load(Ordering::Relaxed) / ROUNDS;
        let name = group * NAMES + next(&mut seed) % NAMES;
        if authority.is_empty() || one(load, &authority, name).is_err() {
            load.cut.fetch_add(1, Ordering::Relaxed);
            until("there is another server", || {
                load.over.load(Ordering::Relaxed) || *load.authority.lock().unwrap() != authority
            });
        }
    }
}

fn one(load: &Load, authority: &str, name: u64) -> io::Result<()> {
    let found = get(authority, &format!("/{name}"))?;
    let expected = body(name);
    assert!(expected.starts_with(&found.body), "wrong bytes of {name} after\n{:?}", found.headers);
    if !found.whole || found.body.len() < expected.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    assert!(found.status == 200, "{:?}", found.headers);
    load.whole.fetch_add(1, Ordering::Relaxed);
    let is_hit = found.header("cache-status").is_some_and(|status| status.contains("pkgcache; hit"));
    load.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
    Ok(())
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
