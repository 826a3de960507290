//! `run` where there can be no cache.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use larder_tests::{Part, Ran, have};

use crate::support::session;

/// A build is never worse off with the cache than without it.
#[test]
fn a_command_runs_without_a_cache_where_the_store_cannot_be_used() {
    let session = session().file("taken", "not a folder");
    let script = "echo \"cache=$LARDER_PKGCACHE_URL pip=$PIP_INDEX_URL\"; cat; exit 7";
    let words =
        ["--store", "taken", "--upstream", "a=http://127.0.0.1:9", "--summary", "sum", "--", "sh", "-c"];
    let ran = Ran::of(session.command("run").args(words).arg(script)).ends(7);
    assert_eq!(ran.stdout(), "cache= pip=\n");
    let said = ran.stderr();
    let start = "pkgcache: warning: the command runs without the cache: ";
    assert!(said.starts_with(start) && said.contains("taken"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!session.path("sum").exists(), "nothing is told of what nobody counted");
    let absent = Ran::of(session.command("run").args(&words[..7]).arg("no-such-program")).ends(127);
    assert!(absent.stderr().contains("cannot run `no-such-program`"), "{absent}");
    let quiet = Ran::of(session.command("run --quiet").args(words).arg("exit 3")).ends(3);
    assert_eq!(quiet.stderr(), "");
}

/// What has to do without the network must not go there by itself.
#[test]
fn a_command_that_is_to_be_offline_does_not_run_without_a_cache() {
    let session = session().file("taken", "not a folder");
    let words = ["--store", "taken", "--offline", "--upstream", "a=http://127.0.0.1:9", "--", "echo", "ran"];
    let ran = Ran::of(session.command("run").args(words)).ends(2);
    assert!(ran.stdout().is_empty() && ran.stderr().contains("taken"), "{ran}");
}

/// The first command's process serves both.
#[test]
fn a_command_on_another_ones_server_is_told_what_it_lacked() {
    if !have(&[Part::Curl]) {
        return;
    }
    let session = session();
    let ask = |what: &str| format!("curl -s \"$LARDER_PKGCACHE_URL/b/{what}\" >/dev/null");
    let words = ["--upstream", "b=http://127.0.0.1:9", "--", "sh", "-c"];
    let mut first = session.command("run");
    first.args(words).arg(format!("{}; echo serves; cat", ask("before")));
    let piped = first.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut first = piped.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(first.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "serves\n");
    let second = Ran::of(session.command("run").args(words).arg(format!("{0}; {0}", ask("x")))).ok();
    let said: Vec<_> = second.stderr().lines().map(str::to_owned).collect();
    assert_eq!(said[0], "pkgcache: 1 request could not be served:", "{said:?}");
    assert!(said[1].starts_with("pkgcache:   /b/x: "), "{said:?}");
    let counts =
        "pkgcache: 0 hits, 0 misses, 0B from upstream, 0B saved, with what other commands took meanwhile";
    assert_eq!(said[2..], [counts]);
    let third = Ran::of(session.command("run").args(words).arg("true")).ok();
    assert_eq!(third.stderr(), format!("{counts}\n"), "nothing was asked for meanwhile");
    drop(first.stdin.take());
    let all = Ran::after("run", first).ok().stderr();
    assert!(all.starts_with("pkgcache: 2 requests could not be served:\npkgcache:   /b/before: "), "{all}");
    assert!(!all.contains("other commands"), "{all}");
}
