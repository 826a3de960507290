//! What a service manager such as systemd gives to the server, and is told by it.
//!
//! Sources: `sd_listen_fds(3)`, `sd_notify(3)`. Where the process was not started so, nothing is
//! there and nobody is told.

use std::io;

use listenfd::ListenFd;
use pkgcache::{Error, Inherited};
use sd_notify::NotifyState;

/// The sockets that the process was given (`LISTEN_FDS`, `LISTEN_PID`). No program that it starts
/// has them, too. To be called once, while there is one thread.
///
/// # Errors
/// What is not a socket on which connections come.
pub(crate) fn sockets() -> Result<Vec<Inherited>, Error> {
    let mut given = ListenFd::from_env();
    (0..given.len()).filter_map(|place| socket(&mut given, place).transpose()).collect()
}

fn socket(given: &mut ListenFd, place: usize) -> Result<Option<Inherited>, Error> {
    let net = given.take_tcp_listener(place).map(|it| it.map(Inherited::Net));
    let found = net.or_else(|_| given.take_unix_listener(place).map(|it| it.map(Inherited::Unix)));
    found.map_err(|source| Error::System { doing: "use a socket that the process was given", source })
}

/// The server answers.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The settings are being read again; [`ready`] ends it.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The server ends as soon as what is under way is done.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // A manager that does not listen waits for nothing, either.
    let _: io::Result<()> = sd_notify::notify(state);
}
