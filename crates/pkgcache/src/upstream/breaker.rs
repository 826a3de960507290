//! Which requests reach a server that is in trouble: none while it is left alone, then one at a
//! time, until an answer says that it is well again.
//!
//! A server that cannot be reached is left alone for a time that doubles; one that asks for fewer
//! requests (`Retry-After`) for as long as it says: by all clients, which it takes for one. After
//! that one request finds out how it is, and all others are held back meanwhile, if they have
//! something to fall back on, or if the server could not be reached at all.
//!
//! A server that answers, but fails, is left alone only after some failures in a row: what fails
//! may be one file of many.
//!
//! Deliberately absent: connections, and clocks: callers say what time it is.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

/// No server is left alone for longer, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(3600);
/// So many failures in a row of a server that answers are taken for those of single files.
const PATIENCE: u32 = 5;
/// No pause is longer than the first one so many times.
const MOST_PAUSES: u32 = 60;
/// When more servers are in trouble, those are forgotten that may be asked again.
const MOST: usize = 10_000;

/// How a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server did what it should.
    Answered,
    /// It was reached; nothing else can be said of it.
    Reached,
    /// No connection came about.
    Unreachable(String),
    /// It was reached, and failed.
    Failed(String),
    /// It wants to be left alone for so long, and says so by this status code.
    Asked(Duration, StatusCode),
    /// Nothing can be said of it.
    Nothing,
}

/// Why a request is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// No connection came about a moment ago.
    Unreachable(String),
    /// The server failed a moment ago.
    Failed(String),
    /// It asked to be left alone for so many seconds more, by this status code.
    Asked(u64, StatusCode),
}

/// What of the server's trouble concerns a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Need {
    /// Only that it cannot be reached, or asked to be left alone: what it answers is passed on.
    #[default]
    Connection,
    /// Its failures count as such, and there is nothing to fall back on.
    Answer,
    /// The same, and something stored can stand in.
    Spare,
}

#[derive(Clone, Debug)]
enum Kind {
    Unreachable(String),
    Failed(String),
    Asked(StatusCode),
}

/// A server in trouble.
#[derive(Debug)]
struct Trouble {
    kind: Kind,
    /// It is left alone until then.
    until: Instant,
    /// For so long it was left alone the last time.
    pause: Duration,
    /// How often it failed in a row.
    failures: u32,
    /// The number of this news.
    news: u64,
    /// The request that finds out how it is, by its number.
    probe: Option<u64>,
}

#[derive(Debug)]
struct Troubles<K> {
    of: HashMap<K, Trouble>,
    /// The last number that was given.
    last: u64,
}

/// The servers in trouble.
pub(crate) struct Breaker<K>(Arc<Mutex<Troubles<K>>>);

/// Leave to send one request. Where it is dropped, nothing can be said of the server.
#[derive(Debug)]
pub(crate) struct Pass<K: Clone + Eq + Hash> {
    troubles: Arc<Mutex<Troubles<K>>>,
    server: K,
    /// The news that was known when the request was sent.
    news: Option<u64>,
    /// Its number, if it is there to find out.
    probe: Option<u64>,
}

fn lock<K>(troubles: &Mutex<Troubles<K>>) -> MutexGuard<'_, Troubles<K>> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Default for Breaker<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Troubles { of: HashMap::new(), last: 0 })))
    }
}

impl<K> fmt::Debug for Breaker<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Breaker of {}", lock(&self.0).of.len())
    }
}

impl<K: Clone + Eq + Hash> Breaker<K> {
    /// Lets a request through to the server.
    ///
    /// # Errors
    /// [`Held`] says why it is held back.
    pub(crate) fn admit(&self, server: &K, need: Need, now: Instant) -> Result<Pass<K>, Held> {
        let mut troubles = lock(&self.0);
        let Troubles { of, last } = &mut *troubles;
        let (mut news, mut probe) = (None, None);
        if let Some(trouble) = of.get_mut(server) {
            news = Some(trouble.news);
            if trouble.concerns(need, now) {
                if trouble.probe.is_some() || now < trouble.until {
                    return Err(trouble.held(now));
                }
                *last += 1;
                probe = Some(*last);
                trouble.probe = probe;
            }
        }
        Ok(Pass { troubles: Arc::clone(&self.0), server: server.clone(), news, probe })
    }
}

impl<K: Clone + Eq + Hash> Pass<K> {
    /// Says how the request went. A server is left alone for `pause` at first.
    pub(crate) fn conclude(self, verdict: Verdict, now: Instant, pause: Duration) {
        let mut troubles = lock(&self.troubles);
        let Troubles { of, last } = &mut *troubles;
        let old = of.get(&self.server);
        let unreachable = |old: &Trouble| matches!(old.kind, Kind::Unreachable(_));
        let (kind, until, pause) = match verdict {
            Verdict::Nothing => return,
            Verdict::Reached if !old.is_some_and(unreachable) => return,
            Verdict::Answered | Verdict::Reached => {
                of.remove(&self.server);
                return;
            }
            Verdict::Asked(time, status) => {
                let until = now + time.min(LONGEST);
                let asked = old.filter(|old| matches!(old.kind, Kind::Asked(_)));
                (Kind::Asked(status), asked.map_or(until, |old| old.until.max(until)), Duration::ZERO)
            }
            // Requests that were on their way together fail together: that is one failure.
            _ if old.map(|old| old.news) != self.news => return,
            Verdict::Unreachable(why) => {
                let pause = old.filter(|old| unreachable(old)).map_or(pause, |old| longer(old.pause, pause));
                (Kind::Unreachable(why), now + pause, pause)
            }
            Verdict::Failed(why) => {
                let lasting = old.filter(|old| old.failures >= PATIENCE);
                let pause = lasting.map_or(Duration::ZERO, |old| longer(old.pause, pause));
                (Kind::Failed(why), now + pause, pause)
            }
        };
        let failed = matches!(kind, Kind::Failed(_));
        let failures = old.filter(|_| failed).map_or(0, |old| old.failures) + u32::from(failed);
        let probe = old.and_then(|old| old.probe).filter(|_| self.probe.is_none());
        *last += 1;
        if of.len() > MOST {
            of.retain(|_, trouble| trouble.until > now || trouble.probe.is_some());
        }
        of.insert(self.server.clone(), Trouble { kind, until, pause, failures, news: *last, probe });
    }
}

/// Twice the last pause, if it was not the first one, within bounds.
fn longer(last: Duration, first: Duration) -> Duration {
    (last * 2).clamp(first, first * MOST_PAUSES)
}

impl<K: Clone + Eq + Hash> Drop for Pass<K> {
    fn drop(&mut self) {
        if self.probe.is_none() {
            return;
        }
        let mut troubles = lock(&self.troubles);
        if let Some(trouble) = troubles.of.get_mut(&self.server).filter(|it| it.probe == self.probe) {
            trouble.probe = None;
        }
    }
}

impl Trouble {
    /// Whether a request with this need is held back, or finds out.
    fn concerns(&self, need: Need, now: Instant) -> bool {
        match self.kind {
            Kind::Unreachable(_) => true,
            Kind::Asked(_) if now < self.until => true,
            Kind::Failed(_) | Kind::Asked(_) => need == Need::Spare,
        }
    }

    fn held(&self, now: Instant) -> Held {
        match &self.kind {
            Kind::Unreachable(why) => Held::Unreachable(why.clone()),
            Kind::Failed(why) => Held::Failed(why.clone()),
            Kind::Asked(status) => {
                Held::Asked(self.until.saturating_duration_since(now).as_secs() + 1, *status)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    /// A breaker, and a time that the test sets.
    struct Scene {
        breaker: Breaker<&'static str>,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { breaker: Breaker::default(), now: Instant::now() }
        }

        fn later(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn admit(&self, need: Need) -> Result<Pass<&'static str>, Held> {
            self.breaker.admit(&"a", need, self.now)
        }

        #[track_caller]
        fn sent(&self, need: Need, verdict: Verdict) {
            self.admit(need).unwrap().conclude(verdict, self.now, PAUSE);
        }

        fn is_held(&self, need: Need) -> bool {
            self.admit(need).is_err()
        }
    }

    fn unreachable() -> Verdict {
        Verdict::Unreachable("no route".to_owned())
    }

    fn failed() -> Verdict {
        Verdict::Failed("it answered 503".to_owned())
    }

    #[test]
    fn one_request_finds_out_and_the_others_are_held_back() {
        for need in [Need::Connection, Need::Answer, Need::Spare] {
            let mut scene = Scene::new();
            scene.sent(need, unreachable());
            assert_eq!(scene.admit(need).unwrap_err(), Held::Unreachable("no route".to_owned()));
            scene.later(1);
            let probe = scene.admit(need).unwrap();
            assert!((0..20).all(|_| scene.is_held(need)));
            probe.conclude(Verdict::Answered, scene.now, PAUSE);
            assert!((0..20).all(|_| !scene.is_held(need)));
        }
    }

    #[test]
    fn one_that_goes_away_lets_another_find_out() {
        let mut scene = Scene::new();
        scene.sent(Need::Spare, unreachable());
        scene.later(1);
        let probe = scene.admit(Need::Spare).unwrap();
        assert!(scene.is_held(Need::Spare));
        drop(probe);
        assert!(!scene.is_held(Need::Spare));
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_left_alone_for_longer_each_time() {
        let mut scene = Scene::new();
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            scene.sent(Need::Spare, unreachable());
            scene.later(pause - 1);
            assert!(scene.is_held(Need::Spare), "{pause}");
            scene.later(1);
        }
        scene.sent(Need::Connection, Verdict::Reached);
        scene.sent(Need::Spare, unreachable());
        scene.later(1);
        assert!(!scene.is_held(Need::Spare), "it was well in between");
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let mut scene = Scene::new();
        let passes: Vec<_> = (0..20).map(|_| scene.admit(Need::Answer).unwrap()).collect();
        for pass in passes {
            pass.conclude(unreachable(), scene.now, PAUSE);
        }
        scene.later(1);
        assert!(!scene.is_held(Need::Answer));
    }

    #[test]
    fn one_that_fails_is_asked_by_one_at_a_time() {
        let mut scene = Scene::new();
        scene.sent(Need::Answer, failed());
        let probe = scene.admit(Need::Spare).unwrap();
        assert_eq!(scene.admit(Need::Spare).unwrap_err(), Held::Failed("it answered 503".to_owned()));
        // There is nothing else for these.
        assert!(!scene.is_held(Need::Answer) && !scene.is_held(Need::Connection));
        probe.conclude(failed(), scene.now, PAUSE);
        for _ in 2..PATIENCE {
            scene.sent(Need::Spare, failed());
        }
        assert!(!scene.is_held(Need::Spare));
        for pause in [1, 2, 4] {
            scene.sent(Need::Spare, failed());
            assert!(scene.is_held(Need::Spare), "{pause}");
            scene.later(pause);
        }
        // What only says that it can be reached is nothing new.
        scene.sent(Need::Connection, Verdict::Reached);
        scene.sent(Need::Spare, failed());
        assert!(scene.is_held(Need::Spare));
        scene.sent(Need::Answer, Verdict::Answered);
        assert!(!scene.is_held(Need::Spare));
    }

    #[test]
    fn one_that_asks_for_it_is_left_alone_by_all() {
        let mut scene = Scene::new();
        let asked = |seconds| Verdict::Asked(Duration::from_secs(seconds), StatusCode::TOO_MANY_REQUESTS);
        let early = scene.admit(Need::Answer).unwrap();
        scene.sent(Need::Answer, asked(30));
        // The longer time counts, whichever was said last.
        early.conclude(asked(5), scene.now, PAUSE);
        for need in [Need::Connection, Need::Answer, Need::Spare] {
            let held = scene.admit(need).unwrap_err();
            assert_eq!(held, Held::Asked(31, StatusCode::TOO_MANY_REQUESTS));
        }
        scene.later(30);
        let probe = scene.admit(Need::Spare).unwrap();
        assert!(scene.is_held(Need::Spare) && !scene.is_held(Need::Answer));
        probe.conclude(asked(u64::MAX), scene.now, PAUSE);
        scene.later(3599);
        assert!(scene.is_held(Need::Answer));
        scene.later(1);
        scene.sent(Need::Answer, Verdict::Answered);
        assert!(!scene.is_held(Need::Spare));
    }

    #[test]
    fn a_failure_while_another_finds_out_changes_nothing_for_that_one() {
        let mut scene = Scene::new();
        scene.sent(Need::Answer, failed());
        let probe = scene.admit(Need::Spare).unwrap();
        scene.sent(Need::Answer, unreachable());
        scene.later(1);
        assert!(scene.is_held(Need::Spare), "two at a time");
        drop(probe);
        assert!(!scene.is_held(Need::Spare));
    }

    #[test]
    fn other_servers_are_not_concerned() {
        let scene = Scene::new();
        scene.sent(Need::Spare, unreachable());
        assert!(scene.breaker.admit(&"b", Need::Spare, scene.now).is_ok());
    }
}
