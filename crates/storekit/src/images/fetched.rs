//! What a build, or any other command, was given of packages: the record that pkgcache writes, and
//! that stands beside an image. See FORMAT.md, "What a build fetched".
//!
//! A build whose steps may have come from the engine's own cache adds to the record, for what these
//! steps had fetched is in the image still; any other begins it anew. Which steps those were is not
//! known: so a record may name more than the image holds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::Digest;

/// The version of the format that is written; a newer one is refused.
pub const VERSION: u64 = 2;
/// The first version whose records say all that a replay needs.
const REPLAYED: u64 = 2;
/// So many objects are told; more are counted.
pub const MOST: usize = 20_000;

/// What was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// When it was asked for, RFC 3339.
    #[serde(default)]
    pub time: Timestamp,
    /// Where it is from, without a user's name and password; without a query where no package
    /// client asked for it: it may hold a secret.
    pub url: String,
    /// The URL that was asked for, where an index says that it lies elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// For which kind of client it was fetched; `tunnel` for a tunnel, whose `url` is `HOST:PORT`.
    #[serde(default)]
    pub ecosystem: String,
    /// The package's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The package's version, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The package's architecture, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Where its entry is below `packages/entries`, where one is stored; of what was not there,
    /// where it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Where the entry is that keeps this very answer, of one that the upstream may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// By which fields of the request the answer was chosen among several forms.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, String>,
    /// The status of the answer that there is none; absent where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The digest of the body as it is stored, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Who vouches for it; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Its size; where that is not known, the bytes that were sent.
    #[serde(default)]
    pub bytes: u64,
    /// Whether nobody asked for it but the cache itself, to tell what another object has to be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needed: bool,
    /// Whether it was not fetched by the last build, but by one before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub earlier: bool,
    /// What a later version says of it.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// What tells objects apart: the URL, the path of the package's entry (empty where there is none),
/// and the form; of what pkgcache has worked out (a URL with a `#`) also the body.
pub type Place = (String, String, BTreeMap<String, String>, Option<Digest>);

impl Given {
    /// What tells it from others.
    #[must_use]
    pub fn place(&self) -> Place {
        let worked_out = self.digest.filter(|_| self.url.contains('#'));
        (self.url.clone(), self.entry.clone().unwrap_or_default(), self.form.clone(), worked_out)
    }

    /// Whether it was handed out: neither for the cache's own use, nor that there is none.
    #[must_use]
    pub fn is_handed_out(&self) -> bool {
        !self.needed && self.status.is_none()
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// When the last build ended.
    pub time: Timestamp,
    /// How many objects are not told.
    pub left_out: u64,
    /// Whether all steps of some build ran since the record was begun.
    pub complete: bool,
    /// Whether it says of each object all that a replay needs.
    pub is_replayed: bool,
    /// The objects, sorted.
    pub objects: BTreeMap<Place, Given>,
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

impl Fetched {
    /// Of these objects; `complete`: nothing that was done was left to an engine's own cache.
    #[must_use]
    pub fn new(objects: impl IntoIterator<Item = Given>, left_out: u64, complete: bool) -> Self {
        let objects = objects.into_iter().map(|given| (given.place(), given)).collect();
        let mut fetched = Self { time: Timestamp::now(), left_out, complete, is_replayed: true, objects };
        fetched.cut();
        fetched
    }

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
            let bad = |why| Unread::Bad(format!("its line {} is not an object with a URL: {why}", at + 2));
            let object: Given = serde_json::from_str(line).map_err(bad)?;
            objects.insert(object.place(), object);
        }
        let (time, left_out, complete) = (head.time, head.left_out, head.complete);
        let is_replayed = head.version >= REPLAYED;
        let mut fetched = Self { time, left_out, complete, is_replayed, objects };
        fetched.cut();
        Ok(fetched)
    }

    /// The objects of a record's text, as far as it can be understood: other lines are passed over.
    pub fn lenient(text: &[u8]) -> impl Iterator<Item = Given> + '_ {
        // The first line is about the record.
        let lines = text.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(|line| serde_json::from_slice(line).ok())
    }

    /// What stands from now on, after what stood before.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Option<Self> {
        match before {
            _ if self.complete => Some(self),
            // What no step fetched, and nothing is known of the others, is no record.
            None => (!self.objects.is_empty()).then_some(self),
            Some(mut before) => {
                before.objects.values_mut().for_each(|object| object.earlier = true);
                before.objects.extend(self.objects);
                before.time = self.time;
                before.left_out = before.left_out.saturating_add(self.left_out);
                before.is_replayed &= self.is_replayed;
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
            version: if self.is_replayed { VERSION } else { REPLAYED - 1 },
            time: self.time,
            objects: self.objects.len(),
            bytes: self.bytes(),
            left_out: self.left_out,
            complete: self.complete,
        };
        let head = serde_json::to_string(&head).unwrap_or_default();
        let objects = self.objects.values().map(|it| serde_json::to_string(it).unwrap_or_default());
        std::iter::once(head).chain(objects).map(|line| line + "\n").collect()
    }

    /// The objects that were handed out, in the order of their URLs.
    pub fn handed_out(&self) -> impl Iterator<Item = &Given> + '_ {
        self.objects.values().filter(|object| object.is_handed_out())
    }

    /// The size of all that was handed out, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.handed_out().map(|object| object.bytes).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail")]

    use super::*;

    fn record(complete: bool, objects: &[(&str, u64)]) -> Fetched {
        let head = format!("{{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\",\"complete\":{complete}}}\n");
        let line =
            |(url, bytes): &(&str, u64)| format!("{{\"url\":\"{url}\",\"bytes\":{bytes},\"later\":[1]}}\n");
        Fetched::parse((head + &objects.iter().map(line).collect::<String>()).as_bytes()).unwrap()
    }

    /// As an earlier release wrote it.
    const OLD: &str = "{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\",\"objects\":1,\"bytes\":61538,\"left_out\":0,\"complete\":true}\n\
        {\"time\":\"2026-01-02T03:04:04Z\",\"url\":\"https://files.example/idna-3.4-py3-none-any.whl\",\"ecosystem\":\"python\",\
        \"name\":\"idna\",\"version\":\"3.4\",\"entry\":\"files.example/3f/3f2a.toml\",\
        \"digest\":\"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\",\"level\":\"indexed\",\"bytes\":61538}\n";

    #[test]
    fn a_record_of_version_1_is_read_and_not_replayed() {
        let old = Fetched::parse(OLD.as_bytes()).unwrap();
        assert!(old.complete && !old.is_replayed && old.bytes() == 61538);
        assert_eq!(old.to_text(), OLD);
        let given = Fetched::lenient(OLD.as_bytes()).next().unwrap();
        assert!(given.is_handed_out() && given.name.as_deref() == Some("idna"), "{given:?}");
        // With what is known since, it is one of version 1 still.
        let now = Fetched::new([Given { url: "x".to_owned(), ..Given::default() }], 0, false);
        assert!(now.is_replayed && !now.after(Some(old)).unwrap().is_replayed);
    }

    #[test]
    fn what_was_not_there_and_what_the_cache_needed_is_told_and_not_counted() {
        let given = |url: &str, status, needed| Given {
            url: url.to_owned(),
            status,
            needed,
            bytes: 5,
            ..Given::default()
        };
        let all = [given("a", None, false), given("b", Some(404), false), given("c", None, true)];
        let record = Fetched::new(all, 0, true);
        let text = record.to_text();
        assert!(text.starts_with("{\"version\":2,") && text.contains("\"objects\":3,\"bytes\":5,"), "{text}");
        assert!(text.contains("\"url\":\"b\",\"ecosystem\":\"\",\"status\":404,\"bytes\":5}\n"), "{text}");
        assert!(text.contains("\"url\":\"c\",\"ecosystem\":\"\",\"bytes\":5,\"needed\":true}\n"), "{text}");
        assert_eq!(Fetched::parse(text.as_bytes()).unwrap(), record);
        assert_eq!(record.handed_out().count(), 1);
    }

    #[test]
    fn forms_of_the_same_document_are_told_apart() {
        let given = |accept: &str| Given {
            url: "a".to_owned(),
            form: [("accept".to_owned(), accept.to_owned())].into(),
            ..Given::default()
        };
        assert_eq!(Fetched::new([given("json"), given("html"), given("json")], 0, true).objects.len(), 2);
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
            let told = |it: &Given| (it.url.clone(), it.bytes, it.earlier);
            (record.objects.values().map(told).collect::<Vec<_>>(), record.complete)
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
        refused(&format!("{head}{{\"url\":\"a\",\"digest\":\"sha256:..\"}}\n"), "line 2");
        refused(&head.replace(":1,", ":3,"), "version 3");
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
