//! What could not be served, for the command that it was meant for.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use storekit::Digest;

/// So many are told word for word.
const TOLD: usize = 10;
/// So many are told apart.
const MOST: usize = 10_000;
/// So many of the last are kept word for word.
const LATEST: usize = 1000;

/// What could not be served, in words: each once, however often it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotServed {
    /// The first of them.
    pub told: Vec<String>,
    /// How many more there are; with very many, at least so many.
    pub more: usize,
}

impl NotServed {
    /// With what another server could not serve later.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        for reason in later.told {
            if self.told.contains(&reason) {
                continue;
            }
            if self.told.len() < TOLD {
                self.told.push(reason);
            } else {
                self.more += 1;
            }
        }
        Self { more: self.more.saturating_add(later.more), ..self }
    }
}

/// The text, and of each URL in it what comes before its query.
#[must_use]
pub(crate) fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let Some((url, query)) = word.split_once('?').filter(|(url, _)| url.contains("://")) else {
            return word.to_owned();
        };
        let kept = query.trim_end_matches([':', ',', '`', ')', ';']).len();
        format!("{url}{}", query.get(kept..).unwrap_or_default())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// All of them since the server began.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    refused: NotServed,
    seen: HashSet<Digest>,
    /// The last of them, each as often as it was asked for, and whether it was with credentials.
    latest: VecDeque<(String, bool)>,
    count: u64,
}

impl Refusals {
    /// Notes one; `is_private`: it was asked for with credentials.
    pub(crate) fn note(&self, reason: String, is_private: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let All { refused, seen, latest, count } = &mut *all;
        *count += 1;
        if latest.len() == LATEST {
            latest.pop_front();
        }
        latest.push_back((reason.clone(), is_private));
        if seen.len() >= MOST || !seen.insert(Digest::of(reason.as_bytes())) {
            return;
        }
        if refused.told.len() < TOLD {
            refused.told.push(reason);
        } else {
            refused.more += 1;
        }
    }

    /// What there was.
    #[must_use]
    pub(crate) fn all(&self) -> NotServed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// So many of the last, each once, the newest first; without what was asked for with
    /// credentials.
    #[must_use]
    pub(crate) fn latest_of_all(&self, most: usize) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        let open = all.latest.iter().rev().filter(|(_, is_private)| !is_private).map(|(reason, _)| reason);
        open.filter(|reason| seen.insert(*reason)).take(most).cloned().collect()
    }

    /// How many were noted until now, for [`Self::since`].
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// What there was since so many had been noted; of very many, the last.
    #[must_use]
    pub(crate) fn since(&self, count: u64) -> NotServed {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later = usize::try_from(all.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let (mut refused, mut seen) = (NotServed::default(), HashSet::new());
        for (reason, _) in all.latest.iter().skip(all.latest.len().saturating_sub(later)) {
            if !seen.insert(reason) {
                continue;
            }
            if refused.told.len() < TOLD {
                refused.told.push(reason.clone());
            } else {
                refused.more += 1;
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_the_rest_is_counted() {
        let refusals = Refusals::default();
        for number in [0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11] {
            refusals.note(number.to_string(), false);
        }
        let all = refusals.all();
        assert_eq!((all.told.len(), all.told[1].as_str(), all.more), (10, "1", 2));
    }

    #[test]
    fn what_came_later_is_told_by_itself() {
        let refusals = Refusals::default();
        let note = |text: &str| refusals.note(text.to_owned(), false);
        ["a", "b"].into_iter().for_each(note);
        let before = refusals.count();
        assert_eq!(refusals.since(before), NotServed::default());
        ["b", "c", "b"].into_iter().for_each(note);
        assert_eq!(refusals.since(before).told, ["b", "c"]);
        (0..2000).for_each(|number| note(&number.to_string()));
        let last = refusals.since(before);
        assert_eq!((last.told.len(), last.told[0].as_str(), last.more), (10, "1000", 990));
    }

    #[test]
    fn what_is_shown_to_all_has_no_secrets() {
        let refusals = Refusals::default();
        for (reason, is_private) in [("a", false), ("b", true), ("c", false), ("a", false)] {
            refusals.note(reason.to_owned(), is_private);
        }
        assert_eq!(
            (refusals.latest_of_all(9), refusals.latest_of_all(1)),
            (vec!["a".into(), "c".into()], vec!["a".into()])
        );
        for (text, expected) in [
            ("http://a/b?token=1: it is not stored", "http://a/b: it is not stored"),
            ("`https://a/b?c=1&d=`, and (http://x?y) why?", "`https://a/b`, and (http://x) why?"),
            ("is it there?", "is it there?"),
        ] {
            assert_eq!(without_queries(text), expected);
        }
    }

    #[test]
    fn what_two_servers_say_is_one_list() {
        let of =
            |told: &[&str], more| NotServed { told: told.iter().map(|it| (*it).to_owned()).collect(), more };
        let both = of(&["a", "b"], 0).and(of(&["b", "c"], 2));
        assert_eq!(both, of(&["a", "b", "c"], 2));
    }
}
