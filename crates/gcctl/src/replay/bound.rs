//! What no order of removal could beat.
//!
//! For things of one size the best order is known (Bélády: what is asked for last goes first). For
//! different sizes finding it takes too long, so a number is worked out that is never less: between
//! two uses a thing takes its bytes for so many steps, and the second use is a hit only if it had
//! them all the while. All steps together have the limit's bytes times the steps; of them the most
//! valuable stays are granted first, and of the last one a part. No order grants more, since each
//! must keep within the limit at every step, and not only over all.
//!
//! Source: Berger, Beckmann, Harchol-Balter, "Practical Bounds on Optimal Caching with Variable
//! Object Sizes", 2018: the lower bound of misses.

use super::{Of, Sum, Trace};

/// Bytes for so many steps that turn a use into a hit.
struct Stay {
    bytes: u64,
    steps: usize,
    seconds: f64,
    of: Of,
}

/// At least what the best order would have come to with this limit of bytes. Hits of images, those
/// of packages, and seconds are bounds each for themselves: no order need reach two of them.
#[must_use]
pub fn bound(trace: &Trace, limit: u64) -> Sum {
    let mut last: Vec<Option<usize>> = vec![None; trace.items.len()];
    let (mut stays, mut sum) = (Vec::new(), Sum::default());
    for (step, it) in trace.uses.iter().enumerate() {
        let item = trace.items[it.item];
        let before = last[it.item].replace(step);
        if step < trace.first || item.bytes > limit {
            continue;
        }
        sum.add(it.again, &item);
        // What was before the uses that count costs nothing here: the bound is the higher for it.
        let steps = before.map(|before| step - before.max(trace.first).min(step));
        stays.extend(steps.map(|steps| Stay {
            bytes: item.bytes,
            steps,
            seconds: item.seconds,
            of: item.of,
        }));
    }
    let room = room(trace, limit);
    let seconds = granted(&mut stays, room, |stay| stay.seconds);
    let mut hits = |of| whole(granted(&mut stays, room, |stay| if stay.of == of { 1.0 } else { 0.0 }));
    let (images, packages) = (hits(Of::Image), hits(Of::Package));
    Sum {
        images: sum.images.saturating_add(images),
        packages: sum.packages.saturating_add(packages),
        saved_seconds: sum.saved_seconds + seconds,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counted, never negative")]
fn whole(hits: f64) -> u64 {
    hits.floor() as u64
}

fn room(trace: &Trace, limit: u64) -> f64 {
    product(limit, trace.uses.len() - trace.first.min(trace.uses.len()))
}

#[expect(clippy::cast_precision_loss, reason = "a bound that is off by a rounding error")]
fn product(bytes: u64, steps: usize) -> f64 {
    bytes as f64 * steps as f64
}

/// The most that stays can be worth that take this room together, where a part of one counts.
fn granted(stays: &mut [Stay], mut room: f64, value: impl Fn(&Stay) -> f64) -> f64 {
    let cost = |stay: &Stay| product(stay.bytes, stay.steps);
    let worth = |stay: &Stay| if cost(stay) > 0.0 { value(stay) / cost(stay) } else { f64::INFINITY };
    stays.sort_by(|one, other| worth(other).total_cmp(&worth(one)));
    let mut sum = 0.0;
    for stay in stays {
        let cost = cost(stay);
        if cost > room {
            return sum + value(stay) * room / cost;
        }
        room -= cost;
        sum += value(stay);
    }
    sum
}
