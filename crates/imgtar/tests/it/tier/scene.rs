//! Places of every kind, and an image with all that can be noted with it.

use camino::Utf8PathBuf;
use larder_tests::{Ran, Session as Shell};
use serde_json::Value;

use crate::kit::registry::Registry;
use crate::kit::remotes::Real;
use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};
use crate::network::registries::noise;

/// A place, and what keeps it running.
pub(crate) struct Scene {
    pub(crate) place: String,
    /// Where its files are.
    pub(crate) files: Session,
    _running: Running,
}

enum Running {
    Nothing,
    Registry(#[expect(dead_code, reason = "held while it runs")] Real),
    Serve(#[expect(dead_code, reason = "held while it runs")] Registry),
}

impl Scene {
    pub(crate) fn store() -> Self {
        let files = Session::new();
        Self { place: format!("store:{}", root(&files)), files, _running: Running::Nothing }
    }

    /// Debian's registry; nothing where it is not there.
    pub(crate) fn registry() -> Option<Self> {
        let files = Session::new();
        let real = Real::start(&files)?;
        Some(Self {
            place: format!("registry:{}/team/cache", real.host),
            files,
            _running: Running::Registry(real),
        })
    }

    /// `imgtar serve`.
    pub(crate) fn serve() -> Self {
        let files = Session::new();
        let registry = files.serve("");
        let place = format!("registry:{}/team/cache", registry.address);
        Self { place, files, _running: Running::Serve(registry) }
    }

    /// One of each kind that this machine can have.
    pub(crate) fn each() -> Vec<Self> {
        let mut scenes = vec![Self::store(), Self::serve()];
        scenes.extend(Self::registry());
        scenes
    }

    /// What a command with `--tier` gives.
    pub(crate) fn run(&self, session: &Session, words: &str) -> Ran {
        session.run(&format!("{words} --tier {}", self.place))
    }
}

pub(crate) const INPUTS: &str = "hashctx manifest 1\nfile 00  a\n";

/// An image of two layers under `k`, with notes.
pub(crate) fn saved(session: &Session) {
    let archive = docker("app:1", &[&noise(11), &layer("top", "a small layer")]).end();
    session.write("inputs", INPUTS);
    let notes = "--build-seconds 93 --manifest inputs --image app --host build-3 --commit 5aad80c+";
    session.feed(&format!("import k {notes}"), &archive).ok();
}

/// Another image under `k`.
pub(crate) fn saved_another(session: &Session) {
    session.feed("import k --name other:2", &docker("other:2", &[&layer("other", "x")]).end()).ok();
}

/// What `info` says of a key, without when it was used.
#[track_caller]
pub(crate) fn noted(session: &Session, key: &str) -> Value {
    let mut info = session.run(&format!("info {key} --json")).ok().json();
    info.as_object_mut().unwrap().remove("used");
    info
}

#[track_caller]
pub(crate) fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap_or_else(|| panic!("{name} in {line}"))
}

/// The folder of a session's store.
pub(crate) fn root(session: &Shell) -> Utf8PathBuf {
    session.store()
}

/// The files of the blobs in a session's store, the largest first.
pub(crate) fn blob_files(session: &Shell) -> Vec<Utf8PathBuf> {
    session.blobs()
}

/// Damages a blob's file in a store.
pub(crate) fn flip(session: &Shell, at: usize) {
    let path = &blob_files(session)[at];
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
