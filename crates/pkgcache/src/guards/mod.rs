//! What a team keeps from its builds: which packages, and which versions of them, are handed on at
//! all. Every guard is off unless it is set.
//!
//! [`Guards`] says yes or no of a package by what is known of it, and why. The flow of a request
//! asks in two places (`index/guarded`): by the name, before anything of it is sent to an upstream,
//! and by what its index says of it. The same is said of all versions of an index, so that clients
//! choose others.
//!
//! Deliberately absent: settings (`config/guards`), requests, the store.
//!
//! Limit: what a mount's kind does not know the name of (`generic` mounts, tunnels) only the
//! namespaces guard, and these by the words of a URL.

mod advisories;
mod osv;
mod pattern;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use http::Uri;
use jiff::Timestamp;
use storekit::Level;

pub(crate) use self::advisories::Watched;
pub(crate) use self::osv::Advisories;
pub use self::pattern::Pattern;
use crate::ecosystem::Ecosystem;
use crate::ecosystem::table::Standing;

/// Which guard said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guard {
    /// The name belongs to another upstream.
    Namespace,
    /// It is on the list of what is blocked.
    Block,
    /// It is not on the list of what is allowed.
    Allow,
    /// An advisory names it.
    Osv,
    /// It is too young.
    Cooldown,
    /// Nothing vouches for its bytes as well as it has to.
    Require,
    /// It was taken back.
    Withdrawn,
}

impl Guard {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] = [
        Self::Namespace,
        Self::Block,
        Self::Allow,
        Self::Osv,
        Self::Cooldown,
        Self::Require,
        Self::Withdrawn,
    ];

    /// The word for it in settings, answers and counts.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Block => "block",
            Self::Allow => "allow",
            Self::Osv => "osv",
            Self::Cooldown => "cooldown",
            Self::Require => "require",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// That something is not handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which guard says so.
    pub(crate) guard: Guard,
    /// Of what, and why, in words that clients show.
    pub(crate) text: String,
}

/// A package, as a request or an index names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) kind: Ecosystem,
    pub(crate) name: &'a str,
    pub(crate) version: Option<&'a str>,
}

/// What is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) block: Vec<Pattern>,
    /// Where a kind has some, all else of it is refused.
    pub(crate) allow: Vec<Pattern>,
    pub(crate) osv: Option<OsvFiles>,
    /// How old a version has to be, in seconds.
    pub(crate) cooldown: BTreeMap<Ecosystem, i64>,
    /// What may be younger.
    pub(crate) cooldown_except: Vec<Pattern>,
    /// Who has to vouch for files.
    pub(crate) require: BTreeMap<Ecosystem, Level>,
    pub(crate) refuses_withdrawn: bool,
}

/// Names that belong to one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) pattern: Pattern,
    /// The mount or registry, in words.
    pub(crate) owner: String,
    /// Where that is.
    pub(crate) url: Uri,
}

/// Files of advisories, and what counts of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OsvFiles {
    pub(crate) paths: Vec<Utf8PathBuf>,
    /// Whether all advisories count, and not those of malicious packages alone.
    pub(crate) all: bool,
    /// Advisories that do not count, by their names.
    pub(crate) ignore: BTreeSet<String>,
}

impl Guards {
    /// What is said of a package by its name, and its version where that is known.
    #[must_use]
    pub(crate) fn by_name(&self, subject: Subject<'_>, advisories: Option<&Advisories>) -> Option<Refusal> {
        let Subject { kind, name, version } = subject;
        if let Some(pattern) = self.block.iter().find(|it| it.has(kind, name, version)) {
            return Some(refusal(Guard::Block, subject, &format!("`{pattern}` is blocked")));
        }
        let mut allowed = self.allow.iter().filter(|it| it.kind() == kind).peekable();
        if allowed.peek().is_some() {
            // An index is of all versions.
            let fits = |it: &Pattern| {
                if version.is_some() { it.has(kind, name, version) } else { it.has_name(kind, name) }
            };
            if !allowed.any(fits) {
                return Some(refusal(Guard::Allow, subject, "it is not on the list of what is allowed"));
            }
        }
        let advisory = advisories?.of(kind, name, version?)?;
        Some(refusal(Guard::Osv, subject, &format!("the advisory {advisory} names it")))
    }

    /// Whether what an index says of a version matters.
    #[must_use]
    pub(crate) fn needs_standing(&self, kind: Ecosystem) -> bool {
        self.cooldown.contains_key(&kind) || self.refuses_withdrawn
    }

    /// Whether it matters which index names a file.
    #[must_use]
    pub(crate) fn needs_index(&self, kind: Ecosystem) -> bool {
        self.needs_standing(kind) || self.require.get(&kind).is_some_and(|level| *level > Level::Addressed)
    }

    /// How old the package has to be, in seconds.
    #[must_use]
    pub(crate) fn cooldown(&self, subject: Subject<'_>) -> Option<i64> {
        let age = self.cooldown.get(&subject.kind).copied()?;
        let is_free = |it: &Pattern| it.has(subject.kind, subject.name, subject.version);
        (!self.cooldown_except.iter().any(is_free)).then_some(age)
    }

    /// What is said of a version by what its index says of it. `seen` says when it was first seen
    /// here, in seconds since 1970: it is asked only where that counts.
    #[must_use]
    pub(crate) fn by_standing(
        &self,
        subject: Subject<'_>,
        standing: Standing,
        now: i64,
        seen: impl FnOnce() -> i64,
    ) -> Option<Refusal> {
        if self.refuses_withdrawn && standing.withdrawn {
            return Some(refusal(Guard::Withdrawn, subject, "its index has taken it back"));
        }
        let age = self.cooldown(subject)?;
        let (since, how) = match standing.published {
            Some(published) => (i64::from(published), "was published"),
            None => (seen(), "was first seen here, where its index has no date,"),
        };
        let until = since.saturating_add(age);
        let why = || format!("it {how} on {} and may be had from {}", shown(since), shown(until));
        (now < until).then(|| refusal(Guard::Cooldown, subject, &why()))
    }

    /// What is said of a file by who vouches for it.
    #[must_use]
    pub(crate) fn by_level(&self, kind: Ecosystem, file: &str, level: Level) -> Option<Refusal> {
        let least = *self.require.get(&kind)?;
        let text = || {
            let (least, level) = (least.name(), level.name());
            format!(
                "refused by the guard `require`: {file} is vouched for as `{level}`, and has to be `{least}`"
            )
        };
        (level < least).then(|| Refusal { guard: Guard::Require, text: text() })
    }
}

fn refusal(guard: Guard, subject: Subject<'_>, why: &str) -> Refusal {
    let (kind, name) = (subject.kind.name(), storekit::printable(subject.name));
    let version = subject.version.map(|it| format!(" {}", storekit::printable(it))).unwrap_or_default();
    Refusal { guard, text: format!("refused by the guard `{}`: {kind} {name}{version}: {why}", guard.name()) }
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod views;
