//! The suite: where its editions are, and a run of one.

use std::fmt;

use camino::Utf8PathBuf;
use larder_tests::{Server, Session, parts};
use serde_json::Value;

use crate::expected::Expected;

/// One edition of the suite in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Edition {
    /// As the list and the table call it.
    pub(crate) name: &'static str,
    folder: Utf8PathBuf,
}

/// How the cache is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It stands for the origin.
    Reverse,
    /// By absolute-form requests.
    Forward,
}

pub(crate) const MODES: [Mode; 2] = [Mode::Reverse, Mode::Forward];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reverse => "reverse",
            Self::Forward => "forward",
        })
    }
}

/// What a test of the suite gave.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) id: String,
    /// `required`, `optimal` or `check`; the last only looks how a cache behaves.
    pub(crate) kind: String,
    /// The suite's own word, such as `pass` or `setup failed`.
    pub(crate) outcome: String,
    pub(crate) said: String,
}

impl Given {
    pub(crate) fn passed(&self) -> bool {
        self.outcome == "pass"
    }
}

/// All that a run gave.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) edition: &'static str,
    pub(crate) mode: Mode,
    pub(crate) given: Vec<Given>,
}

impl Run {
    /// How many of a kind passed, and of how many.
    pub(crate) fn count(&self, kind: &str) -> (usize, usize) {
        let of_kind = || self.given.iter().filter(|given| given.kind == kind);
        (of_kind().filter(|given| given.passed()).count(), of_kind().count())
    }
}

impl Edition {
    /// Those that this machine has.
    pub(crate) fn all() -> Vec<Self> {
        let newer = |folder: &Utf8PathBuf| folder.join("test-engine").is_dir();
        let name = |folder: &Utf8PathBuf| if newer(folder) { "2026" } else { "0.4.5" };
        parts::cache_tests().into_iter().map(|folder| Self { name: name(&folder), folder }).collect()
    }
}

/// Runs the edition against a pkgcache and an origin of its own. What the machine's load can have
/// caused is tried again alone; a required rule that was broken is not.
pub(crate) fn run(edition: &Edition, mode: Mode, expected: &Expected) -> Run {
    let session = Session::new();
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/suite.mjs");
    let node = |args: &str| format!("exec node --no-warnings '{driver}' {args}");
    let folder = format!("'{}'", edition.folder);
    let origin = Server::new(session.start(&node(&format!("origin {folder}"))));
    let cache = format!(
        "exec pkgcache serve --listen 127.0.0.1:0 --heuristic-freshness --keep-cookies --upstream /={} --allow {}",
        origin.url(),
        origin.authority()
    );
    let cache = Server::new(session.start(&cache));
    let (base, proxy) = match mode {
        Mode::Reverse => (cache.url(), "-"),
        Mode::Forward => (origin.url(), cache.url()),
    };
    let results = |ids: &str| -> Vec<Given> {
        let ran = session.run(&node(&format!("run {folder} {base} {proxy} {ids}"))).ok();
        ran.rows().iter().map(given).collect()
    };
    let mut run = Run { edition: edition.name, mode, given: results("") };
    assert!(!run.given.is_empty());
    for _ in 0..2 {
        let again: Vec<_> = expected.surprises(&run).filter(|given| given.outcome != "fail").collect();
        if again.is_empty() {
            break;
        }
        let ids: Vec<_> = again.iter().map(|given| given.id.clone()).collect();
        for given in results(&ids.join(" ")) {
            run.given.iter_mut().filter(|old| old.id == given.id).for_each(|old| *old = given.clone());
        }
    }
    run
}

fn given(line: &Value) -> Given {
    let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    Given { id: field("id"), kind: field("kind"), outcome: field("outcome"), said: field("said") }
}
