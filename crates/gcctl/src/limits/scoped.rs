//! Limits of some things: by kind, ecosystem and name.

use globset::Glob;
use storekit::{Age, WrittenSize};
use toolkit::amount::Setting;
use toolkit::tables::{Limit, Selector};

use super::Part;

/// More limits of some things are refused.
pub const MOST: usize = 200;

/// A limit of some things. What is `None` has no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped {
    /// Of which.
    pub of: Selector,
    /// How many bytes they have together on disk; what several of them share counts once.
    pub max_size: Option<WrittenSize>,
    /// How long one may stay unused, whatever the limits of more things say.
    pub max_age: Option<Setting<Age>>,
    /// How many there are.
    pub max_entries: Option<u64>,
    /// How many images of each name stay whatever the other limits are.
    pub keep_last: Option<u64>,
}

impl Scoped {
    /// Whether something may go for this part of it.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        match part {
            Part::Age => matches!(self.max_age, Some(Setting::Is(_))),
            Part::Entries => self.max_entries.is_some(),
            Part::Size => self.max_size.is_some(),
        }
    }

    /// Takes this part of it away.
    pub(crate) fn clear(&mut self, part: Part) {
        match part {
            Part::Age => self.max_age = None,
            Part::Entries => self.max_entries = None,
            Part::Size => self.max_size = None,
        }
    }

    /// Whether nothing goes for it.
    #[must_use]
    pub fn takes_nothing(&self) -> bool {
        [Part::Age, Part::Entries, Part::Size].into_iter().all(|part| !self.has(part))
    }
}

impl From<Limit> for Scoped {
    fn from(limit: Limit) -> Self {
        let Limit { of, max_size, max_age, max_entries, keep_last } = limit;
        Self {
            of,
            max_size: max_size.and_then(Setting::value),
            max_age,
            max_entries: max_entries.and_then(Setting::value).map(|count| count.0),
            keep_last: keep_last.and_then(Setting::value).map(|count| count.0),
        }
    }
}

/// What a nearer place says of a limit, before what a farther one says of the same things.
#[must_use]
pub fn nearer(near: Limit, far: &Limit) -> Limit {
    Limit {
        of: near.of,
        max_size: near.max_size.or(far.max_size),
        max_age: near.max_age.or(far.max_age),
        max_entries: near.max_entries.or(far.max_entries),
        keep_last: near.keep_last.or(far.keep_last),
    }
}

/// The lists together: the farther one's first, so that the last of several that are about one
/// thing is the nearest. Those of the same things are one.
#[must_use]
pub fn together(near: Vec<Limit>, far: Vec<Limit>) -> Vec<Limit> {
    let mut all = far;
    for limit in near {
        match all.iter_mut().find(|it| it.of == limit.of) {
            Some(known) => *known = nearer(limit, known),
            None => all.push(limit),
        }
    }
    all
}

/// No pattern is longer, in bytes; names of images and packages are not either.
const LONGEST: usize = 1024;
/// No pattern has more alternatives in braces, which may stand in one another.
const BRACES: usize = 32;

/// The pattern, ready to be matched: what this gives, globset can compile.
///
/// # Errors
/// What is wrong with it.
pub fn pattern(text: &str) -> Result<Glob, String> {
    if text.len() > LONGEST {
        return Err(format!("a pattern of names has at most {LONGEST} bytes, not {}", text.len()));
    }
    let braces = text.bytes().filter(|byte| *byte == b'{').count();
    if braces > BRACES {
        return Err(format!("a pattern of names has at most {BRACES} `{{`, not {braces}"));
    }
    Glob::new(text).map_err(|error| format!("`{text}` is no pattern of names: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compiled_is_not_a_pattern() {
        let nested = |depth: usize| format!("{}x{}", "{a,".repeat(depth), "}".repeat(depth));
        for text in [nested(33), nested(150_000), "?".repeat(1025), "[".to_owned()] {
            assert!(pattern(&text).is_err(), "{} bytes", text.len());
        }
        for text in [nested(32), "?".repeat(1024), "app-*".to_owned()] {
            assert!(!pattern(&text).unwrap().compile_matcher().is_match("/"), "{} bytes", text.len());
        }
    }

    fn limits(texts: &[&str]) -> Vec<Limit> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_nearer_goes_first_value_by_value() {
        let near = limits(&["ecosystem=npm,max-size=none", "kind=images,max-entries=3"]);
        let far = limits(&["kind=disks,max-entries=1", "ecosystem=npm,max-size=2GB,max-age=3d"]);
        let expected = [
            "kind=disks,max-entries=1",
            "ecosystem=npm,max-size=none,max-age=3d",
            "kind=images,max-entries=3",
        ];
        assert_eq!(together(near, far), limits(&expected));
    }
}
