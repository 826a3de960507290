//! The tree of a checksum database, in tiles of 256 hashes.
//!
//! A tile at level L has hashes of the tree 8 L levels above its leaves. A full one is known by one
//! hash in the tile above it; the last one at each level, at the tree's right edge, is known by the
//! tree's root, which is signed.
//!
//! Source: RFC 6962, 2.1, for the hashes; `golang.org/x/mod/sumdb/tlog` and "Proposal: Secure the
//! Public Go Module Ecosystem" for tiles.

use std::fmt::Write as _;

use storekit::Digest;

/// A hash of the tree.
pub(crate) type Hash = [u8; 32];
/// Hashes of a full tile.
pub(crate) const FULL: u64 = 256;
/// The height of a tile, which is part of its path: the one that clients ask for.
const HEIGHT: u32 = 8;

/// Where a tile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many tiles are below it.
    pub(crate) level: u32,
    /// How many are left of it.
    pub(crate) number: u64,
    /// How many hashes it has.
    pub(crate) width: u64,
}

impl Place {
    /// From the path behind `tile/`; `None` where clients do not ask so.
    #[must_use]
    pub(crate) fn read(path: &str) -> Option<Self> {
        let (whole, width) = match path.split_once(".p/") {
            None => (path, FULL),
            Some((whole, width)) => (whole, number(width).filter(|it| (1..FULL).contains(it))?),
        };
        let mut parts = whole.split('/');
        let height = parts.next().and_then(number)?;
        let level = parts.next().and_then(number).and_then(|it| u32::try_from(it).ok())?;
        let parts: Vec<_> = parts.collect();
        let (last, before) = parts.split_last()?;
        let mut at = 0_u64;
        for part in before.iter().map(|part| part.strip_prefix('x')).chain([Some(*last)]) {
            let part = part.filter(|it| it.len() == 3 && it.bytes().all(|byte| byte.is_ascii_digit()))?;
            at = at.checked_mul(1000)?.checked_add(part.parse().ok()?)?;
        }
        let place = Self { level, number: at, width };
        // One spelling alone: a tile is one file.
        (height == u64::from(HEIGHT) && level < HEIGHT && place.path() == format!("tile/{path}"))
            .then_some(place)
    }

    /// Its path in the database.
    #[must_use]
    pub(crate) fn path(&self) -> String {
        let (mut rest, mut text) = (self.number / 1000, format!("{:03}", self.number % 1000));
        while rest > 0 {
            text = format!("x{:03}/{text}", rest % 1000);
            rest /= 1000;
        }
        let mut path = format!("tile/{HEIGHT}/{}/{text}", self.level);
        if self.width < FULL {
            let _ = write!(path, ".p/{}", self.width);
        }
        path
    }

    /// The hashes of its bytes, where these are so many.
    #[must_use]
    pub(crate) fn hashes(&self, bytes: &[u8]) -> Option<Vec<Hash>> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        (rest.is_empty() && hashes.len() as u64 == self.width).then(|| hashes.to_vec())
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// The head of a tree: how many records it has, and its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// How many records there are.
    pub(crate) size: u64,
    /// What all of them hash to.
    pub(crate) root: Hash,
}

impl Tree {
    /// The tiles at its right edge, from the leaves upwards. A level whose tiles are all full has
    /// none.
    #[must_use]
    pub(crate) fn edge(&self) -> Vec<Place> {
        let levels = (0..HEIGHT).map(|level| (level, self.at(level)));
        let place =
            |(level, hashes): (u32, u64)| Place { level, number: hashes / FULL, width: hashes % FULL };
        levels.map(place).filter(|place| place.width > 0).collect()
    }

    /// How many hashes there are at a level.
    fn at(&self, level: u32) -> u64 {
        self.size.checked_shr(HEIGHT * level).unwrap_or(0)
    }

    /// The tile that has the hash of this number at this level, as it is in this tree; `None` where
    /// the tree ends before.
    #[must_use]
    pub(crate) fn tile(&self, level: u32, hash: u64) -> Option<Place> {
        let (number, all) = (hash / FULL, self.at(level));
        let width = FULL.min(all.checked_sub(number * FULL)?);
        (hash < all).then_some(Place { level, number, width })
    }

    /// Whether these are the tiles at its edge, in the order of [`Self::edge`].
    #[must_use]
    pub(crate) fn has_edge(&self, tiles: &[Vec<Hash>]) -> bool {
        // From the largest whole subtree, which is leftmost, to the smallest.
        let mut subtrees = Vec::new();
        for tile in tiles.iter().rev() {
            let mut rest = tile.as_slice();
            while let Some(power) = rest.len().checked_ilog2() {
                let (first, behind) = rest.split_at(1 << power);
                subtrees.push(root_of(first));
                rest = behind;
            }
        }
        let root = subtrees.into_iter().rev().reduce(|right, left| node(&left, &right));
        root == Some(self.root)
    }
}

/// The hash of a record.
#[must_use]
pub(crate) fn leaf(record: &[u8]) -> Hash {
    *Digest::of(&[&[0], record].concat()).bytes()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    *Digest::of(&[&[1][..], left, right].concat()).bytes()
}

/// The root above hashes, of which there is a power of two.
#[must_use]
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| pair.iter().copied().reduce(|l, r| node(&l, &r)).unwrap_or_default())
            .collect();
    }
    level.first().copied().unwrap_or_default()
}
