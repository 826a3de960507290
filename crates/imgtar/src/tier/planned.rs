//! Which keys of a place a plan of `gcctl` lets go.
//!
//! Source: gcctl's FORMAT.md, "Plans". Lines of other kinds are about what a store does by
//! itself.

use std::io::BufRead;

use camino::Utf8Path;
use serde::Deserialize;
use storekit::error::At;
use storekit::{Digest, Key};

use crate::error::{Error, Result};
use crate::parallel;
use crate::registry::Purpose;
use crate::tier::config::Config;
use crate::tier::kind::Tier;
use crate::tier::open::open;
use crate::tier::place::Place;

/// The newest version that is known.
const VERSION: u64 = 4;
/// By this the plan of a place is told from that of a store.
const PLACE: &str = "tier:";
/// No line is longer: 16 MiB.
const LINE_CAP: u64 = 16 << 20;

/// An image that a plan lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The key that it stood under.
    pub key: Key,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

/// What stands under a planned key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The image of the plan.
    Same,
    /// Another one.
    Other,
    /// Nothing.
    Nothing,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    Plan {
        version: u64,
        #[serde(default)]
        store: Option<String>,
    },
    Image {
        key: Key,
        digest: Digest,
    },
    End,
    #[serde(other)]
    Else,
}

/// Reads the images of a plan for the place, whole.
///
/// # Errors
/// What is no plan, is cut off, or is a plan for a store or another place.
pub fn read(input: &mut dyn BufRead, place: &str) -> Result<Vec<Planned>> {
    let (mut planned, mut number, mut begun) = (Vec::new(), 0_usize, false);
    while let Some(text) = line(input)? {
        number += 1;
        let bad = |reason: &str| refusal(format!("line {number} of the plan: {reason}"));
        let line: Line = serde_json::from_slice(&text).map_err(|_| bad("it cannot be understood"))?;
        match line {
            Line::Plan { version, .. } if version > VERSION => {
                return Err(bad(&format!(
                    "it has version {version}, and {VERSION} is the newest that is known"
                )));
            }
            Line::Plan { store, .. } if !begun => {
                match store.as_deref().and_then(|store| store.strip_prefix(PLACE)) {
                    None => return Err(bad("it is for a store: `gcctl apply` carries it out")),
                    Some(meant) if meant != place => {
                        return Err(bad(&format!("it is for `{}`", storekit::printable(meant))));
                    }
                    Some(_) => begun = true,
                }
            }
            _ if !begun => return Err(bad("it does not begin one")),
            Line::Plan { .. } => return Err(bad("a second plan begins")),
            Line::Image { key, digest } => planned.push(Planned { key, digest }),
            Line::End => {
                return match self::line(input)? {
                    None => Ok(planned),
                    Some(_) => Err(bad("something comes after it, and it is the last")),
                };
            }
            Line::Else => {}
        }
    }
    Err(refusal("the plan is cut off: its last line is missing".to_owned()))
}

fn refusal(message: String) -> Error {
    Error::Usage {
        message,
        help: "nothing was removed; `gcctl plan --listing FILE --tier NAME --json` prints a plan",
    }
}

/// The next line; `None` at the end, and for one that has no end.
fn line(input: &mut dyn BufRead) -> Result<Option<Vec<u8>>> {
    use std::io::Read;
    let mut line = Vec::new();
    (&mut *input).take(LINE_CAP).read_until(b'\n', &mut line).at("read", Utf8Path::new("the plan"))?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// What stands under the planned keys in the place now.
///
/// # Errors
/// A place that does not answer, or says no.
pub fn standing(config: &Config, place: &Place, planned: &[Planned]) -> Result<Vec<Standing>> {
    let tier = open(config, place, Purpose::Pull)?;
    parallel::map_with(config.registries.parallel, planned, |it| stands(&*tier, it))
}

fn stands(tier: &dyn Tier, planned: &Planned) -> Result<Standing> {
    let Some(found) = tier.has(&planned.key)? else { return Ok(Standing::Nothing) };
    let digest = match found.digest {
        Some(digest) => digest,
        None => match tier.entry(&planned.key)? {
            Some(told) => told.entry.descriptor.digest,
            None => return Ok(Standing::Nothing),
        },
    };
    Ok(if digest == planned.digest { Standing::Same } else { Standing::Other })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        r#"{"kind":"plan","version":3,"time":"2026-01-02T03:04:05Z","store":"tier:store:/team","limits":{}}"#;
    const LAST: &str = r#"{"kind":"end","keep":false,"images":2,"bytes":10,"free":7}"#;

    fn image(key: &str) -> String {
        format!(r#"{{"kind":"image","key":"{key}","digest":"{}","uses":0}}"#, Digest::of(key.as_bytes()))
    }

    fn parse(lines: &[&str]) -> Result<Vec<Planned>> {
        let text: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
        read(&mut text.as_bytes(), "store:/team")
    }

    #[test]
    fn the_images_of_a_plan_are_read_and_nothing_else() {
        let blob = format!(r#"{{"kind":"blob","digest":"{}","bytes":1}}"#, Digest::of(b"x"));
        let planned = parse(&[FIRST, &image("a"), &blob, &image("b"), LAST]).unwrap();
        let keys: Vec<_> = planned.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(planned[0].digest, Digest::of(b"a"));
    }

    #[test]
    fn what_is_no_plan_of_a_place_is_refused() {
        let of_a_store = FIRST.replace("tier:store:/team", "/store");
        let elsewhere = FIRST.replace("/team", "/other");
        let newer = FIRST.replace("\"version\":3", "\"version\":5");
        for (lines, word) in [
            (vec![of_a_store.as_str(), LAST], "gcctl apply"),
            (vec![elsewhere.as_str(), LAST], "store:/other"),
            (vec![newer.as_str(), LAST], "version 5"),
            (vec![FIRST, &image("a")], "cut off"),
            (vec![&image("a"), LAST], "does not begin"),
            (vec![FIRST, FIRST, LAST], "second"),
            (vec![FIRST, LAST, LAST], "after it"),
            (vec![FIRST, &image("..")], "line 2"),
            (vec!["nothing"], "line 1"),
            (vec![], "cut off"),
        ] {
            let message = parse(&lines).unwrap_err().to_string();
            assert!(message.contains(word), "{lines:?}: {message}");
        }
    }
}
