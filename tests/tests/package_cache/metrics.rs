//! `/metrics`, read by a parser that is not ours.

use larder_tests::{Part, Server, Session, have};

use crate::origin;

/// Prints a line `NAME TYPE VALUE` for each sample, and fails where a family has neither help nor
/// type.
const PARSE: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type != 'unknown', family
    for sample in family.samples:
        print(sample.name, family.type, sample.value, ','.join(sorted(sample.labels.values())))
";

#[test]
fn prometheus_reads_the_metrics() {
    if !have(&[Part::Prometheus, Part::Curl]) {
        return;
    }
    let session = Session::new().file("parse.py", PARSE);
    let origin = origin::start();
    let line = format!("exec pkgcache serve --listen 127.0.0.1:0 --upstream /={}", origin.url());
    let server = Server::new(session.start(&line));
    for _ in 0..3 {
        session.run(&format!("curl -sf {}/1 >/dev/null", server.url())).ok();
    }
    let ran = session.run(&format!("curl -sf {}/metrics | python3 parse.py", server.url())).ok();
    let samples = ran.stdout();
    assert!(samples.lines().count() > 5, "{ran}");
    let names: Vec<_> = samples.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.iter().all(|name| name.starts_with("pkgcache_")), "{ran}");
    let of = |result: &str| {
        let line = samples
            .lines()
            .find(|line| line.starts_with("pkgcache_requests_total ") && line.ends_with(result));
        line.and_then(|line| line.split(' ').nth(2)?.parse::<f64>().ok()).expect(result)
    };
    let answered: f64 = ["hit", "collapsed", "miss"].map(of).iter().sum();
    assert!((answered - 3.0).abs() < 0.1, "{ran}");
}
