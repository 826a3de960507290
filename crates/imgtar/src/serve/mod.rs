//! The store as an OCI distribution registry: pull and push for docker, podman, skopeo, containerd
//! and BuildKit.
//!
//! - `route`, `range`, `agent`, `names`, `guard`: what a request says; pure.
//! - `connection`, `patient`, `dispatch`, `answer`, `fault`: HTTP itself, on hyper.
//! - `handlers`: what each kind of request does. `stored_manifest`, `pushed_manifest`: manifests
//!   out and in, read.
//! - `state`: what requests share: the store as a registry sees it, and what was proved of its
//!   blobs.
//!
//! Deliberately absent: TLS (a proxy's job), users, repositories as anything but names of images,
//! digests other than SHA-256. No file's path is made of what a request says, but of digests and
//! keys, which only valid text makes.
//!
//! Source: OCI distribution-spec v1.1.

mod agent;
mod answer;
mod connection;
mod dispatch;
mod fault;
mod guard;
pub mod handlers;
mod names;
mod patient;
mod pushed_manifest;
mod range;
mod route;
pub mod state;
mod stored_manifest;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use storekit::Store;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
pub use crate::serve::names::KEYS;
use crate::serve::state::app::App;

/// Is told what the server does.
pub trait Listener: Send + Sync {
    /// Something went wrong that a client is told of in general words only.
    fn trouble(&self, message: &str);
    /// A request was answered: its method, path, status, milliseconds, client.
    fn request(&self, line: &str);
}

/// Ignores all messages.
impl Listener for () {
    fn trouble(&self, _: &str) {}
    fn request(&self, _: &str) {}
}

/// How a registry is served.
#[derive(Clone)]
pub struct Config {
    /// Where: the first of these addresses that this machine has. Port 0 takes any that is free.
    pub listen: Vec<SocketAddr>,
    /// Whether an address other than loopback is meant. It needs a token.
    pub allow_remote: bool,
    /// What clients must send, as a bearer's token or as a password.
    pub token: Option<String>,
    /// Whether nothing may be pushed or removed.
    pub read_only: bool,
    /// Whether a blob is read through before a client is told that it is there. Without, its length
    /// must do; what is sent is verified either way.
    pub prove: bool,
    /// How many connections there may be at a time; others wait.
    pub connections: usize,
    /// How many blobs are kept from collectors at a time for clients in the middle of something;
    /// each is an open file.
    pub leases: usize,
    /// Is told what happens.
    pub listener: Arc<dyn Listener>,
}

impl Config {
    /// A registry on one of these addresses, as careful as can be.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            allow_remote: false,
            token: None,
            read_only: false,
            prove: true,
            connections: 128,
            leases: 512,
            listener: Arc::new(()),
        }
    }
}

/// A registry that has its address.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    connections: usize,
}

impl Server {
    /// Takes the address. Clients can connect from now on, and wait until [`Server::run`].
    ///
    /// # Errors
    /// An address that is not loopback, without `allow_remote` or a token; an address that is in
    /// use, or that this machine does not have; I/O errors of the store.
    pub fn bind(store: &Store, config: &Config) -> Result<Self> {
        let guarded = config.allow_remote && config.token.is_some();
        let reached = config.listen.iter().find(|address| !address.ip().is_loopback());
        if let Some(reached) = reached.filter(|_| !guarded) {
            let help = if config.allow_remote {
                "give a token too: `--token-file FILE`, or LARDER_SERVE_TOKEN"
            } else {
                "listen on 127.0.0.1, or give `--allow-remote` and a token"
            };
            let message = format!("`{reached}` can be reached from other machines");
            return Err(Error::Usage { message, help });
        }
        if config.token.as_ref().is_some_and(|token| token.trim().len() < 8) {
            return Err(Error::Usage {
                message: "the token is too short".to_owned(),
                help: "use at least 8 characters that are hard to guess",
            });
        }
        store.images().prepare()?;
        // Uploads that a killed server left behind are useless; those of a running one are locked.
        store.images().sweep_unfinished()?;
        let addresses: Vec<_> = config.listen.iter().map(SocketAddr::to_string).collect();
        let taken = |source| Error::Listen { address: addresses.join("` or `"), source };
        let listener = listen(&config.listen).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let app = Arc::new(App::new(store.clone(), config));
        Ok(Self { app, listener, address, connections: config.connections.max(1) })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `end` is done; then lets the requests that are being answered come to an end,
    /// for ten seconds.
    ///
    /// # Errors
    /// When the threads cannot be had.
    pub fn run(self, end: impl Future<Output = ()>) -> Result<()> {
        let runtime = self.runtime()?;
        runtime.block_on(connection::serve(self.app, self.listener, self.connections, end))?;
        // What still reads a file for a client that has gone notices at its next chunk.
        runtime.shutdown_background();
        Ok(())
    }

    /// Serves on a thread of its own until the returned value is dropped.
    ///
    /// # Errors
    /// When the threads cannot be had.
    pub fn spawn(self) -> Result<Running> {
        let (stop, stopped) = oneshot::channel::<()>();
        let address = self.address;
        let work = move || {
            let app = Arc::clone(&self.app);
            // A dropped sender means stop, too.
            let end = async move { drop(stopped.await) };
            if let Err(error) = self.run(end) {
                app.trouble(&error.to_string());
            }
        };
        let thread = std::thread::Builder::new().name("registry".to_owned()).spawn(work);
        let thread = thread.map_err(|source| Error::Listen { address: address.to_string(), source })?;
        Ok(Running { address, stop: Some(stop), thread: Some(thread) })
    }

    fn runtime(&self) -> Result<Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(2, |count| count.get().min(4)))
            // A thread for each connection's reading, and some for the rest.
            .max_blocking_threads(self.connections * 2 + 16)
            .thread_keep_alive(std::time::Duration::from_secs(5))
            .enable_all()
            .build()
            .map_err(|source| Error::Listen { address: self.address.to_string(), source })
    }
}

/// Listens on the first address that this machine has. Where another process listens on it, the
/// next one is not tried: a client that uses the name may reach either.
fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let no_family = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => failed = error,
            Err(error) if error.raw_os_error() == no_family => failed = error,
            bound => return bound,
        }
    }
    Err(failed)
}

/// A registry on a thread of its own.
#[must_use = "the registry ends when this is dropped"]
pub struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(listen: &[&str], token: Option<&str>) -> Result<SocketAddr> {
        let dir = tempfile::tempdir().unwrap();
        let root = camino::Utf8Path::from_path(dir.path()).unwrap().join("store");
        let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        let token = token.map(str::to_owned);
        let config = Config { allow_remote: token.is_some(), token, ..Config::new(listen) };
        Server::bind(&Store::open_or_create(&root).unwrap(), &config).map(|server| server.address())
    }

    #[test]
    fn the_first_address_that_the_machine_has_is_taken() {
        let found = bind(&["192.0.2.1:0", "127.0.0.1:0"], Some("a-long-secret")).unwrap();
        assert!(found.ip().is_loopback());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        let error = bind(&[&taken, "127.0.0.1:0"], None).unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on `{taken}` or `127.0.0.1:0`"));
        assert!(bind(&[], None).is_err());
    }

    #[test]
    fn none_of_its_addresses_may_be_reached_without_a_token() {
        for listen in [&["127.0.0.1:0", "192.0.2.1:0"][..], &["192.0.2.1:0", "[::1]:0"], &["[::]:0"]] {
            let error = bind(listen, None).unwrap_err().to_string();
            assert!(error.contains("can be reached from other machines"), "{error}");
        }
    }
}
