//! What a bake has before it: images and disks alike, each with what it comes after.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Project;
use crate::config::disk::Disk;
use crate::config::image::Image;
use crate::outputs::may_meet;

/// An image or a disk to bake.
pub(in crate::bake) enum Piece {
    Image(Box<Planned>),
    Disk(Box<PlannedDisk>),
}

/// An image to bake.
pub(in crate::bake) struct Planned {
    /// With its engine settled.
    pub(in crate::bake) image: Image,
    /// Its names as larder.toml has them, where it is built under others.
    pub(in crate::bake) own_tags: Option<Vec<String>>,
    /// Whether it was asked for, and not only what stands on it.
    pub(in crate::bake) asked: bool,
    /// Whether it is there for what stands on it: others do, and nobody named it.
    pub(in crate::bake) only_below: bool,
    /// The images that its build starts from or copies from, as its Dockerfile has them. `None`:
    /// that cannot be known.
    pub(in crate::bake) uses: Option<Vec<String>>,
    /// Those of them that larder.toml has, each with its name there.
    pub(in crate::bake) bases: BTreeMap<String, String>,
    /// The images and disks of larder.toml whose outputs its build reads.
    pub(in crate::bake) feeds: Vec<String>,
    /// The frontend that the Dockerfile names without a digest.
    pub(in crate::bake) frontend: Option<String>,
    /// Whether a frontend reads the Dockerfile that is not docker's own.
    pub(in crate::bake) foreign: bool,
    /// The digests that the build takes images by, by their names in the Dockerfile.
    pub(in crate::bake) pins: BTreeMap<String, String>,
    /// The IDs that images have to have in the engine which it alone has, by their names in the
    /// Dockerfile.
    pub(in crate::bake) locals: BTreeMap<String, String>,
    /// The same of those that are named contexts, by the contexts' names.
    pub(in crate::bake) local_contexts: BTreeMap<String, String>,
    /// The names by which the build takes images of larder.toml, where they are others than those
    /// in the Dockerfile: there it names an image for all its platforms.
    pub(in crate::bake) uses_as: BTreeMap<String, String>,
    /// What the build fetches from addresses that say nothing of the content.
    pub(in crate::bake) remotes: Vec<Remote>,
    /// The images of other people that are its named contexts, by the contexts' names.
    pub(in crate::bake) contexts: BTreeMap<String, String>,
    /// What is to stand there, by the addresses that its Dockerfile fetches.
    pub(in crate::bake) sources: BTreeMap<String, String>,
    /// The build args that no stage declares.
    pub(in crate::bake) unused_args: Vec<String>,
    /// What larder.lock leaves in doubt; that was told.
    pub(in crate::bake) doubts: Vec<String>,
}

/// Something that a build fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bake) struct Remote {
    pub(in crate::bake) address: String,
    pub(in crate::bake) is_repository: bool,
    /// The named context that it is; none of one that the Dockerfile fetches.
    pub(in crate::bake) context: Option<String>,
    /// Whether the frontend that the Dockerfile names checks what it fetches; none where that is
    /// the engine's own.
    pub(in crate::bake) checked: Option<bool>,
}

impl Planned {
    /// The images that it is built from, and the images and disks that it needs, all of
    /// larder.toml, each once.
    pub(in crate::bake) fn below(&self) -> impl Iterator<Item = &String> {
        let mut seen = BTreeSet::new();
        self.bases.values().chain(&self.image.needs).filter(move |name| seen.insert(*name))
    }

    /// The image's names as larder.toml has them.
    pub(in crate::bake) fn tags(&self) -> &[String] {
        self.own_tags.as_deref().unwrap_or(&self.image.tags)
    }

    /// The engine's name for an image that the Dockerfile names so.
    pub(in crate::bake) fn in_engine<'n>(&'n self, name: &'n str) -> &'n str {
        self.uses_as.get(name).map_or(name, String::as_str)
    }

    /// Whether it is built from another Dockerfile than that on disk.
    pub(in crate::bake) fn is_renamed(&self) -> bool {
        !(self.pins.is_empty() && self.uses_as.is_empty())
    }
}

/// A disk to bake.
pub(in crate::bake) struct PlannedDisk {
    pub(in crate::bake) disk: Disk,
    /// Whether it was asked for, and not only what needs it.
    pub(in crate::bake) asked: bool,
    /// The images and disks of larder.toml whose outputs are among its inputs.
    pub(in crate::bake) feeds: Vec<String>,
}

impl Piece {
    /// Its name in larder.toml.
    pub(in crate::bake) fn name(&self) -> &String {
        match self {
            Self::Image(planned) => &planned.image.name,
            Self::Disk(planned) => &planned.disk.name,
        }
    }

    pub(in crate::bake) fn as_image(&self) -> Option<&Planned> {
        match self {
            Self::Image(planned) => Some(planned),
            Self::Disk(_) => None,
        }
    }

    /// The images and disks of larder.toml whose keys are in its own.
    pub(in crate::bake) fn below(&self) -> Vec<&String> {
        match self {
            Self::Image(planned) => planned.below().collect(),
            Self::Disk(planned) => planned.disk.needs.iter().collect(),
        }
    }

    /// Those whose outputs it reads.
    pub(in crate::bake) fn feeds(&self) -> &[String] {
        match self {
            Self::Image(planned) => &planned.feeds,
            Self::Disk(planned) => &planned.feeds,
        }
    }

    /// All that it comes after, each of `feeds` only where it is not `below`.
    pub(in crate::bake) fn before(&self) -> Vec<&String> {
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
pub(in crate::bake) fn images(pieces: &[Piece]) -> impl Iterator<Item = &Planned> {
    pieces.iter().filter_map(Piece::as_image)
}

/// The same, to be changed.
pub(in crate::bake) fn images_mut(pieces: &mut [Piece]) -> impl Iterator<Item = &mut Planned> {
    pieces.iter_mut().filter_map(|piece| match piece {
        Piece::Image(planned) => Some(planned.as_mut()),
        Piece::Disk(_) => None,
    })
}

/// For each, where those stand that it comes after.
pub(in crate::bake) fn needs(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let at = |name: &String| pieces.iter().position(|other| other.name() == name);
    pieces.iter().map(|piece| piece.before().into_iter().filter_map(at).collect()).collect()
}

/// For each, those before it that may write files to the same places.
pub(in crate::bake) fn neighbours(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let before = |(at, piece): (usize, &Piece)| {
        let others = pieces.iter().take(at).enumerate();
        others.filter(|(_, other)| other.may_meet(piece)).map(|(at, _)| at).collect()
    };
    pieces.iter().enumerate().map(before).collect()
}

/// Where they stand, in the order of the report: the images in that of the file, then the disks.
pub(in crate::bake) fn order_of_file(project: &Project, pieces: &[Piece]) -> Vec<usize> {
    let images = project.images.iter().map(|image| &image.name);
    let names = images.chain(project.disks.iter().map(|disk| &disk.name));
    names.filter_map(|name| pieces.iter().position(|piece| piece.name() == name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bake::options::Options;
    use crate::bake::order::plan;
    use crate::config::parse;
    use crate::process::children::Children;
    use crate::process::runner::{Runner, Verbosity};
    use crate::process::tools::Tools;

    /// The pieces of the file, or why there is no order.
    fn planned(text: &str) -> Result<Vec<Piece>, String> {
        let project = parse(text).unwrap_or_else(|fault| panic!("{}: {text}", fault.message));
        let runner = Runner::new("/nowhere".into(), Verbosity::Quiet, Children::default());
        let (options, tools) = (Options::default(), Tools::all_in("/nowhere".into()));
        let pieces = plan::plan(&project, &options, &tools, &runner);
        pieces.map_err(|error| error.to_string())
    }

    /// An image or a disk for each, by turns as `kinds` say, that needs the others which `needs`
    /// say.
    fn file(kinds: &[bool], needs: &[Vec<usize>]) -> String {
        let table = |(at, is_image): (usize, &bool)| {
            let needs: Vec<_> = needs[at].iter().map(|other| format!("\"p{other}\"")).collect();
            let needs = format!("needs = [{}]\n", needs.join(", "));
            if *is_image {
                return format!("[image.p{at}]\npack = {{ dir = \"p{at}\" }}\n{needs}");
            }
            format!("[disk.p{at}]\ninputs = [\"in\"]\nrun = \"x\"\noutput = \"out/p{at}\"\n{needs}")
        };
        kinds.iter().enumerate().map(table).collect()
    }

    /// The needs of some, none on itself: of a piece with those whose rank is lower, so that there
    /// is an order.
    fn graph(ranks: &[u8], bits: &[u64]) -> Vec<Vec<usize>> {
        let below = |at: usize, other: usize| (ranks[other], other) < (ranks[at], at);
        let is_in = |at: usize, other: &usize| below(at, *other) && bits[at] >> other & 1 == 1;
        (0..ranks.len()).map(|at| (0..ranks.len()).filter(|other| is_in(at, other)).collect()).collect()
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn each_comes_after_what_it_needs_whatever_that_is(
            some in proptest::collection::vec(proptest::prelude::any::<(bool, u8, u64)>(), 2..14),
        ) {
            let kinds: Vec<_> = some.iter().map(|(kind, ..)| *kind).collect();
            let ranks: Vec<_> = some.iter().map(|(_, rank, _)| *rank).collect();
            let bits: Vec<_> = some.iter().map(|(.., bits)| *bits).collect();
            let mut graph = graph(&ranks, &bits);
            let pieces = planned(&file(&kinds, &graph)).expect("an order");
            proptest::prop_assert_eq!(pieces.len(), kinds.len());
            for (at, needs) in needs(&pieces).into_iter().enumerate() {
                proptest::prop_assert_eq!(needs.len(), pieces[at].before().len());
                proptest::prop_assert!(needs.iter().all(|need| *need < at), "{} after {:?}", at, needs);
            }
            proptest::prop_assert!(neighbours(&pieces).iter().enumerate().all(|(at, all)| all.iter().all(|one| *one < at)));
            // One edge back, and there is none.
            if let Some((at, below)) = graph.iter().enumerate().find_map(|(at, below)| Some((at, *below.first()?))) {
                graph[below].push(at);
                let why = planned(&file(&kinds, &graph)).err().unwrap_or_default();
                proptest::prop_assert!(why.contains("from one another"), "{}", why);
            }
        }
    }

    #[test]
    fn the_report_is_in_the_order_of_the_file_with_the_disks_last() {
        let text = file(&[false, true, false, true], &[vec![1], vec![2], vec![], vec![0]]);
        let pieces = planned(&text).expect("an order");
        let order = order_of_file(&parse(&text).expect("good"), &pieces);
        let names: Vec<_> = order.into_iter().map(|at| pieces[at].name().as_str()).collect();
        assert_eq!(names, ["p1", "p3", "p0", "p2"]);
        let visited: Vec<_> = pieces.iter().map(|piece| piece.name().as_str()).collect();
        assert_eq!(visited, ["p2", "p1", "p0", "p3"]);
    }
}
