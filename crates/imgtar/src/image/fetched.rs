//! What the builds of a key fetched: the record beside its entry.
//!
//! A build whose steps may have come from the engine's own cache adds to the record, for what these
//! steps had fetched is in the image still; any other begins it anew. Which steps those were is not
//! known: so a record may name more than the image holds.
//!
//! Source: storekit's FORMAT.md, "What a build fetched".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The version of the format; a newer one is refused.
const VERSION: u64 = 1;
/// So many objects are told; more are counted.
const MOST: usize = 20_000;
/// The field of an object that an earlier build fetched.
const EARLIER: &str = "earlier";

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// When the last build ended.
    pub time: Timestamp,
    /// How many objects are not told.
    pub left_out: u64,
    /// Whether all steps of some build ran since the record was begun.
    pub complete: bool,
    /// The objects by their URLs and entries, as they are written.
    pub objects: BTreeMap<Place, Value>,
}

/// Why a text is not a record.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Unread {
    /// It is of a later version of the format: which.
    #[error("it is of version {0}, and this program knows {VERSION}")]
    Newer(u64),
    /// It was never one, or is damaged: why.
    #[error("{0}")]
    Bad(String),
}

/// What tells objects apart: the URL, and the path of the package's entry (empty where there is
/// none).
pub type Place = (String, String);

/// Its first line.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u64,
    time: Timestamp,
    #[serde(default)]
    objects: usize,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    left_out: u64,
    #[serde(default)]
    complete: bool,
}

/// What people are shown of an object.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Object {
    /// Where it is from.
    pub url: String,
    /// The kind of client.
    #[serde(default)]
    pub ecosystem: String,
    /// The package's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// The digest of its bytes, as it is written.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether it was not fetched by the last build, but by one before.
    #[serde(default)]
    pub earlier: bool,
    /// Who vouches for it.
    #[serde(default)]
    pub level: Option<String>,
    /// Its size in bytes.
    #[serde(default)]
    pub bytes: u64,
}

impl Fetched {
    /// Reads a record's text.
    ///
    /// # Errors
    /// What of it is not a record's.
    pub fn parse(text: &[u8]) -> Result<Self, Unread> {
        let text = std::str::from_utf8(text).map_err(|_| Unread::Bad("it is not UTF-8".to_owned()))?;
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|error| Unread::Bad(format!("its first line says nothing of it: {error}")))?;
        if head.version > VERSION {
            return Err(Unread::Newer(head.version));
        }
        let mut objects = BTreeMap::new();
        for (at, line) in lines.enumerate() {
            let object: Value = serde_json::from_str(line).unwrap_or_default();
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            let url = text("url");
            let bad = || Unread::Bad(format!("its line {} is not an object with a URL", at + 2));
            let url = url.ok_or_else(bad)?;
            objects.insert((url, text("entry").unwrap_or_default()), object);
        }
        let (time, left_out, complete) = (head.time, head.left_out, head.complete);
        let mut fetched = Self { time, left_out, complete, objects };
        fetched.cut();
        Ok(fetched)
    }

    /// What stands from now on, after what stood before.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Option<Self> {
        match before {
            _ if self.complete => Some(self),
            // What no step fetched, and nothing is known of the others, is no record.
            None => (!self.objects.is_empty()).then_some(self),
            Some(mut before) => {
                before.objects.values_mut().filter_map(Value::as_object_mut).for_each(|object| {
                    object.insert(EARLIER.to_owned(), Value::Bool(true));
                });
                before.objects.extend(self.objects);
                before.time = self.time;
                before.left_out = before.left_out.saturating_add(self.left_out);
                before.cut();
                Some(before)
            }
        }
    }

    /// The same of another key, which does not tell all of this one.
    #[must_use]
    pub fn doubted(self) -> Self {
        Self { complete: false, ..self }
    }

    fn cut(&mut self) {
        while self.objects.len() > MOST {
            self.objects.pop_last();
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// The text of the record.
    #[must_use]
    pub fn to_text(&self) -> String {
        let head = Head {
            version: VERSION,
            time: self.time,
            objects: self.objects.len(),
            bytes: self.bytes(),
            left_out: self.left_out,
            complete: self.complete,
        };
        let head = serde_json::to_string(&head).unwrap_or_default();
        let objects = self.objects.values().map(Value::to_string);
        std::iter::once(head).chain(objects).map(|line| line + "\n").collect()
    }

    /// The objects as people are shown them, in the order of their URLs.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        self.objects.values().map(|object| Object::deserialize(object).unwrap_or_default())
    }

    /// The size of all of them, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects().map(|object| object.bytes).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(complete: bool, objects: &[(&str, u64)]) -> Fetched {
        let head = format!("{{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\",\"complete\":{complete}}}\n");
        let line =
            |(url, bytes): &(&str, u64)| format!("{{\"url\":\"{url}\",\"bytes\":{bytes},\"later\":[1]}}\n");
        Fetched::parse((head + &objects.iter().map(line).collect::<String>()).as_bytes()).unwrap()
    }

    #[test]
    fn a_record_survives_its_text() {
        let one = record(true, &[("b", 1), ("a", 2)]);
        assert_eq!(Fetched::parse(one.to_text().as_bytes()).unwrap(), one);
        let text = one.to_text();
        assert!(text.starts_with(
            "{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\",\"objects\":2,\"bytes\":3,\"left_out\":0,\"complete\":true}\n"
        ));
        assert!(text.contains("\"later\":[1]") && text.find("\"a\"") < text.find("\"b\""), "{text}");
    }

    #[test]
    fn a_build_with_steps_of_the_engines_cache_adds_to_what_is_known() {
        let before = || Some(record(true, &[("a", 1), ("b", 1)]));
        let nothing = record(false, &[]);
        assert_eq!(nothing.clone().after(None), None);
        let urls = |record: Option<Fetched>| {
            let record = record.unwrap();
            let told: Vec<_> = record.objects().map(|it| (it.url, it.bytes, it.earlier)).collect();
            (told, record.complete)
        };
        let told = |objects: &[(&str, u64, bool)]| {
            objects.iter().map(|(url, bytes, earlier)| ((*url).to_owned(), *bytes, *earlier)).collect()
        };
        assert_eq!(urls(nothing.after(before())), (told(&[("a", 1, true), ("b", 1, true)]), true));
        let some = record(false, &[("b", 2), ("c", 2)]);
        assert_eq!(some.clone().after(None), Some(some.clone()));
        let all = told(&[("a", 1, true), ("b", 2, false), ("c", 2, false)]);
        assert_eq!(urls(some.after(before())), (all, true));
        // A build from scratch knows all, also that there was nothing.
        assert_eq!(record(true, &[]).after(before()), Some(record(true, &[])));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let refused = |text: &str, why: &str| {
            let said = Fetched::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        };
        refused("", "first line");
        refused("{\"url\":\"a\"}\n", "first line");
        let head = "{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\"}\n";
        refused(&format!("{head}{{}}\n"), "line 2");
        refused(&format!("{head}{{\"url\":\"a\"}}\nx\n"), "line 3");
        refused(&head.replace(":1,", ":2,"), "version 2");
        assert!(Fetched::parse(b"\xff").is_err());
    }

    #[test]
    fn no_record_is_without_end() {
        let many: Vec<_> = (0..MOST + 3).map(|n| (format!("u{n}"), 1)).collect();
        let many: Vec<_> = many.iter().map(|(url, bytes)| (url.as_str(), *bytes)).collect();
        let record = record(true, &many);
        assert_eq!((record.objects.len(), record.left_out), (MOST, 3));
    }
}
