//! `ls` and `info`: images and packages, chosen, in order.

use std::cmp::Reverse;
use std::str::FromStr;

use globset::GlobMatcher;
use jiff::Timestamp;
use serde::Serialize;
use storekit::image_name::{spellings, without_tag};
use storekit::packages::index::Summary;
use storekit::{Age, ByteSize, Digest, Key, Level, Origin, PackageKey, Referrers};
use thiserror::Error;
use toolkit::words::ago;
use toolkit::{Align, Table};

use crate::packages::{Packages, View};
use crate::snapshot::{Holders, Image, Snapshot};

/// Which are listed, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only packages of this ecosystem.
    pub ecosystem: Option<String>,
    /// Only those with such a name, key or URL.
    pub name: Option<GlobMatcher>,
    /// Only those that are unused for longer.
    pub unused: Option<Age>,
    /// Only images that were saved longer ago.
    pub older: Option<Age>,
    /// Only disks.
    pub disks: bool,
    /// Only those that take more bytes on disk.
    pub larger: Option<ByteSize>,
    /// In which order.
    pub sort: Sort,
}

impl Filter {
    /// Whether it may leave anything out.
    pub(crate) fn narrows(&self) -> bool {
        let by_age = self.unused.is_some() || self.older.is_some();
        self.ecosystem.is_some() || self.name.is_some() || by_age || self.disks || self.larger.is_some()
    }
}

/// In which order things are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The last used first.
    #[default]
    Used,
    /// By name.
    Name,
    /// The largest first, with what they share.
    Size,
    /// What would free the most first.
    Own,
}

/// A word that is not an order.
#[derive(Clone, Debug, Error)]
#[error("not an order: write `used`, `name`, `size` or `own`")]
pub struct NotASort;

impl FromStr for Sort {
    type Err = NotASort;

    fn from_str(text: &str) -> Result<Self, NotASort> {
        Ok(match text {
            "used" => Self::Used,
            "name" => Self::Name,
            "size" => Self::Size,
            "own" => Self::Own,
            _ => return Err(NotASort),
        })
    }
}

/// What is listed.
pub(super) trait Item {
    /// Whether its names are those of images, which have several spellings.
    const IS_IMAGE: bool = false;

    /// By this it is named to other commands.
    fn id(&self) -> &str;
    /// By these people know it.
    fn names(&self) -> impl Iterator<Item = &str>;
    fn used(&self) -> Timestamp;
    /// When it was saved, if it is an image.
    fn saved(&self) -> Option<Timestamp> {
        None
    }
    fn is_disk(&self) -> bool {
        false
    }
    fn size(&self) -> u64;
    fn own(&self) -> u64;
}

impl Filter {
    pub(super) fn apply<T: Item>(&self, items: Vec<T>, now: Timestamp) -> Vec<T> {
        let is_old =
            |since: Timestamp, age: Age| now.duration_since(since).unsigned_abs() > age.0 && since < now;
        let is_like = |name: &str, glob: &GlobMatcher| {
            spellings(name).any(|name| glob.is_match(&*name) || glob.is_match(without_tag(&name)))
        };
        let is_named = |it: &T, glob: &GlobMatcher| {
            let is_name = |name| if T::IS_IMAGE { is_like(name, glob) } else { glob.is_match(name) };
            glob.is_match(it.id()) || it.names().any(is_name)
        };
        let is_meant = |it: &T| {
            self.name.as_ref().is_none_or(|glob| is_named(it, glob))
                && self.unused.is_none_or(|age| is_old(it.used(), age))
                && self.older.is_none_or(|age| it.saved().is_some_and(|saved| is_old(saved, age)))
                && (it.is_disk() || !self.disks)
                && self.larger.is_none_or(|size| it.size() > size.0)
        };
        let mut items: Vec<T> = items.into_iter().filter(is_meant).collect();
        let name = |it: &T| it.names().next().unwrap_or_default().to_owned();
        // Of equal ones, by what they are named by.
        items.sort_by(|a, b| a.id().cmp(b.id()));
        match self.sort {
            Sort::Used => items.sort_by_key(|it| Reverse(it.used())),
            Sort::Name => items.sort_by_cached_key(name),
            Sort::Size => items.sort_by_key(|it| Reverse(it.size())),
            Sort::Own => items.sort_by_key(|it| Reverse(it.own())),
        }
        items
    }
}

/// An image as `ls` shows it: one JSON object a line.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combine")]
pub struct Row<'a> {
    key: &'a Key,
    digest: Digest,
    names: &'a [String],
    /// Where it came from: `image`, `host`, `commit` and `project`, as far as they are known.
    #[serde(flatten)]
    origin: &'a Origin,
    /// Bytes on disk, with what it shares.
    size: u64,
    /// Bytes on disk that would be free if it alone went.
    own: u64,
    saved: Timestamp,
    used: Timestamp,
    uses: u64,
    /// Whether it is a disk.
    disk: bool,
    pinned: bool,
    /// Whether something that it needs is not there.
    incomplete: bool,
    /// Whether it is not known what it needs.
    damaged: bool,
    /// Whether all that it lacks was only not fetched by Git LFS.
    not_fetched: bool,
    /// What it refers to: the digest of the image that it signs or describes, stored or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Digest>,
    /// The key of an image that it lives and dies with.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a Key>,
}

/// The images that are meant.
#[must_use]
pub fn rows<'a>(snapshot: &'a Snapshot, filter: &Filter) -> Vec<Row<'a>> {
    let holders = Holders::of(snapshot);
    let owners = owners(snapshot, &snapshot.referrers());
    // An image is of no ecosystem.
    let images = snapshot.images.iter().zip(owners).filter(|_| filter.ecosystem.is_none());
    let rows = images.map(|(image, of)| row(snapshot, image, of, &holders)).collect();
    filter.apply(rows, snapshot.now)
}

impl Row<'_> {
    pub(crate) fn key(&self) -> &Key {
        self.key
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(crate) fn is_not_fetched(&self) -> bool {
        self.not_fetched
    }

    /// A line for each thing that is known.
    pub(super) fn lines(&self, now: Timestamp) -> Vec<String> {
        let Row { key, digest, names, origin, size, own, saved, used, uses, .. } = *self;
        let kind = if self.disk { "disk" } else { "image" };
        let mut lines = vec![format!("{kind} {key}"), format!("digest {digest}")];
        lines.extend(names.iter().map(|name| format!("name {name}")));
        let remarks = [
            ("made as", &origin.image),
            ("on", &origin.host),
            ("of commit", &origin.commit),
            ("of project", &origin.project),
        ];
        let known =
            remarks.into_iter().filter_map(|(word, remark)| remark.as_ref().map(|remark| (word, remark)));
        lines.extend(known.map(|(word, remark)| format!("{word} {remark}")));
        lines.push(format!("size {}, of which {} its own", bytes(size), bytes(own)));
        lines.push(format!("saved {}, last used {}, used {uses} times", ago(saved, now), ago(used, now)));
        lines
    }
}

impl<'a> PackageRow<'a> {
    pub(crate) fn url(&self) -> &'a str {
        self.url
    }

    pub(super) fn bodies(&self) -> &[Digest] {
        &self.bodies
    }

    pub(crate) fn package_key(&self) -> PackageKey {
        let [ecosystem, source, url] = [self.ecosystem, self.source, self.url].map(str::to_owned);
        PackageKey { ecosystem, source, url, scope: self.scope }
    }

    /// A line for each thing that is known.
    pub(super) fn lines(&self, now: Timestamp) -> Vec<String> {
        let Self { ecosystem, source, url, name, version, architecture, level, size, own, used, .. } = *self;
        let words = [name, version, architecture].into_iter().flatten().collect::<Vec<_>>().join(" ");
        vec![
            format!("package {url}"),
            format!("{ecosystem} {words}").trim_end().to_owned(),
            format!("vouched for: {}", level.name()),
            format!("from {source}"),
            format!("size {}, of which {} its own", bytes(size), bytes(own)),
            format!("last used {}", ago(used, now)),
        ]
    }
}

impl Item for Row<'_> {
    const IS_IMAGE: bool = true;

    fn id(&self) -> &str {
        self.key.as_str()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.origin.image.as_ref().map(storekit::Remark::as_str);
        self.names.iter().map(String::as_str).chain(own)
    }

    fn used(&self) -> Timestamp {
        self.used
    }

    fn saved(&self) -> Option<Timestamp> {
        Some(self.saved)
    }

    fn is_disk(&self) -> bool {
        self.disk
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn own(&self) -> u64 {
        self.own
    }
}

/// For each entry, an image that it lives and dies with.
fn owners<'a>(snapshot: &'a Snapshot, referrers: &Referrers) -> Vec<Option<&'a Key>> {
    let mut owners = vec![None; snapshot.images.len()];
    for (entry, image) in
        snapshot.images.iter().enumerate().filter(|(entry, _)| !referrers.is_attached(*entry))
    {
        for referrer in referrers.below(entry) {
            owners[referrer].get_or_insert(&image.key);
        }
    }
    owners
}

fn row<'a>(snapshot: &Snapshot, image: &'a Image, of: Option<&'a Key>, holders: &Holders) -> Row<'a> {
    let (size, own) = snapshot.sizes(image, holders);
    Row {
        key: &image.key,
        digest: image.digest,
        names: &image.names,
        origin: &image.origin,
        size,
        own,
        saved: image.saved,
        used: image.used,
        uses: image.uses,
        disk: image.is_disk,
        pinned: image.pinned,
        incomplete: image.incomplete,
        damaged: image.unknown && !image.unfetched,
        not_fetched: image.unfetched,
        subject: image.subject,
        of,
    }
}

/// The table of `ls`.
#[must_use]
pub fn list(rows: &[Row<'_>], now: Timestamp) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("KEY", Left),
        ("SIZE", Right),
        ("OWN", Right),
        ("LAST USE", Right),
        ("USES", Right),
        ("NAMES", Left),
    ]);
    for row in rows {
        let marks = [
            (row.pinned, "(pinned)"),
            (row.damaged, "(damaged)"),
            (row.not_fetched, "(not fetched)"),
            (row.incomplete && !row.damaged && !row.not_fetched, "(incomplete)"),
        ];
        let marks = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark);
        let of = row.of.map(|key| format!("(goes with {key})"));
        let names = row.names.iter().map(String::as_str).filter(|name| !name.is_empty());
        let names: Vec<_> = names.chain(marks).chain(of.as_deref()).collect();
        table.row([
            row.key.to_string(),
            bytes(row.size),
            bytes(row.own),
            ago(row.used, now),
            row.uses.to_string(),
            names.join(" "),
        ]);
    }
    table
}

fn bytes(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// A package as `ls packages` shows it: one JSON object a line.
#[derive(Debug, Serialize)]
pub struct PackageRow<'a> {
    ecosystem: &'a str,
    source: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<&'a str>,
    level: Level,
    /// Bytes on disk, with what it shares.
    size: u64,
    /// Bytes on disk that would be free if it alone went.
    own: u64,
    used: Timestamp,
    /// The bodies that its entry names.
    bodies: Vec<Digest>,
}

/// The packages that are meant.
#[must_use]
pub fn package_rows<'a>(packages: &'a Packages, filter: &Filter, now: Timestamp) -> Vec<PackageRow<'a>> {
    let is_meant = |it: &View<'_>| filter.ecosystem.as_ref().is_none_or(|word| it.ecosystem() == *word);
    let mut rows: Vec<_> = packages.iter().filter(is_meant).map(PackageRow::of).collect();
    rows.sort_by(|a, b| (a.source, a.url, a.scope).cmp(&(b.source, b.url, b.scope)));
    filter.apply(rows, now)
}

impl<'a> PackageRow<'a> {
    fn of(package: View<'a>) -> Self {
        let Summary { ecosystem, source, url, scope, name, version, architecture, level, .. } =
            package.words();
        Self {
            ecosystem,
            source,
            url,
            scope,
            name,
            version,
            architecture,
            level,
            size: package.size(),
            own: package.own(),
            used: package.used(),
            bodies: package.digests(),
        }
    }
}

impl Item for PackageRow<'_> {
    fn id(&self) -> &str {
        self.url
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.name.into_iter()
    }

    fn used(&self) -> Timestamp {
        self.used
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn own(&self) -> u64 {
        self.own
    }
}

/// The table of `ls packages`.
#[must_use]
pub fn package_list(rows: &[PackageRow<'_>], now: Timestamp) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("ECOSYSTEM", Left),
        ("NAME", Left),
        ("VERSION", Left),
        ("SIZE", Right),
        ("OWN", Right),
        ("LAST USE", Right),
        ("URL", Left),
    ]);
    for row in rows {
        table.row([
            row.ecosystem.to_owned(),
            row.name.unwrap_or("-").to_owned(),
            row.version.unwrap_or("-").to_owned(),
            bytes(row.size),
            bytes(row.own),
            ago(row.used, now),
            row.url.to_owned(),
        ]);
    }
    table
}

/// By what each is named to other commands.
pub fn ids<'a>(images: &'a [Row<'_>], packages: &'a [PackageRow<'_>]) -> impl Iterator<Item = &'a str> {
    images.iter().map(Item::id).chain(packages.iter().map(Item::id))
}
