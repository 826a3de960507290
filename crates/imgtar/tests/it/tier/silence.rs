//! Places that do not answer.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::scene::saved;
use crate::kit::remotes::{Fake, Reply};
use crate::kit::session::Session;

/// More than a timeout of 1 s and the start of a process take, and less than two tries.
const SOON: Duration = Duration::from_millis(1900);

#[test]
fn a_listener_that_never_answers_costs_its_timeout_once() {
    let session = Session::new();
    saved(&session);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("registry:{}/cache", listener.local_addr().unwrap());
    for words in ["has a b c d", "pull a", "push k"] {
        let begun = Instant::now();
        let ran = session.run(&format!("{words} --tier {place} --timeout 1s"));
        assert!(begun.elapsed() < SOON, "{words}: {:?}", begun.elapsed());
        ran.ends(2).says("it stopped answering");
    }
}

#[test]
fn a_place_that_is_not_there_is_trouble_soon() {
    let session = Session::new();
    let begun = Instant::now();
    session.run("has k --tier registry:127.0.0.1:1/cache --timeout 1s").ends(2).says("cannot be reached");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_body_that_stands_still_ends_a_pull() {
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    let fake = Fake::start_changing(|asked, reply| {
        let is_blob = asked.method == "GET" && asked.path.contains("/blobs/") && reply.body.len() > 9999;
        if is_blob { Reply { drip: Some(Duration::from_millis(300)), ..reply } } else { reply }
    });
    let place = format!("registry:{}/cache", fake.host);
    session.run(&format!("push k --tier {place}")).ok();
    let begun = Instant::now();
    other.run(&format!("pull k --tier {place} --timeout 1s")).ends(2).says("too slowly");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    other.run("has k").ends(1);
}
