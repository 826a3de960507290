//! `record`, and `run --record`: a command with an address of its own, so that what it fetched is
//! told apart from what others fetch at the same time.
//!
//! The address belongs to this process as long as the command runs. Whoever serves the store
//! answers there: this process, or another one that is lent it; when that one ends, the next.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use miette::{IntoDiagnostic, Result, WrapErr};
use pkgcache::{Config, Control, Listen, Record, Replayed, Server};
use storekit::{Fetched, Store};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::cli::beside::instance::Instance;
use crate::cli::beside::lobby::Loan;
use crate::cli::process::Process;

/// Another process that serves is looked for no longer than this.
const SOON: Duration = Duration::from_secs(3);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(20);
/// More time than the process that serves takes to tell.
const SLACK: Duration = Duration::from_secs(2);

/// An address at which nobody answers yet.
#[derive(Debug)]
pub(crate) struct Booth {
    listener: TcpListener,
    address: SocketAddr,
}

impl Booth {
    /// The one that a command of this name has in this store, unless that is taken.
    pub(crate) fn open(store: &Store, name: &str) -> Result<Self> {
        let own = Instance::of(store)?.ports_of(name);
        let bound = own.chain([0]).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        let listener = bound.ok_or_else(|| miette::miette!("cannot listen on 127.0.0.1"))?;
        let address = listener.local_addr().into_diagnostic().wrap_err("cannot name the socket")?;
        Ok(Self { listener, address })
    }

    /// Answers here with what a record names.
    pub(crate) fn replay(self, config: Config, store: Store, replayed: Replayed) -> Result<Server> {
        Ok(Server::replaying(self.listener, config, store, Arc::new(Process), replayed)?)
    }

    /// Where the command finds the cache.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What a command fetches, while it runs.
pub(crate) struct Recording {
    end: oneshot::Sender<Duration>,
    running: JoinHandle<Record>,
}

impl Recording {
    /// From now on. `controls` says when this process serves; `config` is that of a server of its
    /// own, where none can be had.
    pub(crate) fn begin(
        booth: Booth,
        controls: watch::Receiver<Option<Control>>,
        config: Config,
        store: Store,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        let keeper = Keeper { listener: booth.listener, controls, config, store, own: None };
        Self { end, running: tokio::spawn(keeper.keep(ended)) }
    }

    /// What it was given. What is being stored is waited for no longer than `patience`.
    pub(crate) async fn end(self, patience: Duration) -> Record {
        // One that has ended already has told what it knew.
        let _ = self.end.send(patience);
        tokio::time::timeout(patience + 2 * SLACK, self.running)
            .await
            .ok()
            .and_then(std::result::Result::ok)
            .unwrap_or_else(Record::lost)
    }
}

/// Sees to it that somebody answers at the address.
struct Keeper {
    listener: TcpListener,
    controls: watch::Receiver<Option<Control>>,
    config: Config,
    store: Store,
    /// A server of this command's alone.
    own: Option<Control>,
}

impl Keeper {
    async fn keep(mut self, mut ended: oneshot::Receiver<Duration>) -> Record {
        let mut all = Record::default();
        let mut alone_since = None;
        loop {
            let serving = self.own.clone().or_else(|| self.controls.borrow_and_update().clone());
            let (record, is_over) = match serving {
                Some(control) => self.serve(&control, &mut ended).await,
                None => match self.lend().await {
                    Some(loan) => {
                        alone_since = None;
                        watch(loan, &mut ended).await
                    }
                    None if alone_since.get_or_insert_with(Instant::now).elapsed() > SOON => {
                        self.own = self.start().await;
                        (Record::default(), false)
                    }
                    None => (Record::default(), self.look_again(&mut ended).await),
                },
            };
            all = all.and(record);
            if is_over {
                return all;
            }
        }
    }

    /// Answers here, to the command's end or the server's.
    async fn serve(&self, control: &Control, ended: &mut oneshot::Receiver<Duration>) -> (Record, bool) {
        let Some(entrance) = self.listener.try_clone().ok().and_then(|own| control.entrance(own).ok()) else {
            return (Record::default(), self.look_again(ended).await);
        };
        tokio::select! {
            patience = ended => (entrance.close(patience.unwrap_or_default()).await, true),
            () = entrance.ended() => (entrance.close(SLACK).await, false),
        }
    }

    /// Lends the address to whoever serves.
    async fn lend(&self) -> Option<Loan> {
        let lobby = Instance::of(&self.store).ok()?.note()?.lobby?;
        Loan::give(&self.listener, &lobby).await.ok()
    }

    /// Waits for a moment. Whether the command has ended.
    async fn look_again(&self, ended: &mut oneshot::Receiver<Duration>) -> bool {
        tokio::select! {
            _ = ended => true,
            () = sleep(LOOK) => false,
        }
    }

    /// A server of its own, where no other can be had.
    async fn start(&self) -> Option<Control> {
        let config = Config { listen: Listen::local(0), ..self.config.clone() };
        let server = Server::bind(config, self.store.clone(), Arc::new(Process)).await.ok()?;
        let control = server.control();
        tokio::spawn(server.run());
        Some(control)
    }
}

/// What comes in at a lent address, to the command's end or the server's.
async fn watch(mut loan: Loan, ended: &mut oneshot::Receiver<Duration>) -> (Record, bool) {
    tokio::select! {
        patience = ended => (loan.take_back(patience.unwrap_or_default() + SLACK).await, true),
        record = loan.ended() => (record, false),
    }
}

/// A record that was asked for is hardly meant to have nothing in it.
pub(crate) fn warn_if_empty(record: &Record) {
    if record.objects.is_empty() {
        toolkit::output::say(
            "pkgcache: warning: the record is empty: the command fetched nothing, or went past the cache; \
             `pkgcache env` shows what leads clients here",
        );
    }
}

/// The file. See storekit's FORMAT.md. `is_complete`: nothing that the command did was left to a
/// cache of an engine's.
pub(crate) fn text(record: Record, is_complete: bool) -> String {
    let complete = is_complete && !record.is_partial;
    Fetched::new(record.objects, record.left_out, complete).to_text()
}
