//! A store of one's own, and `imgtar` run as a process upon it.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use storekit::{Digest, Store};
use tempfile::TempDir;

pub(crate) struct Session {
    dir: TempDir,
}

/// How a run ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.dir.path()).unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgtar"));
        command.args(words.split_whitespace()).current_dir(self.dir.path());
        larder_tests::isolate(&mut command, self.dir.path()).env("LARDER_DIR", self.path("store"));
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> Run {
        Run::of(self.command(words).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs with these bytes on a pipe as stdin.
    #[track_caller]
    pub(crate) fn feed(&self, words: &str, bytes: &[u8]) -> Run {
        let mut child = self.command(words);
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may refuse before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        Run::of(child.wait_with_output().unwrap())
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.path("store")).unwrap()
    }

    /// The names of all blobs under final names.
    pub(crate) fn blobs(&self) -> Vec<Digest> {
        self.store().images().blobs().list().unwrap()
    }

    /// The IDs of the images under a key.
    #[track_caller]
    pub(crate) fn ids(&self, key: &str) -> Vec<String> {
        let row = self.run(&format!("info {key} --json")).ok().json();
        row["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let flat: Vec<_> = self.stderr.split_whitespace().filter(|word| *word != "│").collect();
        assert!(flat.join(" ").contains(text), "`{text}` is not in {}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}
