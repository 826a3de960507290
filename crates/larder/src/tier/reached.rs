//! One tier in one run: whether it answers, what it gave and took, and what of it is damaged.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answer::slow_of;
use super::noted::Known;
use super::seen::Seen;
use crate::config::tiers::tier::Tier;
use crate::process::runner::RunError;

/// How much longer than a tier may keep silent a question to it may take in all.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

/// A tier, and what is known of it.
pub(super) struct Reached<'a> {
    pub(super) tier: &'a Tier,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) tally: Mutex<Tally>,
    pub(super) noted: Mutex<Known>,
    /// What was found to be damaged in it.
    pub(super) damage: Mutex<Damage>,
    /// Whether it is known to keep what is damaged.
    pub(super) keeps_damage: AtomicBool,
    /// What it was seen to have.
    pub(super) seen: Seen,
    /// How long its slow answers were waited for.
    pub(super) slow: Mutex<Duration>,
}

/// What of a tier is damaged: each counts as missing, for its key alone.
#[derive(Default)]
pub(super) struct Damage {
    pub(super) keys: BTreeSet<String>,
    /// Those of them that the tier could not answer for.
    pub(super) unable: BTreeSet<String>,
    /// What `imgtar` said of the first.
    pub(super) said: Vec<u8>,
    pub(super) first: String,
}

/// What is known of a tier in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was not asked yet.
    Unknown,
    /// Somebody waits for its first answer.
    Asked,
    /// It answers.
    Up,
    /// It answers, and takes nothing.
    Unwritable,
    /// It is left out.
    Down,
}

/// What a tier gave and took in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many images came from it.
    pub(crate) given: usize,
    /// How many bytes of blobs came.
    pub(crate) given_bytes: u64,
    /// How many images went to it.
    pub(crate) taken: usize,
    /// How many bytes of blobs went.
    pub(crate) taken_bytes: u64,
}

/// Why a tier is left out; told once in a run.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What happens to it.
    pub(crate) message: String,
    /// What `imgtar` said.
    pub(crate) said: Vec<u8>,
}

/// What a tier said.
pub(super) enum Asked<T> {
    Answer(T),
    /// It is left out. The reason goes to the one who found out.
    LeftOut(Option<Trouble>),
}

impl<'a> Reached<'a> {
    pub(super) fn new(tier: &'a Tier) -> Self {
        Self {
            tier,
            state: Mutex::new(State::Unknown),
            changed: Condvar::new(),
            tally: Mutex::default(),
            noted: Mutex::default(),
            damage: Mutex::default(),
            keeps_damage: AtomicBool::new(false),
            seen: Seen::default(),
            slow: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        *locked(&self.state)
    }

    /// Whether it can be written, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state(), State::Down | State::Unwritable)
    }

    pub(super) fn limit(&self) -> Duration {
        self.tier.timeout.0.saturating_add(MARGIN)
    }

    /// How long it may take still.
    pub(super) fn left(&self) -> Duration {
        self.tier.timeout.0.saturating_sub(*locked(&self.slow))
    }

    /// Counts what an answer says of slow answers: whether it is too slow by now.
    pub(super) fn waited(&self, answer: &[u8]) -> bool {
        let mut slow = locked(&self.slow);
        *slow = slow.saturating_add(slow_of(answer));
        *slow >= self.tier.timeout.0
    }

    /// Notes that it answers, and not for this key. Not where that is so of another one, too: then
    /// it is the tier's own trouble.
    pub(super) fn is_unable_for(&self, key: &str) -> bool {
        let mut damage = locked(&self.damage);
        damage.unable.insert(key.to_owned());
        damage.unable.len() == 1
    }

    pub(super) fn too_slow(&self) -> Vec<u8> {
        let slow = locked(&self.slow).as_secs_f64();
        let timeout = self.tier.timeout.0.as_secs();
        format!("it answers too slowly: {slow:.1} s were waited for, and its `timeout` is {timeout}s\n")
            .into_bytes()
    }

    /// Asks the tier, unless it is left out. The first question of a run is alone: the others wait
    /// for what comes of it, so that a tier which does not answer costs its timeout once.
    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce() -> Result<Result<T, Vec<u8>>, RunError>,
    ) -> Result<Asked<T>, RunError> {
        {
            let state = locked(&self.state);
            let waited = self.changed.wait_while(state, |state| *state == State::Asked);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            match *state {
                State::Down => return Ok(Asked::LeftOut(None)),
                State::Unknown => *state = State::Asked,
                State::Asked | State::Up | State::Unwritable => {}
            }
        }
        let answer = question();
        let settled = match &answer {
            Ok(Ok(_)) => State::Up,
            _ => State::Down,
        };
        let mut state = locked(&self.state);
        let was_known = *state == State::Down;
        if *state != State::Unwritable || settled == State::Down {
            *state = settled;
        }
        drop(state);
        self.changed.notify_all();
        Ok(match answer? {
            Ok(answer) => Asked::Answer(answer),
            Err(said) => Asked::LeftOut((!was_known).then(|| self.trouble(State::Down, said))),
        })
    }

    /// Leaves it out from now on; the reason, if that is news.
    pub(super) fn leave_out(&self, how: State, said: Vec<u8>) -> Option<Trouble> {
        let mut state = locked(&self.state);
        let is_news = !matches!(*state, State::Down | State::Unwritable);
        *state = how;
        drop(state);
        self.changed.notify_all();
        is_news.then(|| self.trouble(how, said))
    }

    pub(super) fn trouble(&self, how: State, said: Vec<u8>) -> Trouble {
        let tier = &self.tier.name;
        let message = match how {
            State::Unwritable => format!("nothing more is written to the tier `{tier}` in this run"),
            _ => format!("the tier `{tier}` is left out of the rest of this run"),
        };
        Trouble { message, said }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
