//! For how long what clients get is handed on without a question, by its class: what can be set
//! (`ttl`, for all or for one mount), and what holds then.
//!
//! Only three classes have a time: what has a checksum cannot change, an interface is never
//! stored, and what is not known keeps to HTTP's rules.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use storekit::{Age, printable};
use toolkit::nearest;

use crate::ecosystem::Class;

/// The times that are set, by class; what is absent is left to the next in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ttl {
    index: Option<Age>,
    tag: Option<Age>,
    pinned_by_name: Option<Age>,
}

/// The times that hold, and what set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an index.
    pub(crate) index: Lifetime,
    /// Of a registry's tag.
    pub(crate) tag: Lifetime,
    /// Of a file of which nothing says a checksum.
    pub(crate) pinned_by_name: Lifetime,
}

/// A time, and what set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// So many seconds; `None` for ever.
    pub(crate) seconds: Option<i64>,
    pub(crate) set_by: SetBy,
}

/// Which setting decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetBy {
    /// None; the one of this name would.
    Default(&'static str),
    /// The one of this name, for all mounts.
    All(&'static str),
    /// The one of this name, for this mount.
    Mount(&'static str),
}

const INDEX: &str = "ttl.index";
const TAG: &str = "ttl.tag";
const PINNED_BY_NAME: &str = "ttl.pinned-by-name";
/// The shorter name of [`INDEX`].
const INDEX_TTL: &str = "index-ttl";

/// An index, where nothing is set.
const USUAL: i64 = 60;

impl Ttl {
    /// These times, and where they say nothing, the others.
    #[must_use]
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self {
            index: self.index.or(other.index),
            tag: self.tag.or(other.tag),
            pinned_by_name: self.pinned_by_name.or(other.pinned_by_name),
        }
    }

    /// Whether nothing is set.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Lifetimes {
    /// What holds for a mount with times of its `own`. The mount goes before what is set for all,
    /// and a tag is an index where nothing nearer is said of tags.
    #[must_use]
    pub(crate) fn of(own: &Ttl, all: &Ttl, index_ttl: Option<Age>) -> Self {
        let shared = [(all.index, SetBy::All(INDEX)), (index_ttl, SetBy::All(INDEX_TTL))];
        let own_index = (own.index, SetBy::Mount(INDEX));
        let index = [own_index].into_iter().chain(shared);
        let tag = [(own.tag, SetBy::Mount(TAG)), own_index, (all.tag, SetBy::All(TAG))];
        let pinned = [
            (own.pinned_by_name, SetBy::Mount(PINNED_BY_NAME)),
            (all.pinned_by_name, SetBy::All(PINNED_BY_NAME)),
        ];
        let usual = Self::default();
        Self {
            index: first(index, usual.index),
            tag: first(tag.into_iter().chain(shared), usual.tag),
            pinned_by_name: first(pinned, usual.pinned_by_name),
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        let usual = |seconds, name| Lifetime { seconds, set_by: SetBy::Default(name) };
        Self {
            index: usual(Some(USUAL), INDEX_TTL),
            tag: usual(Some(USUAL), TAG),
            pinned_by_name: usual(None, PINNED_BY_NAME),
        }
    }
}

fn first(set: impl IntoIterator<Item = (Option<Age>, SetBy)>, usual: Lifetime) -> Lifetime {
    let found = set.into_iter().find_map(|(age, set_by)| Some((age?, set_by)));
    found.map_or(usual, |(age, set_by)| Lifetime {
        seconds: Some(i64::try_from(age.0.as_secs()).unwrap_or(i64::MAX)),
        set_by,
    })
}

/// A class that has a time.
enum Timed {
    Index,
    Tag,
    PinnedByName,
}

/// All of them, as they are written.
const TIMED: [(Class, Timed); 3] =
    [(Class::Index, Timed::Index), (Class::Tag, Timed::Tag), (Class::PinnedByName, Timed::PinnedByName)];

/// Why the class of this name has no time.
fn refusal(name: &str) -> String {
    let known = "`index`, `tag` and `pinned-by-name` have one";
    let why = match name {
        "sub-index" | "artifact" | "self-certifying" => "what has a checksum cannot change",
        "api" => "it is never stored",
        "unknown" => "HTTP's rules hold for it, with `heuristic-freshness` where it names no lifetime",
        _ => {
            let meant = nearest::question(name, TIMED.iter().map(|(class, _)| class.name()));
            return format!("`{}` is not a class with a TTL: {meant}{known}", printable(name));
        }
    };
    format!("the class `{name}` has no TTL, since {why}; {known}")
}

impl<'de> Deserialize<'de> for Timed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Timed;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("the name of a class")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timed, E> {
                let found = TIMED.into_iter().find(|(class, _)| class.name() == text);
                found.map(|(_, timed)| timed).ok_or_else(|| E::custom(refusal(text)))
            }
        }

        from.deserialize_str(Name)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ByClass;

        impl<'de> Visitor<'de> for ByClass {
            type Value = Ttl;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("times by class, such as `{ index = \"60s\", tag = \"10s\" }`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Ttl, A::Error> {
                let mut ttl = Ttl::default();
                while let Some(class) = table.next_key::<Timed>()? {
                    let age = Some(table.next_value::<Age>()?);
                    match class {
                        Timed::Index => ttl.index = age,
                        Timed::Tag => ttl.tag = age,
                        Timed::PinnedByName => ttl.pinned_by_name = age,
                    }
                }
                Ok(ttl)
            }
        }

        from.deserialize_map(ByClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(text: &str) -> Result<Ttl, String> {
        #[derive(Deserialize)]
        struct Table {
            ttl: Ttl,
        }
        let table: Result<Table, _> = toml::from_str(&format!("ttl = {text}"));
        table.map(|table| table.ttl).map_err(|error| error.message().to_owned())
    }

    #[track_caller]
    fn lasts(own: &str, all: &str, index_ttl: Option<&str>, expected: [(Option<i64>, SetBy); 3]) {
        let index_ttl = index_ttl.map(|text| text.parse().unwrap());
        let Lifetimes { index, tag, pinned_by_name } =
            Lifetimes::of(&ttl(own).unwrap(), &ttl(all).unwrap(), index_ttl);
        let found = [index, tag, pinned_by_name].map(|it| (it.seconds, it.set_by));
        assert_eq!(found, expected, "{own} {all}");
    }

    #[test]
    fn the_mount_goes_first_and_then_the_class() {
        let (tag, pinned) = (SetBy::Default(TAG), (None, SetBy::Default(PINNED_BY_NAME)));
        lasts("{}", "{}", None, [(Some(60), SetBy::Default(INDEX_TTL)), (Some(60), tag), pinned]);
        let short = (Some(5), SetBy::All(INDEX_TTL));
        lasts("{}", "{}", Some("5s"), [short, short, pinned]);
        let index = (Some(7), SetBy::All(INDEX));
        lasts("{}", "{ index = \"7s\" }", Some("5s"), [index, index, pinned]);
        let shared = "{ index = \"7s\", tag = \"1m\", pinned-by-name = \"1h\" }";
        let (tag, pinned) = ((Some(60), SetBy::All(TAG)), (Some(3600), SetBy::All(PINNED_BY_NAME)));
        lasts("{}", shared, None, [index, tag, pinned]);
        let own = (Some(0), SetBy::Mount(INDEX));
        lasts("{ index = \"0s\" }", shared, None, [own, own, pinned]);
        let tag = (Some(9), SetBy::Mount(TAG));
        lasts("{ tag = \"9s\" }", shared, None, [index, tag, pinned]);
        let pinned = (Some(86_400), SetBy::Mount(PINNED_BY_NAME));
        lasts("{ pinned-by-name = \"1d\" }", "{}", Some("5s"), [short, short, pinned]);
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let message = ttl(text).unwrap_err();
        assert!(message.contains(words), "{text}: {message}");
    }

    #[test]
    fn a_class_without_a_time_is_refused_with_the_reason() {
        refused("{ tags = \"1s\" }", "`tags` is not a class with a TTL: is `tag` meant? `index`, `tag`");
        refused("{ pinned-by-nam = \"1s\" }", "is `pinned-by-name` meant?");
        refused("{ moving = \"1s\" }", "`moving` is not a class with a TTL: `index`, `tag` and");
        for class in ["sub-index", "artifact", "self-certifying"] {
            refused(
                &format!("{{ {class} = \"1s\" }}"),
                "has no TTL, since what has a checksum cannot change",
            );
        }
        refused("{ api = \"1s\" }", "since it is never stored");
        refused("{ unknown = \"1s\" }", "HTTP's rules hold for it");
        refused("{ index = 60 }", "\"60\" is not an age");
        refused("\"60s\"", "expected times by class, such as");
    }
}
