//! A listing as a tree in which links can be followed. Touches no disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::files::stat::Kind;

/// As many links as `BuildKit` follows.
const MAX_LINKS: usize = 255;

/// A context's paths, folders that hold something among them.
pub(super) struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
}

/// What stands at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The listing has it, and not only something below it.
    pub(super) listed: bool,
}

/// Reads the target of a link in the listing.
pub(super) type ReadLink<'a> = dyn FnMut(&[u8]) -> Option<Vec<u8>> + 'a;

impl Tree {
    pub(super) fn new<'a>(listing: impl IntoIterator<Item = (&'a [u8], Kind)>) -> Self {
        let mut nodes = BTreeMap::new();
        for (path, kind) in listing {
            for (at, _) in path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/') {
                let parent = path.get(..at).unwrap_or_default();
                if nodes.contains_key(parent) {
                    break;
                }
                nodes.insert(parent.to_vec(), Node { kind: Kind::Dir, listed: false });
            }
            nodes.insert(path.to_vec(), Node { kind, listed: true });
        }
        Self { nodes }
    }

    /// What stands there, links not followed. The root is a folder.
    pub(super) fn get(&self, path: &[u8]) -> Option<Node> {
        if path.is_empty() {
            Some(Node { kind: Kind::Dir, listed: false })
        } else {
            self.nodes.get(path).copied()
        }
    }

    /// Everything below a folder, sorted.
    pub(super) fn below(&self, folder: &[u8]) -> impl Iterator<Item = (&[u8], Node)> {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let range = self.nodes.range::<[u8], _>((Bound::Included(prefix.as_slice()), Bound::Unbounded));
        range
            .map(|(path, node)| (path.as_slice(), *node))
            .take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Where a path leads when every link in it is followed, the context being the root of the file
    /// system. The links on the way are added to `links`. Engines read a target with `..` in two
    /// ways: both places, where they differ.
    pub(super) fn resolve(
        &self,
        path: &[u8],
        read_link: &mut ReadLink<'_>,
        links: &mut BTreeSet<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        let mut places = Vec::new();
        for dots in [Dots::OfText, Dots::OfFolders] {
            let place = self.walk(path, dots, read_link, links);
            places.extend(place.filter(|place| !places.contains(place)));
        }
        places
    }

    /// None: nowhere.
    fn walk(
        &self,
        path: &[u8],
        dots: Dots,
        read_link: &mut ReadLink<'_>,
        links: &mut BTreeSet<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = parts(path);
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut followed = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                at.pop();
                continue;
            }
            at.push(part);
            let here = at.join(&b'/');
            if self.get(&here)?.kind != Kind::Symlink {
                continue;
            }
            followed += 1;
            if followed > MAX_LINKS {
                return None;
            }
            let target = read_link(&here)?;
            links.insert(here);
            at.pop();
            if target.starts_with(b"/") {
                at.clear();
            }
            match dots {
                Dots::OfText => todo.extend(cleaned(std::mem::take(&mut at), &target)),
                Dots::OfFolders => todo.extend(parts(&target)),
            }
        }
        Some(at.join(&b'/'))
    }
}

/// What `..` in a link's target leaves.
#[derive(Clone, Copy)]
enum Dots {
    /// The part that is written before it, even where that is a link: `BuildKit` and Podman.
    OfText,
    /// The folder that this part leads to: the older builder, and the file system itself.
    OfFolders,
}

/// The parts of a target in a folder, without `..`, the first one last.
fn cleaned(folder: Vec<Vec<u8>>, target: &[u8]) -> Vec<Vec<u8>> {
    let mut clean = folder;
    for part in parts(target).into_iter().rev() {
        if part == b".." {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean.reverse();
    clean
}

/// The parts of a path, the first one last.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    parts.reverse();
    parts
}
