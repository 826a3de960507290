//! Places that do not answer.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::scene::saved;
use crate::kit::remotes::{Fake, Reply};
use crate::kit::session::Session;

/// Far less than is waited without a timeout, or than a second try would take on top of a first.
const SOON: Duration = Duration::from_secs(20);

/// Somebody who takes connections and says nothing.
pub(crate) struct Silent(TcpListener);

impl Silent {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(crate) fn host(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// How many connections have come since this was asked last.
    pub(crate) fn count(&self) -> usize {
        std::iter::from_fn(|| self.0.accept().ok()).count()
    }
}

#[test]
fn a_registry_that_never_answers_is_asked_once() {
    let (session, silent) = (Session::new(), Silent::new());
    saved(&session);
    for words in ["has a b c d", "pull a", "push k", "ls", "rm a"] {
        let begun = Instant::now();
        let ran = session.run(&format!("{words} --tier registry:{}/cache --timeout 1s", silent.host()));
        ran.ends(2).says("it stopped answering");
        assert_eq!(silent.count(), 1, "{words}");
        assert!(begun.elapsed() < SOON, "{words}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_bucket_that_never_answers_is_asked_once() {
    let (session, silent) = (Session::new(), Silent::new());
    saved(&session);
    for words in ["has a", "pull a", "push k", "ls", "rm a"] {
        let begun = Instant::now();
        let ran = session.run(&format!("{words} --tier s3:http://{}/larder --timeout 1s", silent.host()));
        ran.ends(2).says("it stopped answering");
        assert_eq!(silent.count(), 1, "{words}");
        assert!(begun.elapsed() < SOON, "{words}: {:?}", begun.elapsed());
    }
    // Several keys are asked for at once.
    session.run(&format!("has a b c d e f --tier s3:http://{}/larder --timeout 1s", silent.host())).ends(2);
    assert!((1..=4).contains(&silent.count()));
}

#[test]
fn a_registry_that_answers_slowly_is_given_up_after_the_timeout() {
    let session = Session::new();
    saved(&session);
    let fake = Fake::start(|_| {
        // Time has to pass: that is what is slow.
        std::thread::sleep(Duration::from_millis(700));
        None
    });
    let words =
        |timeout: &str| format!("push k --tier registry:{}/cache --timeout {timeout} --json", fake.host);
    let ran = session.run(&words("2s")).ends(2).says("answers too slowly");
    assert!(ran.json()["slow_seconds"].as_f64().unwrap() >= 2.0, "{ran}");
    // What several threads had asked by then comes in addition.
    assert!(fake.log().len() <= 8, "{:?}", fake.log());
    session.run(&words("60s")).ok();
}

#[test]
fn a_place_that_is_not_there_is_trouble_soon() {
    let session = Session::new();
    let begun = Instant::now();
    for place in ["registry:127.0.0.1:1/cache", "s3:http://127.0.0.1:1/larder"] {
        session.run(&format!("has k --tier {place} --timeout 1s")).ends(2).says("cannot be reached");
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_body_that_stands_still_ends_a_pull() {
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    let fake = Fake::start_changing(|asked, reply| {
        let is_blob = asked.method == "GET" && asked.path.contains("/blobs/") && reply.body.len() > 9999;
        // A slow registry.
        if is_blob { Reply { drip: Some(Duration::from_millis(300)), ..reply } } else { reply }
    });
    let place = format!("registry:{}/cache", fake.host);
    session.run(&format!("push k --tier {place}")).ok();
    let begun = Instant::now();
    other.run(&format!("pull k --tier {place} --timeout 1s")).ends(2).says("too slowly");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    other.run("has k").ends(1);
}
