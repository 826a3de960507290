//! Which generation of an index each client has.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use storekit::Digest;

use crate::wire::peer::Peer;

/// Clients of which it is remembered what they were given.
const CLIENTS: usize = 4096;

/// What was given last on each connection, by the client's end of it and the index's URL.
#[derive(Debug, Default)]
pub(crate) struct Given(Mutex<VecDeque<((Peer, String), Digest)>>);

impl Given {
    fn state(&self) -> MutexGuard<'_, VecDeque<((Peer, String), Digest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client has this generation now.
    pub(crate) fn give(&self, client: Peer, url: &str, digest: Digest) {
        let mut state = self.state();
        state.retain(|((it, at), _)| !(*it == client && at == url));
        state.push_front(((client, url.to_owned()), digest));
        state.truncate(CLIENTS);
    }

    /// The generation that the client has: what it was given on this connection, else on the last
    /// one from its address, behind which others may be, too.
    pub(crate) fn of(&self, client: Peer, url: &str) -> Option<Digest> {
        let state = self.state();
        let find = |is_it: &dyn Fn(&Peer) -> bool| {
            state.iter().find(|((it, at), _)| is_it(it) && at == url).map(|(_, digest)| *digest)
        };
        find(&|it| *it == client).or_else(|| find(&|it| it.host() == client.host()))
    }
}
