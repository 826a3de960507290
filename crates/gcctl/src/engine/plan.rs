//! What of an engine would go, and why.

use jiff::Timestamp;
use toolkit::words::span;

use super::rules::Rules;
use super::{Item, What};
use storekit::image_name::spellings;

/// An item that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// The item.
    pub item: Item,
    /// For how many seconds nothing used it, or for how many it is there.
    pub unused: u64,
}

impl Going {
    /// The reason in words.
    #[must_use]
    pub fn why(&self) -> String {
        let span = span(self.unused);
        match self.item.what {
            What::Container => format!("does not run, made {span} ago"),
            What::Image if self.item.is_dangling() => format!("no name, no container, made {span} ago"),
            What::Image => format!("no container, made {span} ago"),
            What::Build => format!("not used for {span}"),
        }
    }
}

/// The items that go, those that are oldest first. One of which the engine does not say how old it
/// is stays, and so does one that a clock made in the future.
#[must_use]
pub fn choose(items: &[Item], rules: &Rules, now: Timestamp) -> Vec<Going> {
    let going = |item: &Item| {
        let age = now.duration_since(item.since?);
        let is_old = age.is_positive() && age.unsigned_abs() >= rules.max_age.0;
        is_old.then(|| Going { item: item.clone(), unused: age.unsigned_abs().as_secs() })
    };
    let candidates: Vec<_> = items.iter().filter(|item| may_go(item, rules)).collect();
    let mut old: Vec<_> = candidates.iter().filter_map(|item| going(item)).collect();
    old.sort_by(|one, other| (one.item.since, &one.item.id).cmp(&(other.item.since, &other.item.id)));
    let Some(most) = rules.max_size else { return old };
    let mut left = candidates.iter().fold(0, |left: u64, item| left.saturating_add(item.own));
    let mut goes = |going: &Going| {
        let is_too_much = left > most.0;
        left = left.saturating_sub(going.item.own);
        is_too_much
    };
    old.into_iter().take_while(|going| goes(going)).collect()
}

/// Why what is there stays, in words: how many are in use, kept by their names, have names, are too
/// young, or fit.
#[must_use]
pub fn why_they_stay(items: &[Item], rules: &Rules, now: Timestamp) -> String {
    let going = choose(items, rules, now);
    let (mut used, mut kept, mut named, mut young, mut fit) = (0, 0, 0, 0, 0);
    for item in items.iter().filter(|item| !going.iter().any(|one| one.item == **item)) {
        let is_old = item.since.is_some_and(|since| {
            let age = now.duration_since(since);
            age.is_positive() && age.unsigned_abs() >= rules.max_age.0
        });
        let counter = match item {
            _ if item.in_use => &mut used,
            _ if is_kept(item, rules) => &mut kept,
            _ if !may_go(item, rules) => &mut named,
            _ if !is_old => &mut young,
            _ => &mut fit,
        };
        *counter += 1_u64;
    }
    let age = span(rules.max_age.0.as_secs());
    let parts = [
        (used, "in use".to_owned()),
        (kept, "kept by `keep`".to_owned()),
        (named, "an image with a name (`--named` lets those go)".to_owned()),
        (young, format!("unused for less than {age}")),
        (fit, "within `max-size`".to_owned()),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts.map(|(number, why)| format!("{number} {why}")).collect();
    if parts.is_empty() { "there is nothing".to_owned() } else { parts.join(", ") }
}

/// Whether a pattern of names keeps it.
fn is_kept(item: &Item, rules: &Rules) -> bool {
    let mut names = item.names.iter().flat_map(|name| spellings(name));
    item.what != What::Build && names.any(|name| rules.keep.is_match(&*name))
}

/// Whether it goes by anything but its age and size.
fn may_go(item: &Item, rules: &Rules) -> bool {
    let is_meant = item.what != What::Image || item.is_dangling() || rules.named;
    !item.in_use && !is_kept(item, rules) && is_meant
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::{Glob, GlobSet, GlobSetBuilder};
    use std::time::Duration;
    use storekit::{Age, ByteSize};

    const HOUR: u64 = 3600;

    fn item(what: What, id: &str, name: &str, own: u64, hours: i64) -> Item {
        let since = Timestamp::from_second(1_000_000 - hours * 3600).ok();
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        Item { what, id: id.to_owned(), names, own, since, in_use: false }
    }

    fn items() -> Vec<Item> {
        vec![
            item(What::Image, "dangling", "", 10, 50),
            item(What::Image, "named", "app:1", 20, 60),
            item(What::Container, "stopped", "job", 1, 40),
            item(What::Build, "step", "RUN make", 30, 30),
            item(What::Image, "young", "", 5, 1),
            item(What::Image, "future", "", 5, -50),
            Item { in_use: true, ..item(What::Image, "used", "", 7, 90) },
            Item { since: None, ..item(What::Build, "undated", "COPY", 2, 0) },
        ]
    }

    fn rules() -> Rules {
        Rules {
            max_age: Age(Duration::from_secs(24 * HOUR)),
            max_size: None,
            named: false,
            keep: GlobSet::empty(),
        }
    }

    #[track_caller]
    fn goes(rules: &Rules, expected: &[&str]) {
        let gone = choose(&items(), rules, Timestamp::from_second(1_000_000).unwrap());
        assert_eq!(gone.iter().map(|going| going.item.id.as_str()).collect::<Vec<_>>(), expected);
    }

    fn keep(pattern: &str) -> GlobSet {
        GlobSetBuilder::new().add(Glob::new(pattern).unwrap()).build().unwrap()
    }

    #[test]
    fn what_nothing_needs_goes_when_it_is_old() {
        goes(&rules(), &["dangling", "stopped", "step"]);
        goes(&Rules { named: true, ..rules() }, &["named", "dangling", "stopped", "step"]);
        goes(&Rules { max_age: Age(Duration::from_secs(45 * HOUR)), ..rules() }, &["dangling"]);
    }

    #[test]
    fn what_is_kept_by_its_name_stays() {
        goes(&Rules { named: true, keep: keep("app:*"), ..rules() }, &["dangling", "stopped", "step"]);
        goes(&Rules { keep: keep("j*"), ..rules() }, &["dangling", "step"]);
        goes(&Rules { keep: keep("RUN*"), ..rules() }, &["dangling", "stopped", "step"]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_is_small_enough() {
        let within = |bytes| Rules { max_size: Some(ByteSize(bytes)), ..rules() };
        // Of 53 bytes that may go.
        goes(&within(53), &[]);
        goes(&within(52), &["dangling"]);
        goes(&within(43), &["dangling"]);
        goes(&within(42), &["dangling", "stopped"]);
        goes(&within(0), &["dangling", "stopped", "step"]);
    }
}
