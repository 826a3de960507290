//! A store with a limit of bytes, as it would have been.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Order, Sum, Trace};
use crate::plan::order::{Turn, worth};

/// Plays the trace in a store that holds at most `limit` bytes and begins empty. What was just
/// asked for is kept, unless it alone is over the limit; for it others go.
#[must_use]
pub fn simulate(trace: &Trace, limit: u64, order: Order) -> Sum {
    let mut stored = Stored::new(trace, limit, order);
    let mut sum = Sum::default();
    for (step, it) in trace.uses.iter().enumerate() {
        let was_there = stored.ask(it.item, it.time, it.again.saturating_add(1));
        let fits = trace.items[it.item].bytes <= limit;
        let hits = u64::from(was_there) + if fits { it.again } else { 0 };
        if step >= trace.first {
            sum.add(hits, &trace.items[it.item]);
        }
    }
    sum
}

/// What is there of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// When it was last asked for, in seconds since 1970.
    pub(super) time: i64,
    /// How often it was there by then.
    pub(super) uses: u64,
}

struct Stored<'a> {
    trace: &'a Trace,
    limit: u64,
    order: Order,
    held: Vec<Option<Held>>,
    bytes: u64,
    /// What is there, in the order of going.
    turns: BTreeSet<(Turn, usize)>,
}

impl<'a> Stored<'a> {
    fn new(trace: &'a Trace, limit: u64, order: Order) -> Self {
        let held = vec![None; trace.items.len()];
        Self { trace, limit, order, held, bytes: 0, turns: BTreeSet::new() }
    }

    /// Asks for something so often. Returns whether it was there the first time; it is now.
    fn ask(&mut self, item: usize, time: i64, times: u64) -> bool {
        let before = self.held[item];
        // The use that finds it missing, and saves it, is none.
        let uses = before.map_or_else(|| times.saturating_sub(1), |held| held.uses.saturating_add(times));
        self.remove(item);
        let bytes = self.trace.items[item].bytes;
        if bytes > self.limit {
            return false;
        }
        while self.bytes > self.limit - bytes {
            let Some((_, first)) = self.turns.first().copied() else { break };
            self.remove(first);
        }
        let held = Held { time, uses };
        self.turns.insert((turn(self.trace, item, held, self.order), item));
        self.held[item] = Some(held);
        self.bytes += bytes;
        before.is_some()
    }

    fn remove(&mut self, item: usize) {
        let Some(held) = self.held[item].take() else { return };
        self.turns.remove(&(turn(self.trace, item, held, self.order), item));
        self.bytes -= self.trace.items[item].bytes;
    }
}

/// When it goes: as [`crate::plan`] has it.
pub(super) fn turn(trace: &Trace, item: usize, Held { time, uses }: Held, order: Order) -> Turn {
    let used = Timestamp::from_second(time).unwrap_or_default();
    let item = trace.items[item];
    match order {
        Order::Lru => Turn::by_use(used, uses),
        Order::Cost => Turn::by_worth(worth(item.seconds, uses, item.bytes), used),
    }
}
