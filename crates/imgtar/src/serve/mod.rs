//! The store as an OCI distribution registry: pull and push for docker, podman, skopeo, containerd and BuildKit.
//!
//! - `route`, `range`, `agent`, `names`, `guard`: what a request says; pure.
//! - `stock`, `doc`: what the store holds, as a registry sees it. `facts`: what was proved of its blobs.
//! - `blobs`, `stream`, `uploads`: blobs out and in. `manifests`, `document`, `push`, `offers`: manifests out and in. `lists`.
//! - `connection`, `patient`, `dispatch`: HTTP itself, on hyper.
//!
//! Deliberately absent: TLS (a proxy's job), users, repositories as anything but names of images, digests other than
//! SHA-256. No file's path is made of what a request says, but of digests and keys, which only valid text makes.
//!
//! Source: OCI distribution-spec v1.1.

mod agent;
mod answer;
mod app;
mod blobs;
mod connection;
mod dispatch;
mod doc;
mod document;
mod facts;
mod fault;
mod grace;
mod guard;
mod lists;
mod manifests;
mod names;
mod offers;
mod patient;
mod push;
mod range;
mod route;
mod stock;
mod stream;
mod uploads;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use storekit::Store;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::serve::app::App;
pub use crate::serve::names::KEYS;

/// Is told what the server does.
pub trait Listener: Send + Sync {
    /// Something went wrong that a client is told of in general words only.
    fn trouble(&self, message: &str);
    /// A request was answered: its method, path, status, milliseconds, client.
    fn request(&self, line: &str);
}

/// Nobody.
impl Listener for () {
    fn trouble(&self, _: &str) {}
    fn request(&self, _: &str) {}
}

/// How a registry is served.
#[derive(Clone)]
pub struct Config {
    /// Where. Port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Whether an address other than loopback is meant. It needs a token.
    pub allow_remote: bool,
    /// What clients must send, as a bearer's token or as a password.
    pub token: Option<String>,
    /// Whether nothing may be pushed or removed.
    pub read_only: bool,
    /// Whether a blob is read through before a client is told that it is there. Without, its length must do; what is
    /// sent is verified either way.
    pub prove: bool,
    /// How many connections there may be at a time; others wait.
    pub connections: usize,
    /// How many blobs are kept from collectors at a time for clients in the middle of something; each is an open file.
    pub leases: usize,
    /// Is told what happens.
    pub listener: Arc<dyn Listener>,
}

impl Config {
    /// A registry on an address, as careful as can be.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
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
    /// An address that is not loopback, without leave or token; one that cannot be had; I/O errors of the store.
    pub fn bind(store: &Store, config: &Config) -> Result<Self> {
        let guarded = config.allow_remote && config.token.is_some();
        if !config.listen.ip().is_loopback() && !guarded {
            let help = if config.allow_remote {
                "give a token too: `--token-file FILE`, or LARDER_SERVE_TOKEN"
            } else {
                "listen on 127.0.0.1, or give `--allow-remote` and a token"
            };
            let message = format!("`{}` can be reached from other machines", config.listen);
            return Err(Error::Usage { message, help });
        }
        if config.token.as_ref().is_some_and(|token| token.trim().len() < 8) {
            return Err(Error::Usage {
                message: "the token is too short".to_owned(),
                help: "take at least 8 characters that nobody guesses",
            });
        }
        store.images().prepare()?;
        // What a killed server left of its uploads is of no use to anybody; what living ones write is locked.
        store.images().sweep_unfinished()?;
        let taken = |source| Error::Listen { address: config.listen.to_string(), source };
        let listener = TcpListener::bind(config.listen).map_err(taken)?;
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

    /// Serves until `end` is done; then lets the requests that are being answered come to an end, for ten seconds.
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
