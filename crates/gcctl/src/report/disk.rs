//! The picture of the disk: what takes how much, in groups.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use storekit::digest::DigestMap;
use storekit::{ByteSize, Digest};
use toolkit::page::{cut, escaped};

use super::treemap::{Rect, squarified};
use crate::snapshot::{Image, Snapshot, Usage};

/// No more parts of a group have a rectangle of their own.
const MOST: usize = 40;
/// A character of a label is about so wide, in pixels.
const CHARACTER: f64 = 7.2;
/// The height of a group's heading.
const HEADING: f64 = 18.0;

/// A part of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Parts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The kind.
    pub name: &'static str,
    /// Its class on the page.
    class: &'static str,
    /// The largest first.
    pub parts: Vec<Part>,
}

impl Group {
    fn new(name: &'static str, class: &'static str, mut parts: Vec<Part>) -> Self {
        parts.retain(|part| part.bytes > 0);
        parts.sort_by(|one, other| (Reverse(one.bytes), &one.name).cmp(&(Reverse(other.bytes), &other.name)));
        if parts.len() > MOST {
            let rest = parts.split_off(MOST - 1);
            let bytes = rest.iter().map(|part| part.bytes).sum();
            parts.push(Part { name: format!("{} more", rest.len()), bytes });
            parts.sort_by_key(|part| Reverse(part.bytes));
        }
        Self { name, class, parts }
    }

    /// Bytes of all its parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// All of the store's folder, in groups, the largest first. They add up to it exactly.
#[must_use]
pub fn groups(snapshot: &Snapshot) -> Vec<Group> {
    let usage = snapshot.usage();
    let part = |name: &str, bytes| Part { name: name.to_owned(), bytes };
    let mut packages: Vec<_> =
        snapshot.packages.by_ecosystem().into_iter().map(|(name, sum)| part(name, sum.own)).collect();
    packages.push(part("shared by URLs", usage.packages_shared));
    packages.push(part("needed by no URL", usage.packages_unneeded));
    let rest = [
        ("contexts", usage.contexts),
        ("events", usage.events),
        ("first seen", usage.first_seen),
        ("unfinished", usage.unfinished),
        ("damaged, set aside", usage.damaged),
        ("index, folders and the like", usage.other),
    ];
    let trash = [part("could be brought back", usage.trash)];
    let mut groups = vec![
        Group::new("images", "images", images(snapshot, &usage)),
        Group::new("packages", "packages", packages),
        Group::new("trash", "trash", trash.to_vec()),
        Group::new("other", "other", rest.map(|(name, bytes)| part(name, bytes)).to_vec()),
    ];
    groups.retain(|group| !group.parts.is_empty());
    groups.sort_by_key(|group| Reverse(group.bytes()));
    groups
}

/// By which name an image's bytes are counted.
fn name(image: &Image) -> &str {
    image.name().unwrap_or("without a name")
}

/// What goes with all images of a name, and what several names share.
fn images(snapshot: &Snapshot, usage: &Usage) -> Vec<Part> {
    let mut holder: DigestMap<Option<&str>> = DigestMap::default();
    holder.extend(snapshot.foreign.iter().map(|digest| (*digest, None)));
    let mut own: BTreeMap<&str, u64> = BTreeMap::new();
    for image in &snapshot.images {
        *own.entry(name(image)).or_default() += image.files;
        for digest in &image.blobs {
            let by = holder.entry(*digest).or_insert(Some(name(image)));
            *by = by.filter(|by| *by == name(image));
        }
    }
    for (digest, by) in &holder {
        if let Some(name) = by {
            *own.entry(name).or_default() += snapshot.bytes(digest);
        }
    }
    let shared = (usage.unique + usage.shared).saturating_sub(own.values().sum());
    let names = own.into_iter();
    let rest = [("shared by names", shared), ("needed by no image", usage.unreferenced)];
    names.chain(rest).map(|(name, bytes)| Part { name: name.to_owned(), bytes }).collect()
}

/// The picture, so many pixels wide and high.
pub(super) fn picture(groups: &[Group], class: &str, width: f64, height: f64) -> String {
    let mut svg = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"what takes how much of the disk\">\n"
    );
    let weights: Vec<_> = groups.iter().map(Group::bytes).collect();
    for (group, space) in groups.iter().zip(squarified(&weights, Rect { x: 0.0, y: 0.0, width, height })) {
        let has_heading = space.height > 3.0 * HEADING && space.width > 60.0;
        let inside = space.inset(1.0, if has_heading { HEADING } else { 0.0 });
        let _ = writeln!(svg, "<g class=\"{}\">", group.class);
        if has_heading {
            let text = format!("{} {}", group.name, ByteSize(group.bytes()));
            label(&mut svg, "heading", &text, Rect { x: space.x, y: space.y - 1.0, ..space });
        }
        let weights: Vec<_> = group.parts.iter().map(|part| part.bytes).collect();
        for (part, rect) in group.parts.iter().zip(squarified(&weights, inside)) {
            leaf(&mut svg, part, rect);
        }
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

fn leaf(svg: &mut String, part: &Part, rect: Rect) {
    let Rect { x, y, width, height } = rect;
    // A string takes all that is written to it.
    let _ = writeln!(
        svg,
        "<rect class=\"leaf\" data-bytes=\"{}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"><title>{}: {}</title></rect>",
        part.bytes,
        escaped(&part.name),
        ByteSize(part.bytes)
    );
    if height > 20.0 {
        label(svg, "name", &part.name, rect);
    }
    if height > 38.0 {
        label(svg, "size", &ByteSize(part.bytes).to_string(), Rect { y: y + 16.0, ..rect });
    }
}

/// A line at the top of a rectangle, cut where it is too long; none where there is no room.
fn label(svg: &mut String, class: &str, text: &str, rect: Rect) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred at most")]
    let room = ((rect.width - 10.0).max(0.0) / CHARACTER) as usize;
    if room < 4 {
        return;
    }
    let (x, y) = (rect.x + 5.0, rect.y + 15.0);
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\">{}</text>",
        escaped(&cut(text, room))
    );
}

/// Bytes of images by how long ago they were used, at the longest of each class: what several need
/// counts with the one that was used last.
pub(super) fn ages(snapshot: &Snapshot, classes: &[u64]) -> Vec<u64> {
    let mut order: Vec<_> = snapshot.images.iter().collect();
    order.sort_by_key(|image| Reverse(image.used));
    let (mut counted, mut sums) = (HashSet::<Digest>::new(), vec![0; classes.len() + 1]);
    for image in order {
        let new = image.blobs.iter().filter(|digest| counted.insert(**digest));
        let bytes = image.files + new.map(|digest| snapshot.bytes(digest)).sum::<u64>();
        sums[class(snapshot, image.used, classes)] += bytes;
    }
    sums
}

/// The same of packages.
pub(super) fn package_ages(snapshot: &Snapshot, classes: &[u64]) -> Vec<u64> {
    let mut order: Vec<_> = snapshot.packages.iter().collect();
    order.sort_by_key(|package| Reverse(package.used()));
    let (mut counted, mut sums) = (HashSet::<Digest>::new(), vec![0; classes.len() + 1]);
    for package in order {
        let new = package.bodies().filter(|body| counted.insert(body.digest));
        let bytes = package.file() + new.map(|body| body.bytes).sum::<u64>();
        sums[class(snapshot, package.used(), classes)] += bytes;
    }
    sums
}

fn class(snapshot: &Snapshot, used: jiff::Timestamp, classes: &[u64]) -> usize {
    let age = snapshot.now.duration_since(used).as_secs().max(0).unsigned_abs();
    classes.iter().position(|most| age <= *most).unwrap_or(classes.len())
}
