//! The entries of packages, close together.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use storekit::packages::index::Summary;
use storekit::{Digest, PackageId, PackageKey};

use super::bodies::{Bodies, Body};
use super::{Package, step};

/// No more bytes of text lie in one piece.
const PIECE: usize = 1 << 30;
/// In nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// An entry. What is said of it in words lies elsewhere.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// When it was last used, in nanoseconds since 1970.
    used: i64,
    /// What events call it.
    id: PackageId,
    /// The bytes of its file, which has no more than a mebibyte.
    file: u32,
    /// In which piece its text is, and where it begins there.
    piece: u32,
    text: u32,
    /// Its ecosystem and source.
    origin: u32,
    /// Where the list of its bodies begins, and how long that is.
    first: u32,
    count: u16,
}

/// Entries that were come across, in their order.
#[derive(Debug, Default)]
pub struct Gathered {
    rows: Vec<Row>,
    pieces: Vec<Vec<u8>>,
    origins: Origins,
    bodies: Vec<Digest>,
}

/// Ecosystems with sources, each pair once.
#[derive(Clone, Debug, Default)]
struct Origins {
    list: Vec<(String, String)>,
    places: HashMap<(String, String), u32>,
    last: u32,
}

/// All entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    list: Vec<Row>,
    pieces: Vec<Vec<u8>>,
    origins: Vec<(String, String)>,
    /// By their places among all bodies.
    bodies: Vec<u32>,
    /// How often each was used, by its place; empty where that is not known of any.
    uses: Vec<u32>,
}

/// An entry, as it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    rows: &'a Rows,
    all: &'a Bodies,
    row: &'a Row,
    place: usize,
}

impl Origins {
    fn place(&mut self, ecosystem: &str, source: &str) -> u32 {
        // Most are of the one before.
        if self.list.get(self.last as usize).is_some_and(|it| it.0 == ecosystem && it.1 == source) {
            return self.last;
        }
        let pair = (ecosystem.to_owned(), source.to_owned());
        let new = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.last = *self.places.entry(pair.clone()).or_insert(new);
        if self.last == new {
            self.list.push(pair);
        }
        self.last
    }
}

impl Gathered {
    /// Adds an entry that was last used then; its file takes so many bytes.
    pub fn push(&mut self, id: PackageId, summary: &Summary<'_>, used: Timestamp, file: u64) {
        if self.pieces.last().is_none_or(|piece| piece.len() > PIECE) {
            self.pieces.push(Vec::new());
        }
        let piece = self.pieces.len() - 1;
        let text = self.pieces[piece].len();
        // What stands elsewhere is left out.
        let words = Summary { ecosystem: "", source: "", bodies: Vec::new(), ..summary.clone() };
        words.write(&mut self.pieces[piece]);
        // No file of a mebibyte names more.
        let count = u16::try_from(summary.bodies.len()).unwrap_or(u16::MAX);
        self.rows.push(Row {
            used: nanoseconds(used),
            id,
            file: number(usize::try_from(file).unwrap_or(usize::MAX)),
            piece: number(piece),
            text: number(text),
            origin: self.origins.place(summary.ecosystem, summary.source),
            first: number(self.bodies.len()),
            count,
        });
        self.bodies.extend(summary.bodies.iter().take(count.into()));
    }

    /// Gives back what it has room for and does not need.
    pub fn shrink(&mut self) {
        self.pieces.iter_mut().for_each(Vec::shrink_to_fit);
    }
}

/// All entries while they are gathered. Their bodies are known by digest.
#[derive(Debug, Default)]
pub struct Joined {
    rows: Rows,
    origins: Origins,
    bodies: Vec<Digest>,
}

impl Joined {
    /// Adds entries behind those that are there.
    pub fn append(&mut self, gathered: Gathered) {
        let (pieces, first) = (number(self.rows.pieces.len()), number(self.bodies.len()));
        let origins = gathered.origins.list.iter().map(|it| self.origins.place(&it.0, &it.1));
        let origins: Vec<_> = origins.collect();
        self.rows.list.extend(gathered.rows.iter().map(|row| Row {
            piece: row.piece + pieces,
            first: row.first + first,
            origin: origins.get(row.origin as usize).copied().unwrap_or_default(),
            ..*row
        }));
        self.bodies.extend(gathered.bodies);
        self.rows.pieces.extend(gathered.pieces);
    }

    /// What the entries name.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &Digest> {
        self.bodies.iter()
    }

    /// `name` gives the place of a body, and notes that an entry names it. What was used after
    /// `now` was used then.
    pub(super) fn rows(self, now: Timestamp, name: impl FnMut(&Digest) -> u32) -> Rows {
        let Self { mut rows, origins, bodies } = self;
        let now = nanoseconds(now);
        rows.list.iter_mut().for_each(|row| row.used = row.used.min(now));
        rows.bodies = bodies.iter().map(name).collect();
        rows.origins = origins.list;
        rows
    }
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Notes how often each was used.
    pub(super) fn count_uses(&mut self, uses: &HashMap<PackageId, u64>) {
        let of = |row: &Row| uses.get(&row.id).map_or(0, |uses| u32::try_from(*uses).unwrap_or(u32::MAX));
        self.uses = if uses.is_empty() { Vec::new() } else { self.list.iter().map(of).collect() };
    }

    /// Sorts places by when they were last used, the last used first; what was used within the same
    /// step, by how often.
    pub(super) fn sort_by_use(&self, places: &mut [u32]) {
        let used = |place: u32| self.list.get(place as usize).map_or(0, |row| row.used);
        places.sort_unstable_by_key(|place| Reverse((used(*place), *place)));
        if self.uses.is_empty() {
            return;
        }
        let times = |place: u32| self.uses.get(place as usize).copied().unwrap_or_default();
        let at = |place: u32| step(used(place).div_euclid(SECOND));
        for same in places.chunk_by_mut(|one, other| at(*one) == at(*other)) {
            same.sort_unstable_by_key(|place| Reverse((times(*place), used(*place), *place)));
        }
    }

    /// Every ecosystem and source, by place.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&str, &str)> {
        self.origins.iter().map(|(ecosystem, source)| (ecosystem.as_str(), source.as_str()))
    }
}

impl<'a> View<'a> {
    pub(super) fn of(rows: &'a Rows, all: &'a Bodies, place: usize) -> Option<Self> {
        Some(Self { rows, all, row: rows.list.get(place)?, place })
    }

    /// Its place among all.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// What events call it.
    #[must_use]
    pub fn id(&self) -> PackageId {
        self.row.id
    }

    /// How often it was used, as far as that is known.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.rows.uses.get(self.place).copied().unwrap_or_default().into()
    }

    /// The place of its ecosystem and source among [`super::Packages::origins`].
    #[must_use]
    pub fn origin_place(&self) -> usize {
        self.row.origin as usize
    }

    /// Its source.
    #[must_use]
    pub fn source(&self) -> &'a str {
        self.origin().1
    }

    /// What is said of it, without its bodies.
    #[must_use]
    pub fn words(&self) -> Summary<'a> {
        let piece = self.rows.pieces.get(self.row.piece as usize);
        let text = piece.and_then(|piece| piece.get(self.row.text as usize..)).unwrap_or_default();
        let words = Summary::read(&mut &*text).unwrap_or_default();
        Summary { ecosystem: self.ecosystem(), source: self.origin().1, ..words }
    }

    fn origin(&self) -> (&'a str, &'a str) {
        self.rows.origins.get(self.row.origin as usize).map_or(("", ""), |(one, two)| (one, two))
    }

    /// Which kind of client it was fetched for.
    #[must_use]
    pub fn ecosystem(&self) -> &'a str {
        self.origin().0
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &'a str {
        self.words().url
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PackageKey {
        let Summary { ecosystem, source, url, scope, .. } = self.words();
        let [ecosystem, source, url] = [ecosystem, source, url].map(str::to_owned);
        PackageKey { ecosystem, source, url, scope }
    }

    /// When it was last used; never later than the snapshot.
    #[must_use]
    pub fn used(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.row.used.into()).unwrap_or(Timestamp::MIN)
    }

    /// The bytes of its entry's file.
    #[must_use]
    pub fn file(&self) -> u64 {
        self.row.file.into()
    }

    fn places(&self) -> &'a [u32] {
        let first = self.row.first as usize;
        self.rows.bodies.get(first..first + usize::from(self.row.count)).unwrap_or_default()
    }

    /// The bodies that its entry names, there or not.
    pub fn bodies(&self) -> impl Iterator<Item = &'a Body> + use<'a> {
        let all = self.all;
        self.places().iter().filter_map(|place| all.get(*place))
    }

    /// The digests of these.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest> {
        self.bodies().map(|body| body.digest).collect()
    }

    /// What it occupies with its bodies, shared or not.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.file() + self.bodies().map(|body| body.bytes).sum::<u64>()
    }

    /// What would be freed if this entry alone went.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.file() + self.bodies().filter(|body| body.named == 1).map(|body| body.bytes).sum::<u64>()
    }

    /// Takes it away from those that name its bodies, by their places. Returns the bytes of the
    /// bodies that nothing names after that.
    pub(super) fn release(&self, holders: &mut [u32]) -> u64 {
        let mut freed = 0;
        for (place, body) in self.places().iter().zip(self.bodies()) {
            let Some(count) = holders.get_mut(*place as usize).filter(|count| **count > 0) else { continue };
            *count -= 1;
            if *count == 0 {
                freed += body.bytes;
            }
        }
        freed
    }

    /// The bytes of the bodies that nothing would name without it.
    pub(super) fn would_release(&self, holders: &[u32]) -> u64 {
        let own = self.places().iter().zip(self.bodies());
        let own = own.filter(|(place, _)| holders.get(**place as usize) == Some(&1));
        own.map(|(_, body)| body.bytes).sum()
    }

    /// Notes that it names its bodies, by their places.
    pub(super) fn count(&self, holders: &mut [u32]) {
        for place in self.places() {
            if let Some(count) = holders.get_mut(*place as usize) {
                *count += 1;
            }
        }
    }

    /// The bytes of those of its bodies that were not seen before.
    pub(super) fn take_unseen(&self, seen: &mut [bool]) -> u64 {
        let new = self.places().iter().zip(self.bodies()).filter(|(place, _)| {
            seen.get_mut(**place as usize).is_some_and(|seen| !std::mem::replace(seen, true))
        });
        new.map(|(_, body)| body.bytes).sum()
    }

    /// All of it.
    #[must_use]
    pub fn to_package(&self) -> Package {
        let words = self.words();
        Package {
            key: self.key(),
            name: words.name.map(str::to_owned),
            version: words.version.map(str::to_owned),
            architecture: words.architecture.map(str::to_owned),
            level: words.level,
            used: self.used(),
            bodies: self.digests(),
            file: self.file(),
        }
    }
}

/// No more are counted: each takes some bytes of memory.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The nearest of those that fit: from 1677 to 2262.
fn nanoseconds(time: Timestamp) -> i64 {
    let time = time.as_nanosecond();
    i64::try_from(time).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX })
}
