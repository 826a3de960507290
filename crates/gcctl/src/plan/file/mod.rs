//! A plan as text: one JSON object a line. See FORMAT.md.
//!
//! Keys and digests are read as such, a package's file is found by its key, and folders of the
//! trash are only ever compared with those that are there: no path is made from anything else.

mod limits;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Write};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storekit::{Digest, Key, Level, PackageKey};
use toolkit::output;
use toolkit::tables::ExtraKind;

use self::limits::WrittenLimits;
use crate::error::{Error, Result};
use crate::extra;
use crate::limits::{Limits, Why};
use crate::packages::{Eviction as PackageEviction, Named, Package};
use crate::plan::{Emptied, Eviction, Left, Plan, Unmet, Unneeded};

/// The newest version of the format; a newer one is refused.
pub const VERSION: u64 = 5;

/// What a plan is written as that has nothing of [`VERSION`] in it.
const WITHOUT_EXTRAS: u64 = 4;

/// No line is longer: 16 MiB.
const LINE_CAP: u64 = 16 << 20;

/// A line of a plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Plan {
        version: u64,
        time: Timestamp,
        /// Since version 3.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        store: Option<Utf8PathBuf>,
        limits: WrittenLimits,
    },
    Image {
        key: Key,
        digest: Digest,
        used: Timestamp,
        uses: u64,
        why: Why,
        /// Since version 4.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rank: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Digest>,
        bytes: u64,
        blobs: Vec<Digest>,
    },
    Blob {
        digest: Digest,
        bytes: u64,
    },
    /// Since version 3.
    Package {
        ecosystem: String,
        source: String,
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Digest>,
        used: Timestamp,
        why: Why,
        /// Since version 4.
        #[serde(default, skip_serializing_if = "is_zero")]
        rank: u32,
        bytes: u64,
        bodies: Vec<Digest>,
    },
    /// Since version 3.
    Body {
        digest: Digest,
        bytes: u64,
    },
    Unfinished {
        bytes: u64,
    },
    /// Since version 4.
    Contexts {
        bytes: u64,
    },
    Trash {
        name: String,
        bytes: u64,
        why: Why,
    },
    /// Since version 5.
    Extra {
        folder: Utf8PathBuf,
        format: ExtraKind,
        path: Utf8PathBuf,
        used: Timestamp,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refs: Vec<String>,
        why: extra::Why,
        bytes: u64,
    },
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct End {
    keep: bool,
    images: u64,
    #[serde(default)]
    disks: u64,
    #[serde(default)]
    per_image: u64,
    #[serde(default)]
    packages: u64,
    #[serde(default)]
    package_bytes: u64,
    bytes: u64,
    free: u64,
    #[serde(default)]
    unmet: Vec<WrittenUnmet>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A limit that is not met.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenUnmet {
    /// The limit that is not met.
    pub why: Why,
    /// What is left.
    pub left: u64,
    /// What it should be.
    pub limit: u64,
}

/// Writes the plan.
///
/// # Errors
/// Those of `out`.
pub fn write(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    lines(plan).try_for_each(|line| output::json_line(out, &line))
}

/// Reads a plan whole.
///
/// # Errors
/// [`Error::BadPlan`], [`Error::CutPlan`], [`Error::NewerPlan`], those of `input`.
pub fn read(input: &mut dyn BufRead) -> Result<Plan> {
    let mut reader = Reader { input, number: 0 };
    let first = reader.line()?.ok_or(Error::CutPlan)?;
    let mut plan = reader.begin(&first)?;
    let mut packages = Named::default();
    loop {
        let text = reader.line()?.ok_or(Error::CutPlan)?;
        let line = serde_json::from_slice(&text).map_err(|error| reader.bad(in_words(&error)))?;
        if add(&mut plan, &mut packages, line).map_err(|reason| reader.bad(reason))? {
            break;
        }
    }
    plan.packages = packages.done();
    match reader.line()? {
        None => Ok(plan),
        Some(_) => Err(reader.bad("it comes after the end".to_owned())),
    }
}

struct Reader<'a> {
    input: &'a mut dyn BufRead,
    number: usize,
}

impl Reader<'_> {
    /// The next line; `None` at the end, and for a line that has no end.
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        use std::io::Read;
        let mut line = Vec::new();
        let reading = |source| Error::Stream { doing: "read the plan", source };
        (&mut *self.input).take(LINE_CAP).read_until(b'\n', &mut line).map_err(reading)?;
        self.number += 1;
        if line.len() as u64 == LINE_CAP {
            return Err(self.bad(format!("it has more than {LINE_CAP} bytes")));
        }
        Ok(line.ends_with(b"\n").then_some(line))
    }

    /// Reads the first line. The version comes before all else, so that a newer plan is told from a
    /// wrong one.
    fn begin(&self, text: &[u8]) -> Result<Plan> {
        #[derive(Deserialize)]
        struct Versioned {
            kind: String,
            version: u64,
        }
        let first: Versioned = serde_json::from_slice(text).map_err(|error| self.bad(in_words(&error)))?;
        if first.kind != "plan" {
            let kind = first.kind.escape_debug();
            return Err(self.bad(format!("a plan begins with a line of kind `plan`, not `{kind}`")));
        }
        if first.version > VERSION {
            return Err(Error::NewerPlan { found: first.version, known: VERSION });
        }
        match serde_json::from_slice(text).map_err(|error| self.bad(in_words(&error)))? {
            Line::Plan { time, store, limits, .. } => {
                Ok(Plan { time, store, limits: limits.into(), ..Plan::default() })
            }
            _ => Err(self.bad("it is not the first line of a plan".to_owned())),
        }
    }

    fn bad(&self, reason: String) -> Error {
        Error::BadPlan { line: self.number, reason }
    }
}

/// The error without its place, which counts a line as a whole text; and no word of Rust's where
/// the line is not even an object.
fn in_words(error: &serde_json::Error) -> String {
    if error.is_syntax() || error.is_eof() {
        return "it is not a JSON object".to_owned();
    }
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].replace("variant", "word").replace("struct ", "the fields of ").replace("u64", "a number")
}

/// Adds what a line says. Returns whether it was the last.
fn add(plan: &mut Plan, packages: &mut Named, line: Line) -> Result<bool, String> {
    match line {
        Line::Plan { .. } => return Err("a second plan begins".to_owned()),
        Line::Image { key, digest, used, uses, why, rank, subject, bytes, blobs } => {
            check_limit(&plan.limits, why)?;
            plan.images.push(Eviction { key, digest, used, uses, why, rank, subject, blobs, bytes });
        }
        Line::Blob { digest, bytes } => plan.blobs.push(Unneeded { digest, bytes }),
        Line::Package { ecosystem, source, url, scope, used, why, rank, bytes, bodies } => {
            check_limit(&plan.limits, why)?;
            let key = PackageKey { ecosystem, source, url, scope };
            let (name, version, architecture, level) = (None, None, None, Level::None);
            let package = Package { key, name, version, architecture, level, used, bodies, file: 0 };
            packages.push(&package, why, bytes, rank);
        }
        Line::Body { digest, bytes } => plan.bodies.push(Unneeded { digest, bytes }),
        Line::Unfinished { bytes } => plan.abandoned = bytes,
        Line::Contexts { bytes } => {
            check_limit(&plan.limits, Why::Clean)?;
            plan.contexts = bytes;
        }
        Line::Trash { name, bytes, why } => {
            check_limit(&plan.limits, why)?;
            plan.trash.push(Emptied { name, bytes, why });
        }
        Line::Extra { folder, format: kind, path, used, refs, why, bytes } => {
            plan.extras.push(extra::Going { folder, kind, path, used, refs, why, bytes });
        }
        Line::End(end) => {
            plan.shred = !end.keep;
            if plan.shred && !plan.limits.may_delete_at_once() {
                return Err(
                    "`keep` is false, and no limit of the plan says that what goes is deleted at once: \
                            `max-size`, `min-free`, or a `trash-grace` of 0"
                        .to_owned(),
                );
            }
            plan.left = Left {
                images: end.images,
                disks: end.disks,
                per_image: end.per_image,
                packages: end.packages,
                package_bytes: end.package_bytes,
                bytes: end.bytes,
                free: end.free,
            };
            plan.unmet =
                end.unmet.iter().map(|it| Unmet { why: it.why, left: it.left, limit: it.limit }).collect();
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the plan has the limit that a line names as its reason.
fn check_limit(limits: &Limits, why: Why) -> Result<(), String> {
    let is_set = limits.allow(why);
    is_set.then_some(()).ok_or_else(|| format!("the plan has no limit `{}`", why.name()))
}

fn lines(plan: &Plan) -> impl Iterator<Item = Line> + '_ {
    let image = |it: &Eviction| Line::Image {
        key: it.key.clone(),
        digest: it.digest,
        used: it.used,
        uses: it.uses,
        why: it.why,
        rank: it.rank,
        subject: it.subject,
        bytes: it.bytes,
        blobs: it.blobs.clone(),
    };
    let (limits, store) = (WrittenLimits::from(&plan.limits), plan.store.clone());
    let trash = |it: &Emptied| Line::Trash { name: it.name.clone(), bytes: it.bytes, why: it.why };
    let Left { images, disks, per_image, packages, package_bytes, bytes, free } = plan.left;
    let (keep, unmet) = (!plan.shred, written(&plan.unmet));
    let end = End { keep, images, disks, per_image, packages, package_bytes, bytes, free, unmet };
    let version = if plan.extras.is_empty() { WITHOUT_EXTRAS } else { VERSION };
    std::iter::once(Line::Plan { version, time: plan.time, store, limits })
        .chain(plan.images.iter().map(image))
        .chain(plan.blobs.iter().map(|it| Line::Blob { digest: it.digest, bytes: it.bytes }))
        .chain(plan.packages.iter().map(|it| package(&it)))
        .chain(plan.bodies.iter().map(|it| Line::Body { digest: it.digest, bytes: it.bytes }))
        .chain((plan.contexts > 0).then_some(Line::Contexts { bytes: plan.contexts }))
        .chain((plan.abandoned > 0).then_some(Line::Unfinished { bytes: plan.abandoned }))
        .chain(plan.trash.iter().map(trash))
        .chain(plan.extras.iter().map(extra_line))
        .chain(std::iter::once(Line::End(end)))
}

fn extra_line(it: &extra::Going) -> Line {
    let extra::Going { folder, kind: format, path, used, refs, why, bytes } = it.clone();
    Line::Extra { folder, format, path, used, refs, why, bytes }
}

fn package(it: &PackageEviction<'_>) -> Line {
    let PackageKey { ecosystem, source, url, scope } = it.package.key();
    let (used, bodies) = (it.package.used(), it.package.digests());
    let (why, rank, bytes) = (it.why, it.rank, it.bytes);
    Line::Package { ecosystem, source, url, scope, used, why, rank, bytes, bodies }
}

/// The unmet limits as they are written.
#[must_use]
pub fn written(unmet: &[Unmet]) -> Vec<WrittenUnmet> {
    unmet.iter().map(|it| WrittenUnmet { why: it.why, left: it.left, limit: it.limit }).collect()
}
