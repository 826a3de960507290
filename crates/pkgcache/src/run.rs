//! The server as a process: its threads, its signals, its end.

use std::io::{Read, Write};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use storekit::Store;
use tokio::signal::unix::{Signal, SignalKind, signal};
use toolkit::Outcome;

use crate::cache::Cache;
use crate::classify::Generic;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::log;
use crate::minutes::Minutes;
use crate::serve::Server;

/// Serves until SIGTERM (`Yes`) or SIGINT (exit code 130); SIGHUP asks `reload` for another configuration. The URL is
/// written to `out` as soon as it answers.
///
/// # Errors
/// What keeps it from listening.
pub fn serve(
    mut config: Config,
    store: Store,
    reload: impl Fn() -> miette::Result<Config>,
    out: &mut impl Write,
) -> Result<Outcome> {
    let system = |doing| move |source| Error::System { doing, source };
    config.limits.connections = seats(config.limits.connections, open_files());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(32).build();
    let runtime = runtime.map_err(system("start the threads"))?;
    let secret = secret().map_err(system("read random bytes"))?;
    let cache = Arc::new(Cache::new(config, store, Box::new(Generic), &secret)?);
    let outcome = runtime.block_on(async {
        let signals = Signals::listen()?;
        let server = Server::bind(Arc::clone(&cache), &secret).await?;
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
        // A task that panicked has ended, too.
        let _ = running.await;
        drop(minutes);
        if let Some(access) = cache.access() {
            access.flush();
        }
        Ok(outcome)
    });
    runtime.shutdown_background();
    outcome
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

    async fn until_stopped(mut self, cache: &Cache, reload: impl Fn() -> miette::Result<Config>) -> Outcome {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Outcome::Yes,
                _ = self.interrupt.recv() => return Outcome::Code(130),
                _ = self.hangup.recv() => {
                    let changed = reload().and_then(|config| Ok(cache.reconfigure(config)?));
                    if let Err(error) = changed {
                        log::warning(&format!("the old configuration stays: {error}"));
                    }
                }
            }
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

/// How many clients may be connected: where files are few, a quarter of them is left for what they ask for.
fn seats(wanted: usize, files: u64) -> usize {
    wanted.min(usize::try_from(files - files / 4).unwrap_or(usize::MAX)).max(1)
}

/// 128 random bits in hex.
fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
