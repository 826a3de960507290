//! What a team keeps from its builds, through every door, and told by name.

mod lists;
mod places;

use base64::Engine as _;
use larder_tests::http::{Answer, Site};
use serde_json::{Value, json};
use storekit::Digest;

const JSON: &str = "content-type: application/json";

/// A registry of npm's with one package, whose versions were published at these times.
fn packument(site: &Site, name: &str, versions: &[(&str, String)]) {
    let mut document = json!({ "name": name, "dist-tags": {}, "versions": {}, "time": {} });
    for (version, time) in versions {
        let base = name.rsplit('/').next().unwrap();
        let tarball = format!("/{name}/-/{base}-{version}.tgz");
        let body = format!("{name} {version}");
        let integrity = base64::engine::general_purpose::STANDARD.encode(Digest::of(body.as_bytes()).bytes());
        site.put(&tarball, body);
        document["versions"][version] = json!({
            "name": name, "version": version,
            "dist": { "tarball": format!("{}{tarball}", site.url()), "integrity": format!("sha256-{integrity}") },
        });
        document["time"][version] = json!(time);
        document["dist-tags"]["latest"] = json!(version);
    }
    for path in [format!("/{name}"), format!("/{}", name.replace('/', "%2F"))] {
        site.put_with(&path, JSON, document.to_string());
    }
}

/// So many seconds ago, as indexes write it.
fn ago(seconds: i64) -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds)).to_string()
}

const OLD: i64 = 400 * 86_400;

/// Whether it is a refusal of this guard's, which the body, the status line and the log name.
#[track_caller]
fn refused(answer: &Answer, guard: &str, words: &str) {
    let text = answer.text();
    let named = text.starts_with(&format!("refused by the guard `{guard}`: "));
    assert!(answer.status == 403 && named && text.contains(words), "{answer:?}");
}

fn versions(page: &Value) -> Vec<&String> {
    page["versions"].as_object().unwrap().keys().collect()
}
