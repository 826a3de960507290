//! A plan for an engine as text: one JSON object a line. See FORMAT.md.

use std::io::{self, BufRead, Read, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use toolkit::output;

use super::plan::Going;
use super::{Item, Kind, What};
use crate::error::{Error, Result};

/// The newest version of the format; a newer one is refused.
const VERSION: u64 = 1;
/// No plan is longer, in bytes.
const CAP: u64 = 256 << 20;

/// What is to go from an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which engine.
    pub engine: Kind,
    /// Which of its kind, as it calls itself.
    pub place: String,
    /// What goes.
    pub items: Vec<Item>,
}

/// A line of a plan.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Engine { version: u64, time: Timestamp, engine: Kind, place: String },
    Item(Written),
    End { items: usize },
}

#[derive(Serialize, Deserialize)]
struct Written {
    what: What,
    id: String,
    names: Vec<String>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    since: Option<Timestamp>,
    #[serde(skip_deserializing)]
    why: String,
}

/// Writes what is to go.
///
/// # Errors
/// I/O errors.
pub fn write(
    engine: Kind,
    place: &str,
    going: &[Going],
    now: Timestamp,
    out: &mut dyn Write,
) -> io::Result<()> {
    output::json_line(out, &Line::Engine { version: VERSION, time: now, engine, place: place.to_owned() })?;
    for one in going {
        let Item { what, id, names, own, since, .. } = one.item.clone();
        output::json_line(out, &Line::Item(Written { what, id, names, bytes: own, since, why: one.why() }))?;
    }
    output::json_line(out, &Line::End { items: going.len() })
}

/// Reads a plan.
///
/// # Errors
/// What is not a plan for an engine, or not all of one; a newer one.
pub fn read(input: &mut dyn BufRead) -> Result<Plan> {
    let bad = |reason: &str| Error::BadEnginePlan { reason: reason.to_owned() };
    let mut text = String::new();
    let read = input.take(CAP).read_to_string(&mut text);
    read.map_err(|error| bad(&error.to_string()))?;
    let mut plan: Option<Plan> = None;
    let mut is_whole = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|error| bad(&error.to_string()))?;
        match (line, &mut plan) {
            _ if is_whole => return Err(bad("something stands behind its end")),
            (Line::Engine { version, .. }, None) if version > VERSION => {
                return Err(bad("a newer gcctl has written it"));
            }
            (Line::Engine { engine, place, .. }, None) => {
                plan = Some(Plan { engine, place, items: Vec::new() });
            }
            (Line::Item(written), Some(plan)) => plan.items.push(written.item().map_err(|why| bad(&why))?),
            (Line::End { items }, Some(plan)) if items == plan.items.len() => is_whole = true,
            (Line::End { .. }, Some(_)) => return Err(bad("lines are missing")),
            _ => return Err(bad("its lines are not in order")),
        }
    }
    plan.filter(|_| is_whole).ok_or_else(|| bad("its end is missing"))
}

impl Written {
    /// What is no ID would be a flag of the engine's command, or another item.
    fn item(self) -> Result<Item, String> {
        let Self { what, id, names, bytes, since, .. } = self;
        let hex = id.strip_prefix("sha256:").unwrap_or(&id);
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("`{}` is no ID", storekit::printable(&id)));
        }
        Ok(Item { what, id, names, own: bytes, since, in_use: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn going() -> Vec<Going> {
        let item = |what, id: &str, names: &[&str]| Going {
            item: Item {
                what,
                id: id.to_owned(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                own: 7,
                since: Timestamp::from_second(1).ok(),
                in_use: false,
            },
            unused: 86_400,
        };
        vec![item(What::Image, "sha256:aa", &["app:1"]), item(What::Build, "s1", &["RUN make"])]
    }

    fn written() -> String {
        let mut out = Vec::new();
        write(Kind::Docker, "place", &going(), Timestamp::from_second(2).unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = read(&mut written().as_bytes()).unwrap();
        let items: Vec<_> = going().into_iter().map(|going| going.item).collect();
        assert_eq!(plan, Plan { engine: Kind::Docker, place: "place".to_owned(), items });
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = read(&mut text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_is_no_whole_plan_is_refused() {
        let plan = written();
        let lines: Vec<&str> = plan.lines().collect();
        refused("", "its end is missing");
        refused(&lines[..3].join("\n"), "its end is missing");
        refused(&[lines[0], lines[1], lines[3]].join("\n"), "lines are missing");
        refused(&lines[1..].join("\n"), "not in order");
        refused(&format!("{plan}{}", lines[0]), "behind its end");
        refused(&plan.replace("\"version\":1", "\"version\":2"), "a newer gcctl");
        refused(&plan.replace("sha256:aa", "--force"), "is no ID");
        refused(&plan.replace("sha256:aa", "../x"), "is no ID");
        refused("{}", "kind");
        refused("not json", "expected");
    }
}
