//! What is known of a context: the base, and beside it what was learnt since the base was written.
//!
//! A run that learns little writes only the second file, however large the base is. It names the
//! base that it stands beside, so that with any other one it counts as empty.

use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};

use super::records::Records;
use super::{Known, MAX_BYTES};
use crate::files::regular;
use crate::files::stat::Stat;

/// The first line of a base; the second is the context's root.
const MAGIC: &str = "larder stat cache 2\n";

/// The first line of what was learnt since; the second is the context's root, the third the last
/// field of the base.
const RECENT: &str = "larder stat cache 2 recent\n";

/// The base is written anew where it has less than this many records for each of the recent ones.
const FEW: usize = 16;

/// Where both stand, and how they begin.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) base: Utf8PathBuf,
    pub(super) recent: Utf8PathBuf,
    /// As text, escaped.
    root: String,
}

/// The records of both. A record is named by a number: those of the base come first.
#[derive(Debug, Default)]
pub(super) struct Layers {
    base: Records,
    recent: Records,
}

impl Files {
    pub(super) fn new(base: Utf8PathBuf, root: String) -> Self {
        Self { recent: Utf8PathBuf::from(format!("{base}.recent")), base, root }
    }

    pub(super) fn base_header(&self) -> String {
        format!("{MAGIC}{}\n", self.root)
    }

    pub(super) fn recent_header(&self, layers: &Layers) -> String {
        format!("{RECENT}{}\n{}\n", self.root, layers.base.check())
    }
}

impl Layers {
    /// What is missing or damaged is empty.
    pub(super) fn read(files: &Files) -> Self {
        let mut layers = Self { base: records(&files.base, &files.base_header()), ..Self::default() };
        if layers.base.len() > 0 {
            layers.recent = records(&files.recent, &files.recent_header(&layers));
        }
        layers
    }

    pub(super) fn is_empty(&self) -> bool {
        self.base.len() == 0
    }

    /// Whether the base may stay as it is where so much was learnt.
    pub(super) fn may_stay(&self, learnt: usize) -> bool {
        (self.recent.len() + learnt) * FEW <= self.base.len()
    }

    /// The base's record of a path, sought from `near`, which becomes where what comes after it
    /// stands.
    pub(super) fn find(&self, near: &mut usize, path: &[u8]) -> Option<usize> {
        if self.base.path(*near) != path {
            *near = self.base.seek(*near, path);
            if self.base.path(*near) != path {
                return None;
            }
        }
        *near += 1;
        near.checked_sub(1)
    }

    /// The later record of a path.
    pub(super) fn find_recent(&self, path: &[u8]) -> Option<usize> {
        let at = self.recent.seek(0, path);
        (at < self.recent.len() && self.recent.path(at) == path).then_some(self.base.len() + at)
    }

    /// Where what comes at or after a path stands in the base.
    pub(super) fn seek(&self, near: usize, path: &[u8]) -> usize {
        self.base.seek(near, path)
    }

    pub(super) fn is_of(&self, at: usize, stat: &Stat) -> bool {
        let (records, at) = self.part(at);
        records.is_of(at, stat)
    }

    pub(super) fn known(&self, at: usize) -> Option<Known> {
        let (records, at) = self.part(at);
        records.known(at)
    }

    /// The path of a record.
    pub(super) fn path(&self, at: usize) -> &[u8] {
        let (records, at) = self.part(at);
        records.path(at)
    }

    /// The last byte of a record.
    pub(super) fn tag(&self, at: usize) -> Option<u8> {
        let (records, at) = self.part(at);
        records.tag(at)
    }

    /// What stands between a record's place for the path and its last byte.
    pub(super) fn middle(&self, at: usize) -> &[u8] {
        let (records, at) = self.part(at);
        records.middle(at)
    }

    /// The recent ones, sorted by path.
    pub(super) fn recent(&self) -> std::ops::Range<usize> {
        self.base.len()..self.base.len() + self.recent.len()
    }

    /// One record of each path, the later one where there are two, sorted by path.
    pub(super) fn newest(&self) -> Vec<usize> {
        let mut newest = Vec::with_capacity(self.base.len() + self.recent.len());
        let mut at = 0;
        for recent in self.recent() {
            let path = self.path(recent);
            let next = self.base.seek(at, path);
            newest.extend(at..next);
            newest.push(recent);
            at = next + usize::from(self.base.path(next) == path);
        }
        newest.extend(at..self.base.len());
        newest
    }

    fn part(&self, at: usize) -> (&Records, usize) {
        match at.checked_sub(self.base.len()) {
            Some(recent) => (&self.recent, recent),
            None => (&self.base, at),
        }
    }
}

fn records(file: &Utf8Path, header: &str) -> Records {
    read(file, header.as_bytes()).ok().flatten().unwrap_or_default()
}

/// Reads no more than the start of what is not a cache of this root, and never waits for a FIFO.
fn read(file: &Utf8Path, header: &[u8]) -> io::Result<Option<Records>> {
    let mut open = regular::open(file.as_std_path())?;
    let size = open.metadata()?.len();
    let mut bytes = vec![0; header.len()];
    open.read_exact(&mut bytes)?;
    let rest = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(header.len());
    if bytes != header || rest > MAX_BYTES {
        return Ok(None);
    }
    bytes.reserve_exact(rest);
    open.take(rest as u64).read_to_end(&mut bytes)?;
    Ok(Records::parse(bytes, header))
}
