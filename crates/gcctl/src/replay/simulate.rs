//! A store with a limit of bytes, as it would have been.

use std::collections::{BTreeMap, BTreeSet};

use super::{Order, Sum, Trace};

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
            sum.add(hits, trace.items[it.item].seconds);
        }
    }
    sum
}

/// An image that is there.
#[derive(Clone, Copy)]
struct Held {
    time: i64,
    uses: u64,
}

struct Stored<'a> {
    trace: &'a Trace,
    limit: u64,
    order: Order,
    held: Vec<Option<Held>>,
    bytes: u64,
    /// By how often they were used, those unused for longest first. For [`Order::Cost`], by what a
    /// use of a byte saves.
    ranks: BTreeMap<u64, BTreeSet<(i64, usize)>>,
}

impl<'a> Stored<'a> {
    fn new(trace: &'a Trace, limit: u64, order: Order) -> Self {
        let held = vec![None; trace.items.len()];
        Self { trace, limit, order, held, bytes: 0, ranks: BTreeMap::new() }
    }

    /// Asks for an image so often. Returns whether it was there the first time; it is now.
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
            let Some(worst) = self.worst(time) else { break };
            self.remove(worst);
        }
        let held = Held { time, uses };
        self.ranks.entry(self.rank(item, held)).or_default().insert((time, item));
        self.held[item] = Some(held);
        self.bytes += bytes;
        before.is_some()
    }

    fn remove(&mut self, item: usize) {
        let Some(held) = self.held[item].take() else { return };
        let rank = self.rank(item, held);
        if let Some(some) = self.ranks.get_mut(&rank) {
            some.remove(&(held.time, item));
            if some.is_empty() {
                self.ranks.remove(&rank);
            }
        }
        self.bytes -= self.trace.items[item].bytes;
    }

    fn rank(&self, item: usize, held: Held) -> u64 {
        match self.order {
            Order::Lru => held.uses,
            // Numbers that are not negative are in the order of their bits.
            Order::Cost => worth(self.trace, item, held.uses).to_bits(),
        }
    }

    /// What goes next.
    fn worst(&self, now: i64) -> Option<usize> {
        let first = |some: &BTreeSet<(i64, usize)>| some.first().copied();
        match self.order {
            Order::Cost => self.ranks.values().find_map(first).map(|(_, item)| item),
            Order::Lru => {
                let oldest = self.ranks.iter().filter_map(|(uses, some)| Some((*uses, first(some)?)));
                let stale = |(uses, (time, _)): &(u64, (i64, usize))| staleness(now - time, *uses);
                let worst = oldest.max_by(|one, other| {
                    stale(one).total_cmp(&stale(other)).then_with(|| other.1.cmp(&one.1))
                });
                worst.map(|(_, (_, item))| item)
            }
        }
    }
}

/// How much is to be said for letting it go: as [`crate::plan`] has it.
#[expect(clippy::cast_precision_loss, reason = "only compared")]
pub(super) fn staleness(idle: i64, uses: u64) -> f64 {
    idle.max(0) as f64 / (1.0 + (uses as f64 + 1.0).log2())
}

/// The seconds of building that each byte of it may save.
#[expect(clippy::cast_precision_loss, reason = "only compared")]
pub(super) fn worth(trace: &Trace, item: usize, uses: u64) -> f64 {
    let item = trace.items[item];
    item.seconds * (uses as f64 + 1.0) / (item.bytes.max(1) as f64)
}
