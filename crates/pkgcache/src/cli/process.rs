//! The server as a process: its threads, its signals, its end.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use storekit::Store;
use tokio::signal::unix::{Signal, SignalKind, signal};
use toolkit::Outcome;

use crate::cache::Cache;
use crate::config::Config;
use crate::ecosystem::Generic;
use crate::error::{Error, Result, chain};
use crate::observe::log;
use crate::server::Server;
use crate::server::event_counts::Minutes;

/// Serves until SIGTERM (`Yes`) or SIGINT (exit code 130), and then until what is under way is
/// done; a second one of them ends that at once (143 or 130). SIGHUP asks `reload` for another
/// configuration. The URL is written to `out` as soon as it answers.
///
/// # Errors
/// What keeps it from listening.
pub fn serve(
    mut config: Config,
    store: Store,
    reload: impl Fn() -> miette::Result<Config>,
    out: &mut impl Write,
) -> Result<Outcome> {
    keep_to_ourselves();
    let system = |doing| move |source| Error::System { doing, source };
    config.limits.connections = seats(config.limits.connections, open_files());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(32).build();
    let runtime = runtime.map_err(system("start the threads"))?;
    let secret = secret().map_err(system("read random bytes"))?;
    let cache = Arc::new(Cache::new(config, store, Box::new(Generic), &secret)?);
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let server = Server::bind(Arc::clone(&cache)).await?;
        let address = server.address()?;
        writeln!(out, "http://{address}").and_then(|()| out.flush()).map_err(Error::Output)?;
        let stop = server.stopper();
        let running = tokio::spawn(server.run());
        let mut minutes = Minutes::new(&cache);
        let outcome = tokio::select! {
            outcome = signals.until_stopped(&cache, reload) => outcome,
            () = minutes.run() => Outcome::Yes,
        };
        stop.stop();
        let outcome = tokio::select! {
            // A task that panicked has ended, too.
            _ = running => outcome,
            at_once = signals.again() => at_once,
        };
        drop(minutes);
        if let Some(access) = cache.access() {
            access.flush();
        }
        Ok(outcome)
    });
    // Lets tasks that were cut off take away their unfinished files.
    runtime.shutdown_timeout(LAST);
    outcome
}

/// So long the threads have at the very end.
const LAST: Duration = Duration::from_secs(1);

/// From now on no file of this process is for other users: bodies may be private, URLs may have
/// secrets in them. A umask that lets the group write says that the group shares the store; then
/// the group may go on.
fn keep_to_ourselves() {
    let old = umask(Mode::RWXG | Mode::RWXO);
    if !old.contains(Mode::WGRP) {
        umask(old | Mode::RWXO);
    }
}

/// What the process is told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|source| Error::System { doing: "listen to signals", source });
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn until_stopped(&mut self, cache: &Cache, reload: impl Fn() -> miette::Result<Config>) -> Outcome {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Outcome::Yes,
                _ = self.interrupt.recv() => return Outcome::Code(130),
                _ = self.hangup.recv() => hang_up(cache, reload()),
            }
        }
    }

    /// Waits for a second signal.
    async fn again(&mut self) -> Outcome {
        let code = tokio::select! {
            _ = self.terminate.recv() => 143,
            _ = self.interrupt.recv() => 130,
        };
        log::note("ended at once: what was under way was cut off");
        Outcome::Code(code)
    }
}

/// Takes up the settings as they are now, or says why the old ones stay.
fn hang_up(cache: &Cache, loaded: miette::Result<Config>) {
    let clamped = loaded.map(|mut config| {
        config.limits.connections = seats(config.limits.connections, open_files());
        config
    });
    match clamped.and_then(|config| Ok(cache.reconfigure(config)?)) {
        Ok(fixed) => {
            for name in fixed {
                log::warning(&format!("the new `{name}` holds only after a restart"));
            }
            log::note("the settings were read again");
        }
        Err(error) => {
            let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
            log::warning(&format!("the old settings stay: {}{help}", chain(error.as_ref())));
        }
    }
}

/// Lets the process have as many open files as it may, and says how many that is.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}

/// How many clients may be connected: where files are few, a quarter of them is left for what they
/// ask for.
fn seats(wanted: usize, files: u64) -> usize {
    wanted.min(usize::try_from(files - files / 4).unwrap_or(usize::MAX)).max(1)
}

/// 128 random bits in hex.
fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
