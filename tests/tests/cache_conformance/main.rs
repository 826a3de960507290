//! pkgcache against the public suite of tests for HTTP caches (`http-tests/cache-tests`), as a
//! reverse and as a forward proxy. What does not pass is listed, with the reason; a test that
//! passes in spite of that is a failure, too.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may fail and write as they like")]

mod expected;
mod suite;
mod table;

use std::thread;

use expected::Expected;
use larder_tests::{Part, have};
use suite::{Edition, MODES, Run};

#[test]
fn pkgcache_passes_all_of_the_public_suite_but_what_is_listed() {
    if !have(&[Part::Node, Part::CacheTests]) {
        return;
    }
    let expected = &Expected::load();
    // They wait for most of the time.
    let runs: Vec<Run> = thread::scope(|scope| {
        let pairs = Edition::all().into_iter().flat_map(|edition| MODES.map(|mode| (edition.clone(), mode)));
        let started: Vec<_> =
            pairs.map(|(edition, mode)| scope.spawn(move || suite::run(&edition, mode, expected))).collect();
        started.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let differences: Vec<_> = runs.iter().flat_map(|run| expected.differences(run)).collect();
    // Which tests differ says more than that the counts do.
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
    table::check(&runs, expected);
}
