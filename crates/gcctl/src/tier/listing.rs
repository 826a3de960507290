//! What stands in another place (a tier), as `imgtar ls --tier PLACE --json` lists it.
//!
//! A place does not say when an image was last used: the time at which it was saved counts. What
//! was not saved by `imgtar` (a tag of another tool's, a layer cache) may not go, and neither may
//! what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use jiff::Timestamp;
use serde::Deserialize;
use storekit::{Digest, Key, Origin};

use crate::error::{Error, Result};
use crate::snapshot::{Image, Snapshot};

/// No line is longer: 16 MiB.
const LINE_CAP: u64 = 16 << 20;

/// All blobs together are not larger: 1 EiB. Sums of them are numbers of 64 bits then.
const MOST: u64 = 1 << 60;

/// A line.
#[derive(Deserialize)]
struct Row {
    tier: String,
    key: Key,
    digest: Option<Digest>,
    #[serde(default)]
    names: Vec<String>,
    saved: Option<Timestamp>,
    image: Option<String>,
    host: Option<String>,
    commit: Option<String>,
    project: Option<String>,
    #[serde(default)]
    blobs: Vec<Blob>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Blob {
    digest: Digest,
    size: u64,
}

/// What stands in a place.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The place; empty where nothing stands there.
    pub place: String,
    /// The images that may go.
    pub snapshot: Snapshot,
    /// How many entries nothing is noted with, so that they stay.
    pub foreign: u64,
    /// The keys whose entries cannot be understood, with what is wrong: they stay.
    pub damaged: Vec<(Key, String)>,
}

impl Listing {
    /// Reads the lines, at this time. One that is not understood may name an image whose blobs
    /// others share, so nothing is planned then.
    ///
    /// # Errors
    /// [`Error::BadListing`], those of `input`.
    pub fn read(input: &mut dyn BufRead, now: Timestamp) -> Result<Self> {
        let mut listing = Self { snapshot: Snapshot { now, ..Snapshot::default() }, ..Self::default() };
        let (mut number, mut sum) = (0, 0);
        while let Some(text) = line(input, &mut number)? {
            let bad = |reason: String| Error::BadListing { line: number, reason };
            let row: Row = serde_json::from_slice(&text).map_err(|error| bad(not_a_row(&error)))?;
            listing.add(row, &mut sum).map_err(bad)?;
        }
        listing.snapshot.images.sort_by(|one, other| one.key.cmp(&other.key));
        if listing.snapshot.images.windows(2).any(|two| two[0].key == two[1].key) {
            return Err(Error::BadListing { line: number, reason: "a key stands in it twice".to_owned() });
        }
        Ok(listing)
    }

    fn add(&mut self, row: Row, sum: &mut u64) -> Result<(), String> {
        let Row { tier, key, digest, names, saved, image, host, commit, project, blobs, problem } = row;
        if !self.place.is_empty() && self.place != tier {
            return Err(format!("it is of `{}`, and not of `{}`", storekit::printable(&tier), self.place));
        }
        self.place = tier;
        let named = blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>();
        let (blobs, heavy) = match self.weigh(blobs, sum) {
            Ok(blobs) => (blobs, None),
            // Whoever writes to the place can write so; what it names stays all the same.
            Err(problem) => (named, Some(problem)),
        };
        let problem = problem.or(heavy);
        let is_sound = problem.is_none();
        self.damaged.extend(problem.map(|problem| (key.clone(), problem)));
        match (digest, saved) {
            (Some(digest), Some(saved)) if is_sound => {
                let remark = |text: Option<String>| text.and_then(|text| text.parse().ok());
                self.snapshot.images.push(Image {
                    key,
                    digest,
                    names,
                    origin: Origin {
                        image: remark(image),
                        host: remark(host),
                        commit: remark(commit),
                        project: remark(project),
                    },
                    saved,
                    used: saved.min(self.snapshot.now),
                    uses: 0,
                    build_seconds: None,
                    is_disk: false,
                    pinned: false,
                    subject: None,
                    incomplete: false,
                    unknown: false,
                    unfetched: false,
                    blobs,
                    files: 0,
                });
            }
            _ => {
                self.foreign += u64::from(is_sound);
                self.snapshot.foreign.extend(blobs);
            }
        }
        Ok(())
    }

    /// Notes the sizes of blobs. Returns which they are, each once.
    fn weigh(&mut self, blobs: Vec<Blob>, sum: &mut u64) -> Result<Vec<Digest>, String> {
        let known: &mut BTreeMap<Digest, u64> = &mut self.snapshot.blobs;
        for blob in &blobs {
            if known.contains_key(&blob.digest) {
                continue;
            }
            *sum = sum.checked_add(blob.size).filter(|sum| *sum <= MOST).ok_or("its blobs are too large")?;
            known.insert(blob.digest, blob.size);
        }
        let each: BTreeSet<_> = blobs.into_iter().map(|blob| blob.digest).collect();
        Ok(each.into_iter().collect())
    }
}

/// Why a line is not an entry. It is one line, so that the reader's count of lines says nothing.
fn not_a_row(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
    let why: String = why.chars().take(MOST_SAID).collect();
    format!("it is not an entry ({})", storekit::printable(&why))
}

/// So many characters are said of what is wrong with a line.
const MOST_SAID: usize = 200;

/// The next line; `None` at the end.
fn line(input: &mut dyn BufRead, number: &mut usize) -> Result<Option<Vec<u8>>> {
    use std::io::Read;
    let mut line = Vec::new();
    let reading = |source| Error::Stream { doing: "read the list", source };
    (&mut *input).take(LINE_CAP).read_until(b'\n', &mut line).map_err(reading)?;
    if line.is_empty() {
        return Ok(None);
    }
    *number += 1;
    if line.ends_with(b"\n") {
        return Ok(Some(line));
    }
    let reason = if line.len() as u64 == LINE_CAP { "it is too long" } else { "it is cut off" };
    Err(Error::BadListing { line: *number, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    fn row(key: &str, more: &str) -> String {
        let digest = Digest::of(key.as_bytes());
        format!(
            "{{\"tier\":\"store:/s\",\"key\":\"{key}\",\"digest\":\"{digest}\",\"names\":[],\"size\":1{more}}}\n"
        )
    }

    fn read(text: &str) -> Result<Listing> {
        Listing::read(&mut text.as_bytes(), now())
    }

    const SAVED: &str = ",\"saved\":\"2026-01-01T00:00:00Z\"";

    #[test]
    fn what_nothing_is_noted_with_is_not_listed_to_go_and_neither_is_what_it_needs() {
        let blob = Digest::of(b"x");
        let blobs = format!(",\"blobs\":[{{\"digest\":\"{blob}\",\"size\":7}}]");
        let problem = ",\"problem\":\"odd\"";
        let text =
            row("b", SAVED) + &row("a", SAVED) + &row("v1", &blobs) + &row("c", &format!("{SAVED}{problem}"));
        let listing = read(&text).unwrap();
        let keys: Vec<_> = listing.snapshot.images.iter().map(|image| image.key.as_str()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert!(listing.snapshot.foreign.contains(&blob) && listing.foreign == 1);
        assert_eq!(listing.damaged.len(), 1);
    }

    #[test]
    fn a_time_in_the_future_counts_as_now() {
        let listing = read(&row("a", ",\"saved\":\"2030-01-01T00:00:00Z\"")).unwrap();
        assert_eq!(listing.snapshot.images[0].used, now());
    }

    #[test]
    fn what_cannot_be_weighed_stays() {
        let huge =
            format!("{SAVED},\"blobs\":[{{\"digest\":\"{}\",\"size\":{}}}]", Digest::of(b"x"), u64::MAX);
        let listing = read(&(row("a", &huge) + &row("b", SAVED))).unwrap();
        assert_eq!((listing.snapshot.images.len(), listing.damaged.len()), (1, 1));
        assert!(listing.snapshot.foreign.contains(&Digest::of(b"x")));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let elsewhere = row("b", SAVED).replace("store:/s", "store:/t");
        for (text, word) in [
            ("nothing\n".to_owned(), "line 1"),
            (
                row("a", "") + "{}\n",
                "line 2 of the list cannot be understood: it is not an entry (missing field `",
            ),
            (row("a", SAVED) + &elsewhere, "store:/t"),
            (row("a", SAVED).trim_end().to_owned(), "cut off"),
            (row("a", SAVED) + &row("a", SAVED), "twice"),
            (row("../a", SAVED), "line 1"),
            (row("a", ",\"blobs\":7"), "invalid type: integer `7`"),
        ] {
            let message = read(&text).unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
        assert!(read("").unwrap().snapshot.images.is_empty());
    }
}
