//! Processes that are killed at any moment: what stood stands, the store verifies, the next run
//! cleans up.
//!
//! `LARDER_TEST_KILLS` sets how often each kind of them is killed; CI does a few, by hand it is
//! some hundred.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::{Part, Server, Session, have};

fn kills() -> u32 {
    std::env::var("LARDER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(32)
}

/// A session whose store keeps an image under `before`, and another store `../other` with images
/// `app0` to `app3`, which are in archives `../0.tar` to `../3.tar` too.
fn session() -> Session {
    let session = Session::new();
    let make = "for n in 0 1 2 3; do mkdir d$n && head -c 1M /dev/urandom >d$n/f && \
                imgtar pack -q app$n d$n --store ../other --name app:$n && \
                imgtar export -q app$n ../$n.tar --compress none --store ../other || exit; done";
    session.run(make).ok();
    session.run("imgtar pack -q before d0 && gcctl pin before").ok();
    session
}

/// All but `before` is gone for good, so that whoever writes next has everything to write.
fn forget(session: &Session) {
    session.run("gcctl run -q --max-images 1; [ $? -le 1 ] && rm -rf ../store/trash").ok();
}

/// When to kill the `n`th of `all`, if all of it takes so long: evenly from the start to somewhat
/// behind the end, in an order that mixes early and late.
fn moment(n: u32, all: u32, whole: Duration) -> Duration {
    whole * (n * 7919 % all) * 5 / (all * 4)
}

/// How long the line takes; it must end with 0.
fn lasts(session: &Session, line: &str) -> Duration {
    let begun = Instant::now();
    session.run(line).ok();
    begun.elapsed()
}

/// Kills the shell's whole group.
fn kill(mut child: Child) {
    // It may have ended by itself, or not have a group of its own yet.
    let mut group = Command::new("kill");
    let _ = group.args(["-9", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
    let _ = child.kill();
    child.wait().expect("a process");
}

/// What must hold whatever was killed.
#[track_caller]
fn holds(session: &Session) {
    session.run("imgtar verify -q && imgtar has before").ok();
}

/// Nothing unfinished is left anywhere in the store.
#[track_caller]
fn is_clean(session: &Session) {
    let left = session.run("find ../store -name '.tmp-*'").ok();
    assert_eq!(left.stdout(), "", "{left}");
}

#[test]
fn an_import_or_a_save_that_is_killed_leaves_a_store_that_verifies() {
    let session = session();
    // An engine that has the image, for `save`.
    let docker = session.script("../docker", "[ \"$1\" = save ] && exec cat ../1.tar\nexit 1");
    let session = session.env("LARDER_DOCKER", docker.as_str());
    let writers = [
        "exec imgtar import -q KEY ../1.tar",
        "cat ../2.tar | imgtar import -q KEY",
        "exec imgtar save -q KEY app",
        "exec imgtar import -q before ../3.tar --force",
    ];
    let whole = lasts(&session, "imgtar import -q whole ../0.tar");
    for n in 0..kills() {
        let script = writers[n as usize % writers.len()].replace("KEY", &format!("key{n}"));
        let writer = session.start(&format!("exec setsid sh -c '{script}'"));
        // Any moment may be the bad one: no event tells of it.
        thread::sleep(moment(n, kills(), whole));
        kill(writer);
        holds(&session);
        if n % 8 == 7 {
            session.run(&format!("imgtar import -q key{n} ../0.tar && imgtar verify -q key{n}")).ok();
            is_clean(&session);
            forget(&session);
            holds(&session);
        }
    }
    session.run("imgtar import -q last ../1.tar").ok();
    is_clean(&session);
}

#[test]
fn a_pull_that_is_killed_leaves_a_store_that_verifies_and_is_taken_up() {
    let session = session();
    let registry = Server::new(session.start("exec imgtar serve --listen 127.0.0.1:0 --store ../other"));
    let from = registry.authority();
    let whole = lasts(&session, &format!("imgtar pull -q {from}/app:3 --key whole && imgtar rm whole"));
    for n in 0..kills() {
        let pull = format!("imgtar pull -q {from}/app:{} --key key{n}", n % 3);
        let puller = session.start(&format!("exec setsid {pull}"));
        // As above.
        thread::sleep(moment(n, kills(), whole));
        kill(puller);
        holds(&session);
        if n % 4 == 3 {
            // The next goes on with what is there.
            session.run(&format!("{pull} && imgtar verify -q key{n} && imgtar has key{n}")).ok();
            forget(&session);
            is_clean(&session);
            holds(&session);
        }
    }
    session.run(&format!("for n in 0 1 2; do imgtar pull -q {from}/app:$n || exit; done")).ok();
    is_clean(&session);
}

/// How an image gets into a registry.
const CLIENTS: [&str; 2] = [
    "imgtar push -q appNUMBER HOST/app:TAG --store ../other",
    "skopeo copy -q --dest-tls-verify=false docker-archive:../NUMBER.tar docker://HOST/app:TAG",
];

#[test]
fn a_registry_that_is_killed_in_a_push_takes_it_when_it_is_back() {
    if !have(&[Part::Skopeo]) {
        return;
    }
    let session = session();
    let serve = |at: &str| Server::new(session.start(&format!("exec imgtar serve --listen {at}")));
    let mut registry = serve("127.0.0.1:0");
    let at = registry.authority().to_owned();
    let push = |client: &str, n: u32, tag: &str| {
        client.replace("NUMBER", &(n % 4).to_string()).replace("HOST", &at).replace("TAG", tag)
    };
    let wholes = CLIENTS.map(|client| lasts(&session, &push(client, 3, "whole")));
    for n in 0..kills() {
        forget(&session);
        let which = n as usize % CLIENTS.len();
        let push = push(CLIENTS[which], n / 2, &format!("k{n}"));
        let pusher = session.start(&format!("exec {push}"));
        // As above.
        thread::sleep(moment(n, kills(), wholes[which]));
        registry.kill();
        registry = serve(&at);
        holds(&session);
        // Whether it went on by itself or gave up: it is all there when it has said so.
        if !pusher.wait_with_output().expect("a client").status.success() {
            session.run(&push).ok();
        }
        session.run(&format!("imgtar has app..k{n} && imgtar verify -q app..k{n}")).ok();
        holds(&session);
        is_clean(&session);
    }
}
