//! Versions in the order of their ecosystem.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::ecosystem::Ecosystem;

/// A version, of an ecosystem whose order is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Semantic Versioning 2.0, without what stands behind a `+`, which has no order.
    Semantic(semver::Version),
    /// PEP 440.
    Python(Box<pep440_rs::Version>),
}

impl Version {
    /// `None` where the ecosystem's rules cannot read it, or are not known.
    pub(super) fn read(kind: Ecosystem, text: &str) -> Option<Self> {
        match kind {
            Ecosystem::Npm | Ecosystem::Cargo | Ecosystem::Go => semantic(text).map(Self::Semantic),
            Ecosystem::Python => {
                // The names of wheels have `_` where versions have `-`.
                let version = pep440_rs::Version::from_str(&text.replace('_', "-")).ok()?;
                Some(Self::Python(Box::new(version)))
            }
            _ => None,
        }
    }
}

/// Advisories of Go have no `v`, and leave out what is not there: `1.2` is `1.2.0`.
fn semantic(text: &str) -> Option<semver::Version> {
    let text = text.trim().trim_start_matches(['v', '=']);
    let text = text.split('+').next()?;
    let numbers = text.find('-').unwrap_or(text.len());
    let (numbers, rest) = text.split_at(numbers);
    let missing = 2_usize.checked_sub(numbers.matches('.').count())?;
    semver::Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Semantic(one), Self::Semantic(other)) => one.cmp(other),
            (Self::Python(one), Self::Python(other)) => one.cmp(other),
            (Self::Semantic(_), Self::Python(_)) => Ordering::Less,
            (Self::Python(_), Self::Semantic(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
