//! What a bake has before it: images and disks alike, each with what it comes after.

use super::plan::Planned;
use crate::config::Project;
use crate::config::disk::Disk;
use crate::outputs::may_meet;

/// An image or a disk to bake.
pub(super) enum Piece {
    Image(Box<Planned>),
    Disk(PlannedDisk),
}

/// A disk to bake.
pub(super) struct PlannedDisk {
    pub(super) disk: Disk,
    /// Whether it was asked for, and not only what needs it.
    pub(super) asked: bool,
    /// The images and disks of larder.toml whose outputs are among its inputs.
    pub(super) feeds: Vec<String>,
}

impl Piece {
    /// Its name in larder.toml.
    pub(super) fn name(&self) -> &String {
        match self {
            Self::Image(planned) => &planned.image.name,
            Self::Disk(planned) => &planned.disk.name,
        }
    }

    pub(super) fn as_image(&self) -> Option<&Planned> {
        match self {
            Self::Image(planned) => Some(planned),
            Self::Disk(_) => None,
        }
    }

    /// The images and disks of larder.toml whose keys are in its own.
    pub(super) fn below(&self) -> Vec<&String> {
        match self {
            Self::Image(planned) => planned.below().collect(),
            Self::Disk(planned) => planned.disk.needs.iter().collect(),
        }
    }

    /// Those whose outputs it reads.
    pub(super) fn feeds(&self) -> &[String] {
        match self {
            Self::Image(planned) => &planned.feeds,
            Self::Disk(planned) => &planned.feeds,
        }
    }

    /// All that it comes after, each of `feeds` only where it is not `below`.
    pub(super) fn before(&self) -> Vec<&String> {
        let mut before = self.below();
        let only_read: Vec<_> = self.feeds().iter().filter(|feed| !before.contains(feed)).collect();
        before.extend(only_read);
        before
    }

    /// Whether files of both may fall on one another.
    fn may_meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Image(one), Self::Image(other)) => may_meet(&one.image.outputs, &other.image.outputs),
            (Self::Image(image), Self::Disk(disk)) | (Self::Disk(disk), Self::Image(image)) => {
                may_meet(&image.image.outputs, &[disk.disk.place()])
            }
            // Refused when larder.toml is read.
            (Self::Disk(_), Self::Disk(_)) => false,
        }
    }
}

/// The images among them.
pub(super) fn images(pieces: &[Piece]) -> impl Iterator<Item = &Planned> {
    pieces.iter().filter_map(Piece::as_image)
}

/// The same, to be changed.
pub(super) fn images_mut(pieces: &mut [Piece]) -> impl Iterator<Item = &mut Planned> {
    pieces.iter_mut().filter_map(|piece| match piece {
        Piece::Image(planned) => Some(planned.as_mut()),
        Piece::Disk(_) => None,
    })
}

/// For each, where those stand that it comes after.
pub(super) fn needs(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let at = |name: &String| pieces.iter().position(|other| other.name() == name);
    pieces.iter().map(|piece| piece.before().into_iter().filter_map(at).collect()).collect()
}

/// For each, those before it that may write files to the same places.
pub(super) fn neighbours(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let before = |(at, piece): (usize, &Piece)| {
        let others = pieces.iter().take(at).enumerate();
        others.filter(|(_, other)| other.may_meet(piece)).map(|(at, _)| at).collect()
    };
    pieces.iter().enumerate().map(before).collect()
}

/// Where they stand, in the order of the report: the images in that of the file, then the disks.
pub(super) fn order_of_file(project: &Project, pieces: &[Piece]) -> Vec<usize> {
    let images = project.images.iter().map(|image| &image.name);
    let names = images.chain(project.disks.iter().map(|disk| &disk.name));
    names.filter_map(|name| pieces.iter().position(|piece| piece.name() == name)).collect()
}
