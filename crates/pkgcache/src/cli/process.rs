//! The server as a process: its threads, its signals, its end; what the library is lent of it.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use miette::Result;
use pkgcache::{Changes, Config, Control, Error, Outside, Server};
use rustix::fs::Mode;
use rustix::process::{Resource, getrlimit, umask};
use storekit::Store;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use toolkit::{Outcome, background, limits, net, output};

use crate::cli::systemd;

/// This process: messages go to stderr.
#[derive(Debug)]
pub(crate) struct Process;

impl Process {
    fn say(text: &str) {
        output::say(&format!("pkgcache: {text}"));
    }
}

impl Outside for Process {
    fn note(&self, text: &str) {
        Self::say(text);
    }

    fn warning(&self, text: &str) {
        Self::say(&format!("warning: {text}"));
    }

    fn stdout(&self) -> Box<dyn Write + Send> {
        Box::new(io::stdout())
    }

    fn authorities(&self) -> Vec<Vec<u8>> {
        let net::Authorities { certificates, problems } = net::authorities();
        for problem in problems {
            self.warning(&format!("some certificates of authorities cannot be read: {problem}"));
        }
        certificates
    }

    fn grown(&self, store: &Utf8Path) {
        if background::is_off(std::env::var(background::VARIABLE).ok().as_deref()) {
            return;
        }
        // Without gcctl, the store grows until somebody looks.
        let _ = background::collect(&background::beside("gcctl"), None, store);
    }
}

/// Serves until SIGTERM (`Yes`) or SIGINT (exit code 130), and then until what is under way is
/// done; a second one of them ends that at once (143 or 130). SIGHUP asks `reload` for another
/// configuration. Where it listens is written to `out` as soon as it answers: a URL, or
/// `unix:PATH`.
///
/// # Errors
/// What keeps it from listening.
pub(crate) fn serve(
    config: Config,
    store: Store,
    reload: impl Fn() -> Result<Config>,
    out: &mut impl Write,
) -> Result<Outcome> {
    let config = fitted(config);
    // Before there are threads: it takes what it finds out of the environment.
    let given = systemd::sockets()?;
    tell_of_others(&store);
    let runtime = threads()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let server = match given {
            given if given.is_empty() => Server::bind(config, store, Arc::new(Process)).await?,
            given => Server::take_over(config, store, Arc::new(Process), given)?,
        };
        for name in server.names() {
            writeln!(out, "{name}").map_err(Error::Output)?;
        }
        out.flush().map_err(Error::Output)?;
        systemd::ready();
        let control = server.control();
        let mut running = pin!(server.run());
        let outcome = tokio::select! {
            outcome = signals.until_stopped(&control, reload) => outcome,
            () = &mut running => Outcome::Yes,
        };
        control.stop();
        systemd::stopping();
        Ok(tokio::select! {
            () = running => outcome,
            at_once = signals.again() => at_once,
        })
    });
    // Lets tasks that were cut off take away their unfinished files.
    runtime.shutdown_timeout(LAST);
    outcome
}

/// The threads of a server.
pub(crate) fn threads() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread().enable_all().max_blocking_threads(32).build();
    Ok(runtime.map_err(|source| Error::System { doing: "start the threads", source })?)
}

/// So long the threads have at the very end.
pub(crate) const LAST: Duration = Duration::from_secs(1);

/// From now on the files of this process are not for other users: bodies may be private, URLs may
/// contain secrets. A umask that lets the group write says that the group shares the store; then
/// the group may go on. Returns the umask that was.
pub(crate) fn keep_to_ourselves() -> Mode {
    let old = umask(Mode::RWXG | Mode::RWXO);
    if !old.contains(Mode::WGRP) {
        umask(old | Mode::RWXO);
    }
    old
}

/// Says so where other users can read what is stored. Folders that are there already keep their
/// modes: somebody may have meant it.
fn tell_of_others(store: &Store) {
    let folder = store.packages().folder();
    let is_open = |folder: &Utf8Path| {
        std::fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005)
    };
    if is_open(store.root()) && is_open(&folder) {
        let text =
            format!("all users of this machine can read what is stored; `chmod o= {folder}` ends that");
        Process.warning(&text);
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

    async fn until_stopped(&mut self, control: &Control, reload: impl Fn() -> Result<Config>) -> Outcome {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Outcome::Yes,
                _ = self.interrupt.recv() => return Outcome::Code(130),
                _ = self.hangup.recv() => hang_up(control, reload()),
            }
        }
    }

    /// Waits for a second signal.
    async fn again(&mut self) -> Outcome {
        let code = tokio::select! {
            _ = self.terminate.recv() => 143,
            _ = self.interrupt.recv() => 130,
        };
        Process.note("ended at once: what was under way was cut off");
        Outcome::Code(code)
    }
}

/// Takes up the settings as they are now, or says why the old ones stay.
fn hang_up(control: &Control, loaded: Result<Config>) {
    systemd::reloading();
    match loaded.and_then(|config| Ok(control.reconfigure(fitted(config))?)) {
        Ok(Changes { taken, fixed }) => {
            for name in fixed {
                Process.warning(&format!("the new `{name}` holds only after a restart"));
            }
            let what = if taken.is_empty() { "nothing that holds now".to_owned() } else { taken.join(", ") };
            Process.note(&format!("the settings were read again; changed: {what}"));
        }
        Err(error) => {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
            Process.warning(&format!("the old settings stay: {}{help}", causes.join(": ")));
        }
    }
    systemd::ready();
}

/// The configuration with no more clients than there are files for: where files are few, a quarter
/// of them is left for what clients ask for.
pub(crate) fn fitted(mut config: Config) -> Config {
    limits::raise_open_files();
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(files - files / 4).unwrap_or(usize::MAX);
    config.limits.connections = config.limits.connections.min(most).max(1);
    config
}

/// Explains what becomes of a request.
///
/// # Errors
/// As [`pkgcache::commands::why`].
pub(crate) fn why(
    config: Config,
    store: Store,
    url: &str,
    console: &mut pkgcache::commands::Console<'_>,
) -> Result<Outcome> {
    let runtime = threads()?;
    Ok(runtime.block_on(pkgcache::commands::why(config, store, Arc::new(Process), url, console))?)
}
