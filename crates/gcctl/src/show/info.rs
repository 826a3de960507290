//! `info`: what is known of images and packages, what they share with which others, and what would
//! be free without them.

use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{ByteSize, Digest, Given, printable};
use toolkit::words::{count, took};

use super::ls::{Item as _, PackageRow, Row};
use crate::packages::{Packages, View};
use crate::snapshot::{Image, Snapshot};

/// No more of what a build fetched is told in words.
const MOST: usize = 20;

/// What is told of an image beside what `ls` has.
#[derive(Debug, Serialize)]
pub struct ImageInfo<'a> {
    #[serde(flatten)]
    row: &'a Row<'a>,
    /// How long its build took.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_seconds: Option<f64>,
    /// Bytes on disk that would be free without it, and what goes with it.
    frees: u64,
    /// The keys of what goes with it: signatures and the like.
    referrers: Vec<&'a str>,
    /// The pins that hold it: its own key, patterns, and the keys whose rebuild needs it.
    pins: &'a [String],
    /// The blobs that it needs and that are not there.
    lacks: &'a [Digest],
    blobs: Vec<Share<'a>>,
    /// What its builds fetched.
    fetched: &'a [Given],
}

/// What is told of a package beside what `ls packages` has.
#[derive(Debug, Serialize)]
pub struct PackageInfo<'a> {
    #[serde(flatten)]
    row: &'a PackageRow<'a>,
    /// Bytes on disk that would be free without it.
    frees: u64,
    shares: Vec<Share<'a>>,
    /// The keys of stored images that were built with it.
    images: Vec<&'a str>,
}

/// A blob or a body, and what else needs it.
#[derive(Debug, Serialize)]
pub struct Share<'a> {
    digest: Digest,
    size: u64,
    /// What a blob of an image is: `index`, `manifest`, `config` or `layer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    with: Vec<&'a str>,
}

/// What several come to together.
#[derive(Debug, Serialize)]
pub struct Together {
    /// How many images.
    pub images: u64,
    /// How many packages.
    pub packages: u64,
    /// Bytes on disk that would be free without all of them, and what goes with them.
    pub frees: u64,
}

/// What a command has found out of an image besides the snapshot.
#[derive(Debug, Default)]
pub struct Beside {
    /// The pins that hold it, in words.
    pub pins: Vec<String>,
    /// The blobs that it needs and that are not there.
    pub lacks: Vec<Digest>,
    /// What its builds fetched.
    pub fetched: Vec<Given>,
    /// What its documents say that blobs are.
    pub kinds: HashMap<Digest, &'static str>,
}

/// What `info` shows of the image.
#[must_use]
pub fn image_info<'a>(
    snapshot: &'a Snapshot,
    image: &'a Image,
    row: &'a Row<'a>,
    beside: &'a Beside,
) -> ImageInfo<'a> {
    let others = |digest: &Digest| {
        let holds = |it: &&Image| it.key != image.key && it.blobs.contains(digest);
        snapshot.images.iter().filter(holds).map(|it| it.key.as_str()).collect()
    };
    let share = |digest: &Digest| Share {
        digest: *digest,
        size: snapshot.bytes(digest),
        kind: beside.kinds.get(digest).copied(),
        with: others(digest),
    };
    let place = snapshot.images.iter().position(|it| it.key == image.key);
    let going = snapshot.going_with(place.into_iter());
    let referrers = going.iter().filter(|it| Some(**it) != place);
    ImageInfo {
        row,
        build_seconds: image.build_seconds,
        pins: &beside.pins,
        lacks: &beside.lacks,
        frees: snapshot.freed_by(&going),
        referrers: referrers.map(|it| snapshot.images[*it].key.as_str()).collect(),
        blobs: image.blobs.iter().map(share).collect(),
        fetched: &beside.fetched,
    }
}

/// What `info` shows of the package, with which these images were built.
#[must_use]
pub fn package_info<'a>(
    packages: &'a Packages,
    row: &'a PackageRow<'a>,
    images: Vec<&'a str>,
) -> PackageInfo<'a> {
    let others = |digest: &Digest| {
        let names = |it: &View<'_>| it.bodies().any(|body| body.digest == *digest) && it.url() != row.url();
        packages.iter().filter(names).map(|it| it.url()).collect()
    };
    let share = |digest: &Digest| Share {
        digest: *digest,
        size: packages.bytes(digest),
        kind: None,
        with: others(digest),
    };
    PackageInfo { row, frees: row.own(), shares: row.bodies().iter().map(share).collect(), images }
}

impl fmt::Display for Share<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.kind {
            write!(to, "{kind} ")?;
        }
        write!(to, "{}  {}", self.digest, ByteSize(self.size))?;
        if !self.with.is_empty() {
            write!(to, "  shared with {}", self.with.join(" "))?;
        }
        Ok(())
    }
}

fn fetched(given: &Given) -> String {
    let words = [Some(given.ecosystem.as_str()), given.name.as_deref(), given.version.as_deref()];
    let words: Vec<_> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    let level = given.level.as_deref().unwrap_or("nobody vouches for it");
    format!("fetched {} ({level}, {}) {}", words.join(" "), ByteSize(given.bytes), given.url)
}

fn bytes(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// A line for each thing that is known.
#[must_use]
pub fn image_text(info: &ImageInfo<'_>, now: Timestamp) -> String {
    let mut lines = info.row.lines(now);
    lines.extend(info.pins.iter().map(|pin| format!("pinned by {pin}")));
    if info.row.is_damaged() {
        lines.push("damaged: it cannot be told what it needs, and every blob is held for it".to_owned());
    }
    if info.row.is_not_fetched() {
        lines.push("not fetched: `git lfs pull` in its repository fetches it".to_owned());
    }
    lines.extend(info.lacks.iter().map(|digest| format!("incomplete: lacks {digest}")));
    if let Some(seconds) = info.build_seconds {
        lines.push(format!("its build took {}", took(seconds)));
    }
    lines.extend(info.referrers.iter().map(|key| format!("with it goes {key}")));
    lines.push(format!("without it {} would be free", bytes(info.frees)));
    lines.extend(info.blobs.iter().map(ToString::to_string));
    let handed_out = || info.fetched.iter().filter(|given| given.is_handed_out());
    lines.extend(handed_out().take(MOST).map(fetched));
    if let Some(more) = handed_out().count().checked_sub(MOST).filter(|more| *more > 0) {
        lines.push(format!("and {} more was fetched: `--json` tells all", count(more as u64, "object")));
    }
    printed(&lines)
}

/// The lines, of which none is more than one, whatever names are in it.
fn printed(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [printable(line), "\n".into()]).collect()
}

/// A line for each thing that is known.
#[must_use]
pub fn package_text(info: &PackageInfo<'_>, now: Timestamp) -> String {
    let mut lines = info.row.lines(now);
    lines.extend(info.shares.iter().map(ToString::to_string));
    lines.extend(info.images.iter().map(|key| format!("built into {key}")));
    printed(&lines)
}

impl fmt::Display for Together {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.images, "image"), (self.packages, "package")];
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, one)| count(number, one))
            .collect();
        writeln!(to, "without these {} together {} would be free", parts.join(" and "), bytes(self.frees))
    }
}
