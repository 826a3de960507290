//! Places of every kind, and an image with all that can be noted with it.

use std::process::Command;

use camino::Utf8PathBuf;
use larder_tests::others::rclone::{ACCESS_KEY, SECRET_KEY};
use larder_tests::{DockerRegistry, Part, Ran, Rclone, Session as Shell, have};
use serde_json::Value;

use crate::kit::registry::Registry;
use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};
use crate::network::registries::noise;

/// A place, and what keeps it running.
pub(crate) struct Scene {
    pub(crate) place: String,
    /// Where its files are.
    pub(crate) files: Session,
    running: Running,
}

#[expect(dead_code, reason = "held while it runs")]
enum Running {
    Nothing,
    Registry(DockerRegistry),
    Serve(Registry),
    Bucket(Rclone),
}

impl Scene {
    pub(crate) fn store() -> Self {
        let files = Session::new();
        Self { place: format!("store:{}", root(&files)), files, running: Running::Nothing }
    }

    /// Debian's registry, which deletes what it is asked to; nothing where it is not there.
    pub(crate) fn registry() -> Option<Self> {
        let files = Session::new();
        if !have(&[Part::Registry]) {
            return None;
        }
        let real = DockerRegistry::start_deleting(&files.aside("registry"));
        Some(Self {
            place: format!("registry:{}/team/cache", real.host()),
            files,
            running: Running::Registry(real),
        })
    }

    /// `imgtar serve`.
    pub(crate) fn serve() -> Self {
        let files = Session::new();
        let registry = files.serve("");
        let place = format!("registry:{}/team/cache", registry.address);
        Self { place, files, running: Running::Serve(registry) }
    }

    /// An object store; nothing where it is not there.
    pub(crate) fn bucket() -> Option<Self> {
        let files = Session::new();
        if !have(&[Part::Rclone]) {
            return None;
        }
        let rclone = Rclone::start(&files.aside("buckets"));
        let place = format!("s3:{}/team", rclone.url());
        Some(Self { place, files, running: Running::Bucket(rclone) })
    }

    /// One of each kind that this machine can have.
    pub(crate) fn each() -> Vec<Self> {
        let mut scenes = vec![Self::store(), Self::serve()];
        scenes.extend(Self::registry());
        scenes.extend(Self::bucket());
        scenes
    }

    /// The object store, started anew: it sees what changed in its folder.
    pub(crate) fn restarted(mut self) -> Self {
        self.running = Running::Nothing;
        let rclone = Rclone::start(&self.files.aside("buckets"));
        self.place = format!("s3:{}/team", rclone.url());
        self.running = Running::Bucket(rclone);
        self
    }

    /// Where an object of the bucket is on disk.
    pub(crate) fn object(&self, name: &str) -> Utf8PathBuf {
        match &self.running {
            Running::Bucket(rclone) => rclone.object(&format!("team/{name}")),
            _ => panic!("not an object store"),
        }
    }

    /// A command with `--tier`, and the credentials for it.
    pub(crate) fn command(&self, session: &Session, words: &str) -> Command {
        let mut command = session.command(&format!("{words} --tier {}", self.place));
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command
    }

    /// What a command with `--tier` gives.
    #[track_caller]
    pub(crate) fn run(&self, session: &Session, words: &str) -> Ran {
        Ran::of(&mut self.command(session, words))
    }
}

pub(crate) const INPUTS: &str = "hashctx manifest 1\nfile 00  a\n";

/// An image of two layers under `k`, with notes.
pub(crate) fn saved(session: &Session) {
    let archive = docker("app:1", &[&noise(11), &layer("top", "a small layer")]).end();
    session.write("inputs", INPUTS);
    let notes = "--build-seconds 93 --manifest inputs --image app --host build-3 --commit 5aad80c+ --project git.example/team/app";
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

/// Damages a file without a change of its size.
pub(crate) fn flip(path: &Utf8PathBuf) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
