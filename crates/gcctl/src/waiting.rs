//! For a limit of bytes: which things go together, as none of them would free anything by itself.
//!
//! Things are asked about in the order of going. One that frees nothing, for all that it needs is
//! needed by others too, waits. When one comes with which something becomes free, all go that
//! waited for that. So what goes for a looser limit is the beginning of what goes for a tighter
//! one.
//!
//! Touches nothing: callers say by how many each part is needed by then. The work is in proportion
//! to the needs of all things.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// The things `T` that wait, and the parts `P` that they need.
#[derive(Clone, Debug)]
pub(crate) struct Waiting<T, P> {
    of: HashMap<T, Vec<(P, usize)>>,
    by: HashMap<P, Vec<T>>,
    /// How many of the needs of each part are of things that wait.
    needs: HashMap<P, usize>,
}

impl<T: Copy + Eq + Hash + Ord, P: Clone + Eq + Hash> Waiting<T, P> {
    pub(crate) fn new() -> Self {
        Self { of: HashMap::new(), by: HashMap::new(), needs: HashMap::new() }
    }

    /// The things that go when it is this one's turn: those of the waiting ones with which a part
    /// becomes free, sorted, then itself; none where it frees nothing, and waits from now on. Those
    /// wait no longer that [`Self::went`] is told of.
    ///
    /// `parts` are those that have a size, each with how often it is needed by this one; `needed`
    /// says how often by all that is still there. `is_of_use` is one that frees something in any
    /// case.
    pub(crate) fn turn(
        &mut self,
        thing: T,
        parts: Vec<(P, usize)>,
        is_of_use: bool,
        needed: impl Fn(&P) -> usize,
    ) -> Vec<T> {
        let waiting = |part: &P| self.needs.get(part).copied().unwrap_or(0);
        let free = parts.iter().filter(|(part, own)| needed(part) == own + waiting(part));
        let free: Vec<&P> = free.map(|(part, _)| part).collect();
        if free.is_empty() && !is_of_use {
            self.wait(thing, parts);
            return Vec::new();
        }
        let with = free.into_iter().filter_map(|part| self.by.get(part)).flatten().copied();
        let with: BTreeSet<T> = with.filter(|other| self.of.contains_key(other)).collect();
        with.into_iter().chain([thing]).collect()
    }

    /// Those that wait, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = T> + '_ {
        self.of.keys().copied()
    }

    /// These have gone.
    pub(crate) fn went(&mut self, things: &[T]) {
        for thing in things {
            for (part, own) in self.of.remove(thing).unwrap_or_default() {
                if let Some(needs) = self.needs.get_mut(&part) {
                    *needs = needs.saturating_sub(own);
                }
            }
        }
    }

    fn wait(&mut self, thing: T, parts: Vec<(P, usize)>) {
        for (part, own) in &parts {
            *self.needs.entry(part.clone()).or_default() += own;
            self.by.entry(part.clone()).or_default().push(thing);
        }
        self.of.insert(thing, parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The things in the order of going, each a word with its parts: what goes at the turn of each.
    #[track_caller]
    fn goes(things: &[&str], expected: &[&str]) {
        let mut needed = HashMap::new();
        things.iter().flat_map(|it| it.chars()).for_each(|part| *needed.entry(part).or_insert(0) += 1);
        let (mut waiting, mut all) = (Waiting::new(), Vec::new());
        for (place, parts) in things.iter().enumerate() {
            let parts = parts.chars().filter(|part| part.is_lowercase()).map(|part| (part, 1)).collect();
            let gone = waiting.turn(place, parts, false, |part| needed[part]);
            waiting.went(&gone);
            for part in gone.iter().flat_map(|place| things[*place].chars()) {
                *needed.get_mut(&part).unwrap() -= 1;
            }
            all.push(gone.iter().map(|place| things[*place]).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(all, expected);
    }

    #[test]
    fn what_frees_nothing_waits_for_those_that_need_the_same() {
        goes(&["a", "b"], &["a", "b"]);
        goes(&["a", "a"], &["", "a a"]);
        goes(&["ab", "a", "b"], &["", "ab a", "b"]);
        goes(&["a", "b", "ab"], &["", "", "a b ab"]);
        goes(&["a", "ax", "a"], &["", "ax", "a a"]);
    }

    #[test]
    fn no_part_is_left_that_only_waiting_ones_need() {
        // Of stores that are made up: parts that only things need which wait would be free.
        for seed in 0..500_u32 {
            let bits = |place: u32| seed.wrapping_mul(2_654_435_761).rotate_left(place * 7) % 15 + 1;
            let things: Vec<Vec<u32>> =
                (0..6).map(|place| (0..4).filter(|part| bits(place) & (1 << part) != 0).collect()).collect();
            let needed = |part: u32, gone: &[usize]| {
                let left = things.iter().enumerate().filter(|(place, _)| !gone.contains(place));
                left.filter(|(_, parts)| parts.contains(&part)).count()
            };
            let (mut waiting, mut gone) = (Waiting::new(), Vec::new());
            for (place, parts) in things.iter().enumerate() {
                let parts: Vec<_> = parts.iter().map(|part| (*part, 1)).collect();
                let before = gone.clone();
                let now = waiting.turn(place, parts, false, |part| needed(*part, &before));
                let frees = |part: u32, gone: &[usize]| needed(part, gone) == 0;
                waiting.went(&now);
                gone.extend(&now);
                let more = (0..4).filter(|part| frees(*part, &gone) && !frees(*part, &before)).count();
                assert_eq!(more > 0, !now.is_empty(), "{things:?}");
                let seen: Vec<_> = (0..=place).collect();
                assert!((0..4).all(|part| frees(part, &gone) || !frees(part, &seen)), "{things:?}");
            }
        }
    }
}
