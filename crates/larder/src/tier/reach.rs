//! Tiers, as a bake uses them: by `imgtar`, and never relied on.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::answer::{is_kept, is_saved, is_unable, moved};
use super::reached::{Asked, MARGIN, Reached, State, Tally, Trouble, locked};
use super::route::Route;
use super::seen::Seen;
use crate::config::tiers::tier::Tier;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;

/// The tiers of one run.
pub(crate) struct Tiers<'a> {
    tools: &'a Tools,
    pub(super) runner: &'a Runner,
    store: Option<Utf8PathBuf>,
    pub(super) all: Vec<Reached<'a>>,
    read: Vec<usize>,
    write: Vec<usize>,
}

/// Where an image stands.
#[derive(Default)]
pub(crate) struct Places {
    /// The tiers that have it, the one that is asked first at the front.
    pub(crate) holders: Vec<usize>,
    /// Those before the first of these that answered, and have it not.
    pub(crate) lacking: Vec<usize>,
    /// What went wrong.
    pub(crate) troubles: Vec<Trouble>,
}

/// What an attempt to bring an image gave.
pub(crate) enum Pulled {
    /// It is in this machine's store.
    Here,
    /// It is gone meanwhile.
    Gone,
    /// It could not be brought: why, where that was not said before.
    Failed(Option<Trouble>),
}

/// A command's exit code, what it wrote and what it said.
type Ended = (Option<u8>, Vec<u8>, Vec<u8>);

impl<'a> Tiers<'a> {
    /// The tiers of the route; none of them is asked yet. `store` is handed to imgtar as `--store`.
    pub(crate) fn new(
        route: &'a Route,
        tools: &'a Tools,
        runner: &'a Runner,
        store: Option<&Utf8Path>,
    ) -> Self {
        let mut all: Vec<Reached<'a>> = Vec::new();
        let mut place = |tier: &'a Tier| {
            all.iter().position(|known| known.tier.name == tier.name).unwrap_or_else(|| {
                all.push(Reached::new(tier));
                all.len() - 1
            })
        };
        let read = route.read.iter().map(&mut place).collect();
        let write = route.write.iter().map(&mut place).collect();
        Self { tools, runner, store: store.map(Utf8Path::to_owned), all, read, write }
    }

    /// With what the store notes of those that are written.
    pub(crate) fn remembering(mut self, store: Option<&Utf8Path>) -> Self {
        let Some(store) = store else { return self };
        for at in &self.write {
            if let Some(reached) = self.all.get_mut(*at) {
                reached.seen = Seen::read(store, reached.tier);
            }
        }
        self
    }

    /// Notes in the store what those that are written have.
    pub(crate) fn remember(&self, store: Option<&Utf8Path>) {
        let Some(store) = store else { return };
        for reached in self.write.iter().filter_map(|at| self.all.get(*at)) {
            reached.seen.write(store);
        }
    }

    /// Those that are written and are not known to have the key.
    pub(crate) fn unseen(&self, key: &str) -> Vec<usize> {
        let has = |at: &usize| self.all.get(*at).is_some_and(|reached| reached.seen.has(key));
        self.write.iter().copied().filter(|at| !has(at)).collect()
    }

    /// Notes that the tier has the key.
    pub(crate) fn saw(&self, at: usize, key: &str) {
        self.all.iter().skip(at).take(1).for_each(|reached| reached.seen.add(key));
    }

    /// Whether there is any to ask.
    pub(crate) fn are_read(&self) -> bool {
        !self.read.is_empty()
    }

    /// Those that are read, in the order in which they are asked.
    pub(crate) fn read(&self) -> &[usize] {
        &self.read
    }

    /// How long a question to the tier may take.
    pub(crate) fn limit(&self, at: usize) -> Duration {
        self.all.get(at).map_or(MARGIN, Reached::limit)
    }

    /// Those that are written.
    pub(crate) fn written(&self) -> &[usize] {
        &self.write
    }

    /// Those that are read and have not failed so far.
    pub(crate) fn open_to_read(&self) -> impl Iterator<Item = &'a Tier> {
        let known = self.read.iter().filter_map(|at| self.all.get(*at));
        known.filter(|reached| reached.state() != State::Down).map(|reached| reached.tier)
    }

    /// Those that are written and have not failed so far.
    pub(crate) fn open_to_write(&self) -> impl Iterator<Item = &'a Tier> {
        let known = self.write.iter().filter_map(|at| self.all.get(*at));
        known.filter(|reached| reached.is_open()).map(|reached| reached.tier)
    }

    /// The tier's name.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.all.get(at).map_or("", |reached| reached.tier.name.as_str())
    }

    /// What each tier gave and took, by name.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.all.iter().map(|reached| (reached.tier.name.as_str(), *locked(&reached.tally)))
    }

    /// Where the image of the key stands: all tiers that are read are asked at once.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn places(&self, key: &str) -> Result<Places, RunError> {
        let asked: Vec<_> = match self.read.as_slice() {
            [] => Vec::new(),
            [only] => vec![(*only, self.has(*only, key))],
            several => thread::scope(|scope| {
                let ask = |at: &usize| {
                    (
                        *at,
                        scope.spawn({
                            let at = *at;
                            move || self.has(at, key)
                        }),
                    )
                };
                let asks: Vec<_> = several.iter().map(ask).collect();
                asks.into_iter()
                    .map(|(at, ask)| {
                        (at, ask.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    })
                    .collect()
            }),
        };
        let mut places = Places::default();
        for (at, asked) in asked {
            match asked? {
                Asked::Answer(true) => places.holders.push(at),
                Asked::Answer(false) if places.holders.is_empty() => places.lacking.push(at),
                Asked::Answer(false) | Asked::LeftOut(None) => {}
                Asked::LeftOut(Some(trouble)) => places.troubles.push(trouble),
            }
        }
        Ok(places)
    }

    fn has(&self, at: usize, key: &str) -> Result<Asked<bool>, RunError> {
        let Some(reached) = self.all.get(at) else { return Ok(Asked::LeftOut(None)) };
        if self.is_damaged(at, key) {
            return Ok(Asked::Answer(false));
        }
        reached.ask(|| {
            let cmd = self.imgtar("has", key, reached).arg("--json").within(Some(reached.limit()));
            let (code, answer, said) = self.run(&cmd)?;
            if reached.waited(&answer) {
                return Ok(Err(reached.too_slow()));
            }
            Ok(match code {
                Some(0) => Ok(true),
                Some(1) => {
                    reached.seen.remove(key);
                    // What is there and not taken.
                    self.runner.release(&said);
                    Ok(false)
                }
                _ if is_unable(&answer) && reached.is_unable_for(key) => {
                    self.note_damage(reached, key, said);
                    Ok(false)
                }
                _ => Err(said),
            })
        })
    }

    /// Brings the image into this machine's store, over what stands there under the key where that
    /// is damaged. What is damaged in the tier counts as missing there, for this key alone.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn pull(&self, at: usize, key: &str, over: bool) -> Result<Pulled, RunError> {
        let Some(reached) = self.all.get(at).filter(|reached| reached.state() != State::Down) else {
            return Ok(Pulled::Failed(None));
        };
        if self.is_damaged(at, key) {
            return Ok(Pulled::Failed(None));
        }
        let cmd = self.imgtar("pull", key, reached).arg("--json");
        let (code, answer, said) = self.run(&if over { cmd.arg("--force") } else { cmd })?;
        let is_slow = reached.waited(&answer);
        let pulled = match code {
            Some(0) => {
                let mut tally = locked(&reached.tally);
                tally.given += 1;
                tally.given_bytes += moved(&answer);
                reached.seen.add(key);
                Pulled::Here
            }
            Some(1) => Pulled::Gone,
            Some(3) => {
                self.note_damage(reached, key, said);
                Pulled::Failed(None)
            }
            _ if !is_slow && is_unable(&answer) && reached.is_unable_for(key) => {
                self.note_damage(reached, key, said);
                Pulled::Failed(None)
            }
            _ if is_slow => Pulled::Failed(None),
            _ => Pulled::Failed(reached.leave_out(State::Down, said)),
        };
        // What came counts all the same.
        let slow = if is_slow { reached.leave_out(State::Down, reached.too_slow()) } else { None };
        Ok(match (pulled, slow) {
            (Pulled::Here, Some(slow)) => {
                slow.tell(self.runner);
                Pulled::Here
            }
            (_, Some(slow)) => Pulled::Failed(Some(slow)),
            (pulled, None) => pulled,
        })
    }

    /// Sends what this machine's store has under the key to the tier. A trouble is for the one who
    /// finds it out first.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn push(&self, at: usize, key: &str) -> Result<Option<Trouble>, RunError> {
        let Some(reached) = self.all.get(at).filter(|reached| reached.is_open()) else { return Ok(None) };
        let cmd = self.imgtar("push", key, reached).arg("--json");
        // What is damaged there would pass for what is to be sent.
        let cmd = if self.is_damaged(at, key) { cmd.arg("--force") } else { cmd };
        let (code, answer, said) = self.run(&cmd)?;
        let slow = reached.waited(&answer).then(|| reached.leave_out(State::Down, reached.too_slow()));
        if code == Some(0) {
            reached.seen.add(key);
            let moved = moved(&answer);
            let mut tally = locked(&reached.tally);
            tally.taken += usize::from(moved > 0 || is_saved(&answer));
            tally.taken_bytes += moved;
            return Ok(slow.flatten());
        }
        if let Some(slow) = slow {
            return Ok(slow);
        }
        // It was removed here meanwhile.
        if code == Some(1) {
            return Ok(None);
        }
        if code == Some(3) && is_kept(&answer) {
            let is_news = !reached.keeps_damage.swap(true, Ordering::Relaxed);
            let (tier, key) = (&reached.tier.name, short(key));
            let message = format!("the tier `{tier}` keeps what is damaged under {key}: no push mends it");
            return Ok(is_news.then_some(Trouble { message, said }));
        }
        if code == Some(3) {
            let message =
                format!("the stored image is damaged: it was not sent to the tier `{}`", reached.tier.name);
            return Ok(Some(Trouble { message, said }));
        }
        Ok(reached.leave_out(State::Unwritable, said))
    }

    fn note_damage(&self, reached: &Reached<'_>, key: &str, said: Vec<u8>) {
        reached.seen.remove(key);
        let mut damage = locked(&reached.damage);
        if damage.keys.is_empty() {
            (damage.first, damage.said) = (key.to_owned(), said);
        }
        if damage.keys.insert(key.to_owned()) {
            self.runner.say(&format!("# damaged in the tier `{}`: {key}", reached.tier.name));
        }
    }

    /// Warns of what was found to be damaged, once for each tier.
    pub(crate) fn tell_damage(&self) {
        for reached in &self.all {
            let damage = locked(&reached.damage);
            let (tier, first) = (&reached.tier.name, short(&damage.first));
            let message = match damage.keys.len() {
                0 => continue,
                1 => format!("what the tier `{tier}` has under {first} is damaged, and counts as missing"),
                many => format!(
                    "what the tier `{tier}` has under {many} keys is damaged, and counts as missing (`-v` names them), as under {first}"
                ),
            };
            Trouble { message, said: damage.said.clone() }.tell(self.runner);
        }
    }

    /// Whether what the tier has under the key was found to be damaged in this run.
    pub(crate) fn is_damaged(&self, at: usize, key: &str) -> bool {
        self.all.get(at).is_some_and(|reached| locked(&reached.damage).keys.contains(key))
    }

    /// The same, of the tier of that name.
    pub(crate) fn is_damaged_in(&self, name: &str, key: &str) -> bool {
        (0..self.all.len()).any(|at| self.name(at) == name && self.is_damaged(at, key))
    }

    fn open_to_write_at(&self, tier: &Tier) -> bool {
        let mut written = self.write.iter().filter_map(|at| self.all.get(*at));
        written.any(|reached| reached.tier.name == tier.name)
    }

    /// An `imgtar` command about a key in the tier.
    fn imgtar(&self, job: &str, key: &str, reached: &Reached<'_>) -> Cmd {
        self.within(job, &[key], reached.tier, reached.left())
    }

    /// An `imgtar` command about the tier.
    pub(super) fn about(&self, job: &str, words: &[&str], tier: &Tier) -> Cmd {
        self.within(job, words, tier, tier.timeout.0)
    }

    fn within(&self, job: &str, words: &[&str], tier: &Tier, patience: Duration) -> Cmd {
        let cmd = self.tools.imgtar(job).args(words.iter().copied()).arg("-q");
        // Nothing is moved aside, even if damaged, in a place that this run does not write to.
        let is_written = self.open_to_write_at(tier);
        let cmd = if is_written { cmd } else { cmd.env("LARDER_READ_ONLY", "1") };
        on_within(
            tier,
            patience,
            match &self.store {
                Some(store) => cmd.arg("--store").path(store),
                None => cmd,
            },
        )
    }

    pub(super) fn run(&self, cmd: &Cmd) -> Result<Ended, RunError> {
        let mut said = Vec::new();
        match self.runner.hold(cmd, &mut said) {
            Ok((status, answer)) => Ok((code(status), answer, said)),
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => Ok((None, Vec::new(), format!("{error}\n").into_bytes())),
        }
    }
}

/// Names the tier to an `imgtar` command.
pub(crate) fn on(tier: &Tier, cmd: Cmd) -> Cmd {
    on_within(tier, tier.timeout.0, cmd)
}

fn on_within(tier: &Tier, patience: Duration, cmd: Cmd) -> Cmd {
    let patience = format!("{}s", patience.as_secs().max(1));
    let cmd = cmd.args(["--tier", &tier.place.flag(), "--timeout", &patience]);
    tier.signed_by.iter().fold(cmd, |cmd, key| cmd.arg("--signed-by").path(key))
}

/// So much of a key as people are shown.
fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}
