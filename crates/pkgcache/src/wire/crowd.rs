//! How much one client, and one mount, may have of the server at a time.
//!
//! Limit: what takes the short way to the store is not counted for its mount; it costs no upstream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::wire::peer::Host;

/// A request waits so long for its turn at a mount.
const PATIENCE: Duration = Duration::from_secs(10);

/// The places that are taken.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    clients: Arc<Mutex<HashMap<Host, usize>>>,
    mounts: Mutex<HashMap<String, Mount>>,
}

/// The places at a mount.
#[derive(Debug)]
struct Mount {
    most: usize,
    free: Arc<Semaphore>,
}

/// A client's place for a connection, as long as that lasts.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Mutex<HashMap<Host, usize>>>,
    host: Host,
}

/// How a client comes in.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It has no more connections than it may have.
    Welcome(Place),
    /// It has all that it may have: it is told so.
    Crowded(Place),
    /// So many of its connections are being told so that this one is just closed.
    Closed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crowd {
    /// Lets a connection of this client in, of which it may have `most`.
    pub(crate) fn enter(&self, host: Host, most: usize) -> Entry {
        let mut clients = lock(&self.clients);
        let has = clients.entry(host).or_insert(0);
        if *has >= most.saturating_mul(2) {
            return Entry::Closed;
        }
        *has += 1;
        let place = Place { clients: Arc::clone(&self.clients), host };
        if *has <= most { Entry::Welcome(place) } else { Entry::Crowded(place) }
    }

    /// Waits for a place at the mount of this upstream, which has `most`. `None` where none came
    /// free in time.
    pub(crate) async fn turn(&self, upstream: &str, most: usize) -> Option<OwnedSemaphorePermit> {
        self.turn_within(PATIENCE, upstream, most).await
    }

    async fn turn_within(
        &self,
        patience: Duration,
        upstream: &str,
        most: usize,
    ) -> Option<OwnedSemaphorePermit> {
        timeout(patience, self.mount(upstream, most).acquire_owned()).await.ok()?.ok()
    }

    fn mount(&self, upstream: &str, most: usize) -> Arc<Semaphore> {
        let mut mounts = lock(&self.mounts);
        let new = || Mount { most, free: Arc::new(Semaphore::new(most)) };
        let mount = mounts.entry(upstream.to_owned()).or_insert_with(new);
        if mount.most != most {
            // Another number was set; what is under way ends by the old one.
            *mount = new();
        }
        Arc::clone(&mount.free)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = lock(&self.clients);
        if let Some(has) = clients.get_mut(&self.host) {
            *has -= 1;
            if *has == 0 {
                clients.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_others_have_theirs() {
        let (crowd, one, other) = (Crowd::default(), Host::User(1), Host::User(2));
        let enter = |host| crowd.enter(host, 2);
        let (first, second) = (enter(one), enter(one));
        assert!(matches!((&first, &second), (Entry::Welcome(_), Entry::Welcome(_))));
        let told = (enter(one), enter(one));
        assert!(matches!(told, (Entry::Crowded(_), Entry::Crowded(_))));
        assert!(matches!(enter(one), Entry::Closed));
        assert!(matches!(enter(other), Entry::Welcome(_)));
        drop(told);
        assert!(matches!(enter(one), Entry::Crowded(_)));
        drop(first);
        assert!(matches!(enter(one), Entry::Welcome(_)));
        drop(second);
        assert!(lock(&crowd.clients).is_empty(), "no client is remembered that has gone");
    }

    #[tokio::test]
    async fn a_request_waits_for_its_turn() {
        let crowd = Crowd::default();
        let first = crowd.turn("a", 1).await;
        assert!(first.is_some() && crowd.turn("b", 1).await.is_some());
        assert!(crowd.turn_within(Duration::ZERO, "a", 1).await.is_none());
        let (next, ()) = tokio::join!(crowd.turn("a", 1), async { drop(first) });
        assert!(next.is_some());
        assert!(crowd.turn("a", 2).await.is_some(), "a new number holds at once");
    }
}
