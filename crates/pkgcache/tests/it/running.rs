//! `run` where there can be no cache.

use larder_tests::Ran;

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
