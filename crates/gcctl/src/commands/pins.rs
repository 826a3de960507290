//! Pins, set, taken off and listed.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use storekit::{Fetched, Given, Key, KeyOrName, Pin, Store, image_name};
use toolkit::words::count;
use toolkit::{Align, Outcome, Table};

use super::console::{Console, lookup};
use crate::error::Result;
use crate::holds::{self, Base, BaseId};
use crate::limits::scoped::pattern;

/// What is pinned: an image, or all whose key or name is like a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// One image.
    One(KeyOrName),
    /// Those that there are and that come.
    Pattern(String),
}

impl FromStr for Pinned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['*', '?', '[', '{']) {
            pattern(text)?;
            if text.contains(['\n', '\r']) {
                return Err("a pattern has one line".to_owned());
            }
            return Ok(Self::Pattern(text.to_owned()));
        }
        text.parse().map(Self::One).map_err(|error: <KeyOrName as FromStr>::Err| error.to_string())
    }
}

/// When a pin ends: a day, which is the last, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until(pub Timestamp);

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self(time));
        }
        let day: Option<Date> = text.parse().ok();
        let end = day.and_then(|day| day.checked_add(1.day()).ok()?.to_zoned(TimeZone::UTC).ok());
        let wrong = || {
            format!(
                "{text:?} is not a day or a time: write it like `2027-01-31` (UTC), or as RFC 3339 has it"
            )
        };
        end.map(|end| Self(end.timestamp())).ok_or_else(wrong)
    }
}

/// Pins what is meant: it never goes.
///
/// # Errors
/// A text that may mean several; a store that cannot be read or written.
pub fn pin(store: &Store, what: &[Pinned], pin: Pin, console: &mut Console<'_>) -> Result<Outcome> {
    let images = store.images();
    if !pin.holds_at(Timestamp::now()) {
        console.warn("`--until` is over already, so that the pin would hold nothing: nothing was pinned");
        return Ok(Outcome::No);
    }
    let found = what.iter().map(|it| meant(store, it)).collect::<Result<Vec<_>>>()?;
    each(found.into_iter(), console, |meant| match meant {
        Meant::Pattern(pattern) => {
            let done = pinned_word(images.pin_pattern(pattern, pin)?);
            let holds = Held::default().by(store, None, Some(pattern))?;
            Ok(Done::Said(format!("{done}: holds {holds}")))
        }
        Meant::Key(key) => {
            // One that cannot be read is worth no pin.
            if images.get(key)?.is_none() {
                let why = format!("nothing is stored under `{key}`: `gcctl ls` lists the keys");
                return Ok(Done::Refused(why));
            }
            let lacks = if pin.closure { lacking(store, key)? } else { Vec::new() };
            let done = pinned_word(images.pin_as(key, pin)?);
            Ok(if lacks.is_empty() { Done::It(done) } else { Done::With(done, lacks) })
        }
    })
}

/// What a closure cannot hold of what a rebuild of the key needs, in words.
fn lacking(store: &Store, key: &Key) -> Result<Vec<String>> {
    let images = store.images();
    let (inputs, fetched) = (images.inputs(key)?, images.fetched(key)?);
    if inputs.is_none() && fetched.is_none() {
        return Ok(vec!["nothing is noted of what a rebuild of it needs: it alone is held".to_owned()]);
    }
    let mut lacks = Vec::new();
    for Base { name, id } in holds::bases(&inputs.unwrap_or_default()) {
        let is_stored = match &id {
            BaseId::Key(key) => images.get(key)?.is_some(),
            BaseId::Digest(digest) => images.blobs().contains(digest),
        };
        if !is_stored {
            lacks.push(format!(
                "its base `{name}` is not in the store, only in an engine or a registry, and cannot be held: \
                 `imgtar save` or `imgtar pull` stores it"
            ));
        }
    }
    let entries = store.packages().entries();
    // Of what upstreams change, what was given is kept beside what they say now.
    let place = |it: &Given| it.kept.clone().or_else(|| it.entry.clone());
    let is_stored = |it: &Given| place(it).is_some_and(|entry| entries.join(entry).exists());
    let fetched = fetched.unwrap_or_default();
    let gone = Fetched::lenient(&fetched).filter(|it| it.status.is_none() && !is_stored(it)).count() as u64;
    if gone > 0 {
        let files = count(gone, "file");
        lacks.push(format!("{files} that its build fetched cannot be held: not stored, or not any more"));
    }
    Ok(lacks)
}

fn pinned_word(new: bool) -> &'static str {
    if new { "pinned" } else { "was pinned already" }
}

/// Takes the pins off. A key may be pinned that is not stored.
///
/// # Errors
/// As [`pin`].
pub fn unpin(store: &Store, what: &[Pinned], console: &mut Console<'_>) -> Result<Outcome> {
    let images = store.images();
    let pins = images.all_pins()?;
    let found = what.iter().map(|it| match it {
        Pinned::One(text) => match text.as_str().parse() {
            Ok(key) if pins.keys.contains_key(&key) => Ok(Ok(Meant::Key(key))),
            _ => meant(store, it),
        },
        Pinned::Pattern(_) => meant(store, it),
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    each(found.into_iter(), console, |meant| {
        let had = match meant {
            Meant::Key(key) => images.unpin(key)?,
            Meant::Pattern(pattern) => images.unpin_pattern(pattern)?,
        };
        let others = match meant {
            Meant::Key(key) => holds::patterns_on(&images, key, Timestamp::now())?,
            Meant::Pattern(_) => Vec::new(),
        };
        let others: Vec<_> = others
            .iter()
            .map(|pattern| format!("the pattern `{pattern}` holds it still: `gcctl unpin '{pattern}'`"))
            .collect();
        Ok(match (had, others.is_empty()) {
            (true, true) => Done::It("is no longer pinned"),
            (true, false) => Done::With("is no longer pinned by its key", others),
            (false, true) => Done::Refused(format!("`{meant}` was not pinned")),
            (false, false) => {
                Done::Refused(format!("`{meant}` was not pinned by its key; {}", others.join("; ")))
            }
        })
    })
}

/// A pin as it is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    closure: bool,
    /// Whether it has ended.
    over: bool,
}

/// Lists the pins.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn pins(store: &Store, console: &mut Console<'_>) -> Result<Outcome> {
    let (pins, now) = (store.images().all_pins()?, Timestamp::now());
    let keys = pins.keys.iter().map(|(key, pin)| (Some(key), None, *pin));
    let patterns = pins.patterns.iter().map(|(pattern, pin)| (None, Some(pattern.as_str()), *pin));
    let mut held = Held::default();
    let mut table = Table::new(&[("PIN", Align::Left), ("UNTIL", Align::Left), ("HOLDS", Align::Left)]);
    for (key, pattern, pin) in keys.chain(patterns) {
        let over = !pin.holds_at(now);
        if console.json {
            console.line(&Line { key, pattern, until: pin.until, closure: pin.closure, over })?;
            continue;
        }
        let what = key.map(Key::as_str).or(pattern).unwrap_or_default();
        let until = pin.until.map_or_else(|| "-".to_owned(), |until| until.to_string());
        let holds = match (over, pin.closure) {
            (true, _) => "nothing: it is over".to_owned(),
            (false, true) => format!("{}, and what a rebuild needs", held.by(store, key, pattern)?),
            (false, false) => held.by(store, key, pattern)?,
        };
        table.row([what.to_owned(), until, holds]);
    }
    for name in &pins.unread {
        console.warn(format!("`images/pins/{name}` cannot be read: it holds all images until it is removed"));
    }
    let has_rows = !(pins.keys.is_empty() && pins.patterns.is_empty());
    if !has_rows && pins.unread.is_empty() {
        console.say("nothing is pinned");
    } else if has_rows && !console.json {
        console.table(&table)?;
    }
    console.flush().map(|()| Outcome::Yes)
}

/// What pins hold, in words; all images are read once, where a pattern asks for them.
#[derive(Default)]
struct Held(Option<Vec<(Key, Vec<String>)>>);

impl Held {
    fn by(&mut self, store: &Store, key: Option<&Key>, pattern: Option<&str>) -> Result<String> {
        if self.0.is_none() {
            let listed = store.images().list_sound()?.into_iter();
            self.0 = Some(listed.map(|it| (it.key.clone(), holds::names_of(&it.key, &it.entry))).collect());
        }
        let all = self.0.as_deref().unwrap_or_default();
        if let Some(key) = key {
            let found = all.iter().find(|(it, _)| it == key);
            return Ok(match found.map(|(_, names)| names.first()) {
                Some(Some(name)) if name != key.as_str() => format!("the image `{name}`"),
                Some(_) => "one image".to_owned(),
                None if store.images().look_at(key)?.is_some() => "one image, which is damaged".to_owned(),
                None => "nothing yet: no image has this key".to_owned(),
            });
        }
        let Ok(glob) = pattern.map_or(Err(String::new()), self::pattern) else {
            return Ok("all images: the pattern cannot be understood".to_owned());
        };
        let glob = glob.compile_matcher();
        let number = all.iter().filter(|(_, names)| names.iter().any(|name| glob.is_match(name))).count();
        Ok(if number == 0 { "nothing yet".to_owned() } else { count(number as u64, "image") })
    }
}

/// What a text means.
enum Meant {
    Key(Key),
    Pattern(String),
}

impl fmt::Display for Meant {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Key(key) => key.as_str(),
            Self::Pattern(pattern) => pattern,
        })
    }
}

/// What is meant, or a word that it is not there. A name without a tag that no image has, but that
/// some have with a tag, means all of these.
fn meant(store: &Store, what: &Pinned) -> Result<std::result::Result<Meant, String>> {
    Ok(match what {
        Pinned::Pattern(pattern) => Ok(Meant::Pattern(pattern.clone())),
        Pinned::One(text) => match lookup(store, text)? {
            Some(key) => Ok(Meant::Key(key)),
            None => all_tags(store, text.as_str())?
                .map(Meant::Pattern)
                .ok_or_else(|| format!("{}; `gcctl ls` lists the keys", text.absent())),
        },
    })
}

/// The pattern of all tags of a name that has none; `None` where no image has one of these.
fn all_tags(store: &Store, name: &str) -> Result<Option<String>> {
    if image_name::without_tag(name) != name {
        return Ok(None);
    }
    let images = store.images().list_sound()?;
    let mut names = images.iter().flat_map(|image| &image.entry.names);
    let is_meant =
        |it: &&String| image_name::without_tag(image_name::familiar(it)) == image_name::familiar(name);
    Ok(names.find(is_meant).map(|it| format!("{}:*", image_name::without_tag(it))))
}

/// What a command did with one.
enum Done {
    /// It did it; the words follow the key.
    It(&'static str),
    /// The same, with more words.
    Said(String),
    /// The same, and what is to be known of it.
    With(&'static str, Vec<String>),
    /// It did not, and why.
    Refused(String),
}

/// Does it for each that is meant; [`Outcome::No`] where there is none, or it was refused.
fn each(
    found: impl Iterator<Item = std::result::Result<Meant, String>>,
    console: &mut Console<'_>,
    each: impl Fn(&Meant) -> Result<Done>,
) -> Result<Outcome> {
    let mut all = true;
    for meant in found {
        let done = match &meant {
            Ok(meant) => each(meant)?,
            Err(absent) => Done::Refused(absent.clone()),
        };
        let name = meant.map(|meant| meant.to_string()).unwrap_or_default();
        match done {
            Done::It(done) => console.say(format!("`{name}` {done}")),
            Done::Said(done) => console.say(format!("`{name}` {done}")),
            Done::With(done, more) => {
                console.say(format!("`{name}` {done}"));
                for more in more {
                    console.warn(format!("`{name}`: {more}"));
                }
            }
            Done::Refused(refused) => {
                all = false;
                console.warn(refused);
            }
        }
    }
    Ok(Outcome::from_bool(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_ends_after_its_last_day() {
        let until = |text: &str| text.parse::<Until>().map(|until| until.0.to_string());
        assert_eq!(until("2027-01-31").unwrap(), "2027-02-01T00:00:00Z");
        assert_eq!(until("2027-01-31T10:00:00+01:00").unwrap(), "2027-01-31T09:00:00Z");
        for wrong in ["tomorrow", "2027-13-01", "31.1.2027", ""] {
            until(wrong).unwrap_err();
        }
    }

    #[test]
    fn what_has_a_mark_is_a_pattern() {
        let read = |text: &str| text.parse::<Pinned>();
        assert_eq!(read("app:*").unwrap(), Pinned::Pattern("app:*".into()));
        assert!(matches!(read("app:1").unwrap(), Pinned::One(_)));
        read("app[").unwrap_err();
    }
}
