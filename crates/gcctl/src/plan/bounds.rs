//! How many bytes may be there by the limits of the whole store.

use std::cmp::Reverse;

use toolkit::amount::Amount;

use crate::limits::{Limits, Watermarks, Why};

/// What becomes of the newest image of each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    /// It stays.
    Stays,
    /// It stays where the bound cannot be met even without it.
    StaysIfUnmet,
    /// It goes as all else: so many bytes are reserved instead.
    Goes,
}

/// How many bytes may be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// So many, trash included.
    pub(super) bytes: u64,
    /// So many of what is not trash stay in any case.
    pub(super) floor: u64,
    pub(super) why: Why,
    /// Whether it could be met at all if the store were empty.
    pub(super) is_possible: bool,
    pub(super) newest: Newest,
    /// Whether it takes packages and trash alone.
    pub(super) of_packages: bool,
}

impl Bound {
    /// Down to how many bytes something goes.
    pub(super) fn stays(&self) -> u64 {
        self.bytes.max(self.floor)
    }
}

/// By each limit, the loosest first, where all that is governed has so many bytes, and so many are
/// free. Shares are settled.
pub(super) fn of(limits: &Limits, governed: u64, free: u64) -> Vec<Bound> {
    let bytes = |amount: Option<Amount>| amount.map(|amount| amount.of(0));
    let floor = bytes(limits.reserved).unwrap_or(0);
    let any = Bound {
        bytes: 0,
        floor,
        why: Why::MaxSize,
        is_possible: true,
        newest: if limits.reserved.is_none() { Newest::StaysIfUnmet } else { Newest::Goes },
        of_packages: false,
    };
    let marks = limits.watermarks().filter(|Watermarks { high, .. }| governed > *high);
    let size = marks.map(|Watermarks { low, .. }| Bound { bytes: low, ..any });
    let lacking = bytes(limits.min_free).map(|least| least.saturating_sub(free));
    let free = lacking.filter(|lacking| *lacking > 0).map(|lacking| Bound {
        bytes: governed.saturating_sub(lacking),
        why: Why::MinFree,
        is_possible: lacking <= governed,
        newest: if limits.reserved.is_none() { Newest::Stays } else { Newest::Goes },
        of_packages: limits.min_free_by_default,
        ..any
    });
    let mut bounds: Vec<_> = size.into_iter().chain(free).collect();
    bounds.sort_by_key(|bound| Reverse(bound.bytes));
    bounds
}
