//! One new connection to a server at a time, until it is known what it speaks: where that is
//! HTTP/2, the requests that came meanwhile share it.
//!
//! A server that is known to speak HTTP/1.1 alone gets as many connections at a time as there are
//! requests. Where the server cannot be reached, that holds for all that waited to find out.
//!
//! Deliberately absent: connections.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Of no more servers it is remembered that they speak HTTP/1.1.
const MOST: usize = 10_000;

/// What is known of the servers, and which of them are being connected to.
#[derive(Debug)]
struct State<K> {
    single: HashSet<K>,
    opening: HashMap<K, watch::Receiver<Option<End>>>,
}

/// The first connections to servers.
#[derive(Debug)]
pub(crate) struct Openings<K>(Arc<Mutex<State<K>>>);

/// The request that opens the connection for all that come meanwhile. Where it is dropped without
/// an end, another one takes its place.
#[derive(Debug)]
pub(crate) struct Opening<K: Clone + Eq + Hash> {
    state: Arc<Mutex<State<K>>>,
    server: K,
    ended: watch::Sender<Option<End>>,
}

/// How the first attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a connection that requests share.
    Shared,
    /// With one that the first request has for itself: the server speaks HTTP/1.1 alone.
    Single,
    /// The server cannot be reached, and why.
    Unreachable(String),
    /// With what says nothing about other requests.
    Other,
}

/// What a request has to do.
#[derive(Debug)]
pub(crate) enum Turn<K: Clone + Eq + Hash> {
    /// Open a connection, and tell the others.
    First(Opening<K>),
    /// See whether there is one that can be shared by now, and else open one.
    Free,
    /// The server cannot be reached: another request has just found out why.
    Unreachable(String),
}

fn lock<K>(state: &Mutex<State<K>>) -> MutexGuard<'_, State<K>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Default for Openings<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { single: HashSet::new(), opening: HashMap::new() })))
    }
}

impl<K: Clone + Eq + Hash> Openings<K> {
    /// Waits for the request's turn.
    pub(crate) async fn turn(&self, server: &K) -> Turn<K> {
        loop {
            let mut ended = {
                let mut state = lock(&self.0);
                if state.single.contains(server) {
                    return Turn::Free;
                }
                match state.opening.get(server) {
                    Some(ended) => ended.clone(),
                    None => return Turn::First(self.first(&mut state, server)),
                }
            };
            // One that is gone without an end has told nothing of the server.
            let Ok(end) = ended.wait_for(Option::is_some).await else { continue };
            return match end.as_ref() {
                Some(End::Unreachable(why)) => Turn::Unreachable(why.clone()),
                _ => Turn::Free,
            };
        }
    }

    fn first(&self, state: &mut State<K>, server: &K) -> Opening<K> {
        let (ended, told) = watch::channel(None);
        state.opening.insert(server.clone(), told);
        Opening { state: Arc::clone(&self.0), server: server.clone(), ended }
    }
}

impl<K: Clone + Eq + Hash> Opening<K> {
    /// The attempt has ended.
    pub(crate) fn end(self, end: End) {
        if end == End::Single {
            let mut state = lock(&self.state);
            if state.single.len() >= MOST {
                state.single.clear();
            }
            state.single.insert(self.server.clone());
        }
        self.ended.send_replace(Some(end));
    }
}

impl<K: Clone + Eq + Hash> Drop for Opening<K> {
    fn drop(&mut self) {
        lock(&self.state).opening.remove(&self.server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten requests come while the first one connects; what they are told when it has done `end`.
    fn told(end: impl FnOnce(Opening<&'static str>)) -> [usize; 3] {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let openings = Arc::new(Openings::default());
            let Turn::First(first) = openings.turn(&"a").await else { panic!("somebody else is first") };
            let wait = |_| {
                let openings = Arc::clone(&openings);
                tokio::spawn(async move {
                    match openings.turn(&"a").await {
                        Turn::First(opening) => {
                            opening.end(End::Single);
                            0
                        }
                        Turn::Free => 1,
                        Turn::Unreachable(why) => {
                            assert_eq!(why, "no route");
                            2
                        }
                    }
                })
            };
            let waiting: Vec<_> = (0..10).map(wait).collect();
            tokio::task::yield_now().await;
            assert!(waiting.iter().all(|it| !it.is_finished()));
            assert!(matches!(openings.turn(&"b").await, Turn::First(_)), "another server waits for none");
            end(first);
            let mut told = [0; 3];
            for waiting in waiting {
                let turn: usize = waiting.await.unwrap();
                told[turn] += 1;
            }
            told
        })
    }

    #[test]
    fn all_go_on_when_the_first_has_ended() {
        for end in [End::Shared, End::Single, End::Other] {
            assert_eq!(told(|first| first.end(end)), [0, 10, 0]);
        }
        assert_eq!(told(|first| first.end(End::Unreachable("no route".to_owned()))), [0, 0, 10]);
    }

    #[test]
    fn another_takes_the_place_of_one_that_goes_away() {
        assert_eq!(told(drop), [1, 9, 0]);
    }

    #[test]
    fn a_server_that_speaks_the_old_protocol_is_not_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let openings = Openings::default();
            let Turn::First(first) = openings.turn(&"a").await else { panic!("somebody else is first") };
            first.end(End::Single);
            assert!(matches!(openings.turn(&"a").await, Turn::Free));
        });
    }
}
