//! The images of one name, and how many of them there are.
//!
//! The name is the one in larder.toml; where there is none, the first that a load restores, without
//! its tag: `app:1` and `app:2` are of one name. A damaged image stands for nothing: it does not
//! count.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::snapshot::{Image, Snapshot};

/// How many images the name has that has the most.
pub(super) fn most<'a>(images: impl Iterator<Item = &'a Image>) -> u64 {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    images
        .filter(|image| !image.unknown)
        .filter_map(Image::name)
        .for_each(|name| *counts.entry(name).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

/// Of the entries, the last used ones of each name, so many of each.
pub(super) fn first(snapshot: &Snapshot, entries: impl Iterator<Item = usize>, keep: u64) -> HashSet<usize> {
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    by_name(snapshot, entries).into_values().flat_map(|entries| entries.into_iter().take(keep)).collect()
}

/// Of the entries, the last saved one of each name that they have.
pub(super) fn newest(snapshot: &Snapshot, entries: impl Iterator<Item = usize>) -> HashSet<usize> {
    let images = &snapshot.images;
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for entry in entries.filter(|entry| !images[*entry].unknown) {
        for name in images[entry].all_names() {
            let last = newest.entry(name).or_insert(entry);
            let rank = |entry: usize| (images[entry].saved, images[entry].used);
            if rank(entry) > rank(*last) {
                *last = entry;
            }
        }
    }
    newest.into_values().collect()
}

/// The same, where the pinned ones count first: they stay in any case.
pub(super) fn last(snapshot: &Snapshot, entries: impl Iterator<Item = usize>, most: u64) -> HashSet<usize> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let of_one = |mut entries: Vec<usize>| {
        entries.sort_by_key(|entry| !snapshot.images[*entry].pinned);
        entries.into_iter().take(most)
    };
    by_name(snapshot, entries).into_values().flat_map(of_one).collect()
}

/// The entries of each name, the last used first.
fn by_name(snapshot: &Snapshot, entries: impl Iterator<Item = usize>) -> HashMap<&str, Vec<usize>> {
    let images = &snapshot.images;
    let mut names: HashMap<&str, Vec<usize>> = HashMap::new();
    for entry in entries.filter(|entry| !images[*entry].unknown) {
        if let Some(name) = images[entry].name() {
            names.entry(name).or_default().push(entry);
        }
    }
    for entries in names.values_mut() {
        entries.sort_by_key(|entry| (Reverse(images[*entry].used), Reverse(images[*entry].saved), *entry));
    }
    names
}
