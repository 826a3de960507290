//! The private server of a store: its port, which stays the same, and the process that has it now.
//!
//! `packages/server.toml` has both; that process holds its lock (`flock`), so that the lock ends
//! with it, however that ends.

use std::fs::{self, File};
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use miette::{IntoDiagnostic, Result, WrapErr};
use pkgcache::Config;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use storekit::files::{lock, replace};
use storekit::{Digest, Store};

/// The version of the file.
const VERSION: u64 = 1;
/// Ports of one's own are chosen among these: below those that the system hands out by itself.
const FIRST: u16 = 20_000;
const PORTS: u16 = 10_000;
/// So many are tried where others are taken.
const TRIES: u16 = 50;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    version: u64,
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// The digest of the settings that the server has.
    pub(crate) settings: Digest,
    /// The name of the abstract socket at which it is lent addresses of other commands'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lobby: Option<String>,
}

/// The store's file, opened.
#[derive(Debug)]
pub(crate) struct Instance {
    path: Utf8PathBuf,
    file: File,
}

impl Instance {
    /// Of this store.
    pub(crate) fn of(store: &Store) -> Result<Self> {
        let packages = store.packages();
        packages.prepare()?;
        let path = packages.folder().join("server.toml");
        let file = lock::open(&path, 0o600);
        let file = file.into_diagnostic().wrap_err_with(|| format!("cannot open `{path}`"))?;
        Ok(Self { path, file })
    }

    /// Takes the lock, unless another process has it.
    pub(crate) fn try_lock(&self) -> bool {
        rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// Waits for the lock: until the process that serves has ended.
    pub(crate) fn lock(&self) -> bool {
        loop {
            match rustix::fs::flock(&self.file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                locked => return locked.is_ok(),
            }
        }
    }

    /// What the file says; `None` where nothing can be made of it.
    pub(crate) fn note(&self) -> Option<Note> {
        let mut text = String::new();
        replace::open_regular(&self.path).ok()??.take(4096).read_to_string(&mut text).ok()?;
        toml::from_str(&text).ok().filter(|note: &Note| note.version == VERSION)
    }

    /// Writes what holds from now on. Only the process that has the lock does.
    pub(crate) fn write(&self, port: u16, settings: Digest, lobby: Option<String>) -> Result<()> {
        let note = Note { version: VERSION, port, settings, lobby };
        let text = toml::to_string(&note).into_diagnostic()?;
        // In place: the lock is the file's, and another file in its place would have none.
        let written = self.file.set_len(0).and_then(|()| {
            use std::io::Write;
            (&self.file).write_all(text.as_bytes())
        });
        written.into_diagnostic().wrap_err_with(|| format!("cannot write `{}`", self.path))
    }

    /// The ports to be tried, the one that the store had before first.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let known = self.note().map(|note| note.port);
        known.into_iter().chain(own_ports(&self.path, ""))
    }

    /// The ports to be tried for a command of this name: the same each time, since clients key
    /// their caches by URL.
    pub(crate) fn ports_of(&self, name: &str) -> impl Iterator<Item = u16> + use<> {
        own_ports(&self.path, &format!("\n{name}"))
    }
}

/// The ports that a store, or a command with it, has by its place.
fn own_ports(path: &Utf8Path, name: &str) -> impl Iterator<Item = u16> + use<> {
    let own = own_port(path, name);
    (0..TRIES).map(move |step| FIRST + (own - FIRST + step) % PORTS)
}

fn own_port(path: &Utf8Path, name: &str) -> u16 {
    let path =
        fs::canonicalize(path).map_or_else(|_| path.to_string(), |it| it.to_string_lossy().into_owned());
    let hex: String = Digest::of(format!("{path}{name}").as_bytes()).hex().chars().take(8).collect();
    let number = u32::from_str_radix(&hex, 16).unwrap_or_default() % u32::from(PORTS);
    FIRST + u16::try_from(number).unwrap_or_default()
}

/// What tells whether two processes serve the same.
pub(crate) fn settings(config: &Config) -> Digest {
    let config = Config { listen: Config::default().listen, ..config.clone() };
    Digest::of(format!("{config:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_store_keeps_its_port() {
        let (_dir, store) = store();
        let instance = Instance::of(&store).unwrap();
        let first: Vec<_> = instance.ports().collect();
        assert!(first.iter().all(|port| (FIRST..FIRST + PORTS).contains(port)), "{first:?}");
        assert_eq!((first.len(), instance.note()), (usize::from(TRIES), None));
        let settings = Digest::of(b"x");
        instance.write(1234, settings, None).unwrap();
        instance.write(1235, settings, Some("x".to_owned())).unwrap();
        let again = Instance::of(&store).unwrap();
        assert_eq!(again.note().unwrap(), Note { version: 1, port: 1235, settings, lobby: Some("x".into()) });
        assert_eq!(again.ports().next(), Some(1235));
    }

    #[test]
    fn a_command_keeps_its_port_too() {
        let (_dir, store) = store();
        let instance = Instance::of(&store).unwrap();
        let ports = |name: &str| instance.ports_of(name).collect::<Vec<_>>();
        assert_eq!(ports("app"), ports("app"));
        assert!(ports("app")[0] != ports("web")[0] && ports("app")[0] != instance.ports().next().unwrap());
    }

    #[test]
    fn a_file_of_before_says_nothing_of_a_lobby() {
        let (_dir, store) = store();
        let instance = Instance::of(&store).unwrap();
        let settings = Digest::of(b"x");
        let text = format!("version = 1\nport = 1234\nsettings = \"{settings}\"\n");
        std::io::Write::write_all(&mut &instance.file, text.as_bytes()).unwrap();
        assert_eq!(instance.note().unwrap(), Note { version: 1, port: 1234, settings, lobby: None });
    }

    #[test]
    fn one_process_serves_a_store() {
        let (_dir, store) = store();
        let (one, other) = (Instance::of(&store).unwrap(), Instance::of(&store).unwrap());
        assert!(one.try_lock() && !other.try_lock());
        drop(one);
        assert!(other.lock());
    }

    #[test]
    fn other_upstreams_are_other_settings() {
        let config = Config::default();
        let moved = Config { listen: pkgcache::Listen::local(9), ..config.clone() };
        let offline = Config { offline: true, ..config.clone() };
        assert_eq!(settings(&config), settings(&moved));
        assert_ne!(settings(&config), settings(&offline));
    }
}
