//! A plan as text: one JSON object a line. See FORMAT.md.
//!
//! Keys and digests are read as such, a package's file is found by its key, and folders of the
//! trash are only ever compared with those that are there: no path is made from anything else.

use std::io::{self, BufRead, Write};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storekit::{Age, ByteSize, Digest, Key, Level, PackageKey, WrittenSize};
use toolkit::amount::{Amount, Setting};
use toolkit::output;
use toolkit::tables::{ExtraKind, Kind, Order, Selector};

use crate::error::{Error, Result};
use crate::extra;
use crate::limits::{Limits, Scoped, Why};
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

/// Limits in plain numbers: bytes and seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the format")]
struct WrittenLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_images: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_disks: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_per_image: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_last: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages_max_size: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "is_false")]
    packages_max_size_has_no_unit: bool,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages_max_age: Option<u64>,
    /// Since version 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    models_max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    /// Since version 2.
    #[serde(skip_serializing_if = "is_false")]
    max_size_has_no_unit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_free: Option<u64>,
    /// Since version 2.
    #[serde(skip_serializing_if = "is_false")]
    min_free_has_no_unit: bool,
    /// Since version 4.
    #[serde(skip_serializing_if = "is_false")]
    min_free_by_default: bool,
    /// Since version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<u64>,
    /// Since version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<u64>,
    /// Since version 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved: Option<u64>,
    /// Since version 4.
    #[serde(skip_serializing_if = "is_lru")]
    order: Order,
    /// Since version 4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limit: Vec<WrittenScoped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trash_grace: Option<u64>,
}

/// A limit of some things.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenScoped {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ecosystem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    max_size_has_no_unit: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    any_age: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_entries: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_last: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_lru(order: &Order) -> bool {
    *order == Order::Lru
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
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

impl From<&Limits> for WrittenLimits {
    fn from(limits: &Limits) -> Self {
        let bytes = |limit: Option<Amount>| limit.map(|limit| limit.of(0));
        let has_no_unit = |limit: Option<WrittenSize>| limit.is_some_and(|limit| limit.bare);
        Self {
            max_images: limits.max_images,
            max_disks: limits.max_disks,
            max_per_image: limits.max_per_image,
            keep_last: limits.keep_last,
            packages_max_size: limits.packages_max_size.map(|limit| limit.size.0),
            packages_max_size_has_no_unit: has_no_unit(limits.packages_max_size),
            packages_max_age: limits.packages_max_age.map(|age| age.0.as_secs()),
            models_max_age: limits.models_max_age.map(|age| age.0.as_secs()),
            max_size: limits.max_size.map(|limit| limit.size.0),
            max_size_has_no_unit: has_no_unit(limits.max_size),
            max_age: limits.max_age.map(|age| age.0.as_secs()),
            min_free: bytes(limits.min_free),
            min_free_has_no_unit: has_no_unit(limits.min_free.and_then(Amount::written)),
            min_free_by_default: limits.min_free_by_default,
            high: bytes(limits.high),
            low: bytes(limits.low),
            reserved: bytes(limits.reserved),
            order: limits.order,
            limit: limits.scoped.iter().map(WrittenScoped::from).collect(),
            trash_grace: limits.trash_grace.map(|age| age.0.as_secs()),
        }
    }
}

impl From<&Scoped> for WrittenScoped {
    fn from(limit: &Scoped) -> Self {
        Self {
            kind: limit.of.kind,
            ecosystem: limit.of.ecosystem.clone(),
            name: limit.of.name.clone(),
            max_size: limit.max_size.map(|size| size.size.0),
            max_size_has_no_unit: limit.max_size.is_some_and(|size| size.bare),
            max_age: limit.max_age.and_then(Setting::value).map(|age| age.0.as_secs()),
            any_age: limit.max_age == Some(Setting::Off),
            max_entries: limit.max_entries,
            keep_last: limit.keep_last,
        }
    }
}

impl From<WrittenScoped> for Scoped {
    fn from(written: WrittenScoped) -> Self {
        let WrittenScoped { kind, ecosystem, name, max_size, max_entries, keep_last, .. } = written;
        let age = |seconds| Setting::Is(Age(std::time::Duration::from_secs(seconds)));
        let bare = written.max_size_has_no_unit;
        Self {
            of: Selector { kind, ecosystem, name },
            max_size: max_size.map(|bytes| WrittenSize { size: ByteSize(bytes), bare }),
            max_age: written.max_age.map(age).or(written.any_age.then_some(Setting::Off)),
            max_entries,
            keep_last,
        }
    }
}

impl From<WrittenLimits> for Limits {
    fn from(written: WrittenLimits) -> Self {
        let age = |seconds| Age(std::time::Duration::from_secs(seconds));
        let size = |bytes: Option<u64>, bare| bytes.map(|bytes| WrittenSize { size: ByteSize(bytes), bare });
        Self {
            max_images: written.max_images,
            max_disks: written.max_disks,
            max_per_image: written.max_per_image,
            keep_last: written.keep_last,
            packages_max_size: size(written.packages_max_size, written.packages_max_size_has_no_unit),
            packages_max_age: written.packages_max_age.map(age),
            models_max_age: written.models_max_age.map(age),
            max_size: size(written.max_size, written.max_size_has_no_unit),
            max_age: written.max_age.map(age),
            min_free: size(written.min_free, written.min_free_has_no_unit).map(Amount::Bytes),
            min_free_by_default: written.min_free_by_default,
            high: size(written.high, false).map(Amount::Bytes),
            low: size(written.low, false).map(Amount::Bytes),
            reserved: size(written.reserved, false).map(Amount::Bytes),
            order: written.order,
            scoped: written.limit.into_iter().map(Scoped::from).collect(),
            trash_grace: written.trash_grace.map(age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toolkit::tables::Limit;

    const FIRST: &str = r#"{"kind":"plan","version":4,"time":"2026-01-02T03:04:05Z","store":"/store","limits":{"max-images":2,"packages-max-age":60}}"#;
    /// As version 1 had it.
    const LAST: &str = r#"{"kind":"end","keep":true,"images":2,"bytes":10,"free":7}"#;

    fn parse(lines: &[&str]) -> Result<Plan> {
        let text: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
        read(&mut text.as_bytes())
    }

    #[track_caller]
    fn refused(lines: &[&str], word: &str) {
        let message = parse(lines).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn a_plan_survives_its_text() {
        let digest = Digest::of(b"x");
        let mut packages = Named::default();
        let package = Package {
            key: PackageKey::new("python", "files.example", "https://files.example/a", Some(digest)),
            name: None,
            version: None,
            architecture: None,
            level: Level::None,
            used: "2026-01-01T03:04:05.123456789Z".parse().unwrap(),
            bodies: vec![digest],
            file: 0,
        };
        packages.push(&package, Why::PackagesMaxSize, 7, 2);
        let plan = Plan {
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            store: Some("/store".into()),
            limits: Limits {
                max_images: Some(2),
                max_disks: Some(3),
                max_per_image: Some(4),
                keep_last: Some(1),
                packages_max_size: Some("4GB".parse().unwrap()),
                packages_max_age: Some("5d".parse().unwrap()),
                models_max_age: Some("9d".parse().unwrap()),
                max_age: Some("3d".parse().unwrap()),
                max_size: Some("3".parse().unwrap()),
                min_free: Some("10GB".parse().unwrap()),
                min_free_by_default: false,
                high: Some("1GB".parse().unwrap()),
                low: Some("0.5GB".parse().unwrap()),
                reserved: Some("1kB".parse().unwrap()),
                order: Order::Cost,
                trash_grace: None,
                scoped: [
                    "ecosystem=npm,max-size=3,max-age=2d",
                    "kind=images,name=a*,max-age=none,keep-last=1",
                ]
                .map(|text| Scoped::from(text.parse::<Limit>().unwrap()))
                .into(),
            },
            images: vec![Eviction {
                key: "k".parse().unwrap(),
                digest,
                used: "2026-01-01T03:04:05.123456789Z".parse().unwrap(),
                uses: 3,
                why: Why::Subject,
                rank: Some(4),
                subject: Some(digest),
                blobs: vec![digest],
                bytes: 12,
            }],
            blobs: vec![Unneeded { digest, bytes: 5 }],
            packages: packages.done(),
            bodies: vec![Unneeded { digest, bytes: 6 }],
            abandoned: 4096,
            contexts: 0,
            trash: vec![Emptied { name: "b".into(), bytes: 1, why: Why::TrashGrace }],
            extras: vec![extra::Going {
                folder: "/f".into(),
                kind: ExtraKind::Hf,
                path: "models--a\nb/snapshots/c".into(),
                used: "2026-01-01T03:04:05.123456789Z".parse().unwrap(),
                refs: vec!["main".into()],
                why: extra::Why::MaxAge,
                bytes: 3,
            }],
            shred: true,
            left: Left {
                images: 2,
                disks: 1,
                per_image: 1,
                packages: 3,
                package_bytes: 4,
                bytes: 10,
                free: 7,
            },
            unmet: vec![Unmet { why: Why::MaxSize, left: 10, limit: 3 }],
            rest: crate::plan::Rest::default(),
        };
        let mut text = Vec::new();
        write(&plan, &mut text).unwrap();
        assert_eq!(read(&mut &text[..]).unwrap(), plan);
    }

    #[test]
    fn the_lines_are_as_documented() {
        let digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let image = format!(
            r#"{{"kind":"image","key":"k","digest":"{digest}","used":"2026-01-01T00:00:00Z","uses":0,"why":"max-images","rank":2,"bytes":9,"blobs":["{digest}"]}}"#
        );
        let blob = format!(r#"{{"kind":"blob","digest":"{digest}","bytes":5}}"#);
        let package = format!(
            r#"{{"kind":"package","ecosystem":"python","source":"files.example","url":"https://files.example/a","used":"2026-01-01T00:00:00Z","why":"packages-max-age","rank":7,"bytes":8,"bodies":["{digest}"]}}"#
        );
        let body = format!(r#"{{"kind":"body","digest":"{digest}","bytes":6}}"#);
        let unfinished = r#"{"kind":"unfinished","bytes":4096}"#;
        let trash = r#"{"kind":"trash","name":"20260101T000000.000000Z-1","bytes":5,"why":"trash-grace"}"#;
        let end = r#"{"kind":"end","keep":true,"images":2,"disks":0,"per-image":1,"packages":3,"package-bytes":4,"bytes":10,"free":7,"unmet":[]}"#;
        let lines = [FIRST, &image, &blob, &package, &body, unfinished, trash, end];
        let mut text = Vec::new();
        write(&parse(&lines).unwrap(), &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), lines.map(|line| format!("{line}\n")).concat());
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        refused(&[], "cut off");
        refused(&[FIRST], "cut off");
        refused(&["KEY  FREES  LAST USE"], "line 1");
        refused(&[LAST], "line 1");
        refused(&[FIRST, FIRST, LAST], "second plan");
        refused(&[FIRST, LAST, LAST], "line 3");
        refused(&[&FIRST.replace("\"version\":4", "\"version\":6"), LAST], "version 6");
        let of_one = |why: &str| format!(r#"{{"kind":"trash","name":"a","bytes":1,"why":"{why}"}}"#);
        refused(&[FIRST, &of_one("limit-1:max-size"), LAST], "no limit `limit-1:max-size`");
        refused(&[FIRST, &of_one("limit-0:max-size"), LAST], "not a limit");
        refused(&[FIRST, r#"{"kind":"contexts","bytes":1}"#, LAST], "no limit `clean`");
        refused(&[FIRST, r#"{"kind":"image","key":"../../etc"}"#, LAST], "not a key");
        refused(&[FIRST, r#"{"kind":"blob","digest":"sha256:../x","bytes":1}"#, LAST], "not a digest");
        refused(&[FIRST, r#"{"kind":"blob","digest":"x","bytes":-1}"#, LAST], "line 2");
        refused(&[FIRST, r#"{"kind":"folder","path":"/"}"#, LAST], "folder");
        refused(&[FIRST, r#"{"kind":"unfinished","bytes":1,"path":"/"}"#, LAST], "path");
    }

    #[test]
    fn a_plan_of_an_earlier_version_is_read() {
        let first = r#"{"kind":"plan","version":1,"time":"2026-01-02T03:04:05Z","limits":{"max-images":2}}"#;
        let plan = parse(&[first, LAST]).unwrap();
        assert_eq!((plan.store, plan.limits.max_images, plan.left.images), (None, Some(2), 2));
    }

    #[test]
    fn a_plan_without_its_last_newline_is_cut_off() {
        let text = format!("{FIRST}\n{LAST}");
        assert!(matches!(read(&mut text.as_bytes()), Err(Error::CutPlan)));
    }
}
