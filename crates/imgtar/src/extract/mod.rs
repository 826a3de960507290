//! Files out of a stored image, without an engine and without unpacking the rest.
//!
//! Layers are read from the top down, and no deeper than needed. Where a name leads through a
//! symbolic link, or a hard link names a file that was not taken, the layers are read again for
//! that alone, so memory holds what was asked for and never the image's whole list. All that is
//! read is verified; outputs show nothing before that is done.
//!
//! Limit: `..` in the middle of a link's target is taken by its letters, without looking whether
//! what stands before it is a link too.

mod beneath;
mod folder;
mod member;
mod names;
mod sink;
mod stream;
mod union;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use storekit::{Blobs, Key};

pub use self::folder::Folder;
pub use self::member::Meta;
pub use self::names::Pattern;
pub use self::sink::{Item, Report, Sink, Taken, What};
pub use self::stream::Stream;

use self::member::{Kind, Member, shown};
use self::union::{Union, Want};
use crate::error::{Error, Result};
use crate::format::oci::Platform;
use crate::image::{Image, Layer, Stored};
use crate::progress::Progress;

/// A name may lead through so many symbolic links, as in Linux.
const LINKS: usize = 40;
/// A hard link may name another so many times.
const HOPS: usize = 8;

/// What is extracted, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is asked for.
    pub patterns: Vec<Pattern>,
    /// For which machine, where there is a choice.
    pub platform: Option<Platform>,
    /// So many leading parts of each name are dropped.
    pub strip: usize,
}

/// Extracts what is asked for. Nothing is to be seen of it before the caller ends the sink, which
/// it does only where [`Report::absent`] is empty.
///
/// # Errors
/// Damaged or hostile layers, I/O errors: what the sink holds then is to be dropped.
pub fn extract(
    blobs: &Blobs,
    stored: &Stored,
    options: &Options,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) -> Result<Report> {
    let image = choose(stored, options.platform.as_ref())?;
    let mut layers: Vec<Layer<'_>> = image.layers().collect();
    layers.reverse();
    let mut job = Extraction {
        blobs,
        key: &stored.key,
        layers,
        sink,
        progress,
        strip: options.strip,
        sources: HashMap::new(),
        found: vec![false; options.patterns.len()],
        report: Report::default(),
    };
    job.run(&options.patterns)?;
    let absent = options.patterns.iter().zip(&job.found).filter(|(_, found)| !**found);
    job.report.absent = absent.map(|(pattern, _)| pattern.text.clone()).collect();
    Ok(job.report)
}

/// The image that is meant: the one for the platform, the only one, or the one for this machine.
fn choose<'s>(stored: &'s Stored, platform: Option<&Platform>) -> Result<&'s Image> {
    let images = match platform {
        None if stored.images.len() > 1 && !stored.is_several() => stored.select(Some(&Platform::host()))?,
        platform => stored.select(platform)?,
    };
    match images[..] {
        [image] => Ok(image),
        [] => Err(Error::NotAnImage { key: stored.key.clone() }),
        _ => Err(Error::several(&stored.key, images.len(), 0)),
    }
}

struct Extraction<'j> {
    blobs: &'j Blobs,
    key: &'j Key,
    /// The image's layers, the topmost first.
    layers: Vec<Layer<'j>>,
    sink: &'j mut dyn Sink,
    progress: &'j dyn Progress,
    strip: usize,
    /// Where parts are dropped, two names inside could get the same outside: from this one back to
    /// that.
    sources: HashMap<Vec<u8>, Vec<u8>>,
    found: Vec<bool>,
    report: Report,
}

/// What one round of reading leaves for the next.
#[derive(Default)]
struct Next {
    /// Wants that lead through a link.
    through: Vec<Want>,
    /// Files that hard links name, by the layer where to begin and by name.
    linked: BTreeMap<(usize, Vec<u8>), Linked>,
}

/// A file that hard links name.
#[derive(Default)]
struct Linked {
    /// The names that it gets where it is extracted to.
    names: Vec<Vec<u8>>,
    asked: usize,
    /// How many links led here.
    hops: usize,
}

impl Extraction<'_> {
    fn run(&mut self, patterns: &[Pattern]) -> Result<()> {
        let wants = patterns.iter().enumerate().map(|(asked, pattern)| Want::new(asked, pattern.clone()));
        let mut unions = vec![Union::new(0, wants.collect())];
        while !unions.is_empty() {
            unions = self.round(unions)?.into_unions();
        }
        Ok(())
    }

    /// Reads the layers once, from the top down to where nothing is open any more.
    fn round(&mut self, mut unions: Vec<Union>) -> Result<Next> {
        let mut next = Next::default();
        for (depth, layer) in self.layers.clone().iter().enumerate() {
            let open = |union: &&mut Union| union.start <= depth && !union.is_settled();
            let mut open: Vec<&mut Union> = unions.iter_mut().filter(open).collect();
            if open.is_empty() {
                continue;
            }
            let (blobs, key, progress) = (self.blobs, self.key, self.progress);
            member::walk(blobs, key, layer, progress, &mut |member, data| {
                self.member(&member, data, depth, &mut open, &mut next)
            })?;
            open.into_iter().for_each(Union::end_layer);
        }
        match unions.iter().find_map(Union::broken_link) {
            Some(want) => Err(refused(&want.pattern.literal, "a hard link names it, and it is not there")),
            None => Ok(next),
        }
    }

    fn member(
        &mut self,
        member: &Member,
        data: &mut dyn Read,
        depth: usize,
        unions: &mut [&mut Union],
        next: &mut Next,
    ) -> Result<()> {
        self.sink.check().map_err(|error| Error::write("-", error))?;
        let mut names = Vec::new();
        for union in unions {
            let verdict = union.take(&member.name, &member.kind)?;
            if let Kind::Symlink(target) = &member.kind {
                let through = verdict.through.iter().map(|at| &union.wants[*at]);
                let through = through.filter_map(|want| want.through(&member.name, target));
                next.through.extend(through.filter(|want| want.hops <= LINKS));
            }
            for want in verdict.wanted.iter().map(|at| &union.wants[*at]) {
                self.found[want.asked] = true;
                let new = self.named(&member.name, want, &member.kind)?;
                match &member.kind {
                    Kind::Link(target) => self.link(member, target, new, depth, (union, want), next)?,
                    _ => names.extend(new),
                }
            }
            if !verdict.wanted.is_empty() && !matches!(member.kind, Kind::Link(_)) {
                union.gave(&member.name);
            }
        }
        self.give(member, data, names)
    }

    /// A hard link: to what was taken from this layer, or to something that the next round looks
    /// for.
    fn link(
        &mut self,
        member: &Member,
        target: &[u8],
        names: Vec<Vec<u8>>,
        depth: usize,
        (union, want): (&Union, &Want),
        next: &mut Next,
    ) -> Result<()> {
        let taken = want.also.is_none() && union.has_given(target) && want.chooses(target);
        if taken && let Some(to) = self.named(target, want, &Kind::File(0))?.first() {
            return names.iter().try_for_each(|name| {
                self.put(&Item { name, what: What::Link(to), meta: &member.meta }, &mut std::io::empty())
            });
        }
        let hops = if want.also.is_some() { want.hops + 1 } else { 0 };
        if hops > HOPS || target == member.name {
            return Err(refused(&member.name, "hard links that lead to hard links, and to no file"));
        }
        let linked = next.linked.entry((depth, target.to_vec())).or_default();
        linked
            .names
            .extend(names.into_iter().filter(|name| !linked.names.contains(name)).collect::<Vec<_>>());
        (linked.asked, linked.hops) = (want.asked, hops);
        Ok(())
    }

    /// The names outside of what this want chooses: none for what vanishes with the leading parts.
    fn named(&mut self, name: &[u8], want: &Want, kind: &Kind) -> Result<Vec<Vec<u8>>> {
        if let Some(names) = &want.also {
            return Ok(names.clone());
        }
        let whole = want.outside(name);
        if self.strip == 0 {
            return Ok(if whole.is_empty() { Vec::new() } else { vec![whole] });
        }
        let parts: Vec<&[u8]> = names::parts(&whole).skip(self.strip).collect();
        match (parts.is_empty(), kind) {
            (true, Kind::Folder) => return Ok(Vec::new()),
            (true, _) => return Err(clash(&whole, "`--strip-components` leaves nothing of its name")),
            (false, _) => {}
        }
        let short = parts.join(&b'/');
        let source = self.sources.entry(short.clone()).or_insert_with(|| name.to_vec());
        if *kind != Kind::Folder && source != name {
            return Err(clash(&short, "two files would get this name"));
        }
        Ok(vec![short])
    }

    /// Hands an entry on under all its names: its bytes once, then links to them.
    fn give(&mut self, member: &Member, data: &mut dyn Read, mut names: Vec<Vec<u8>>) -> Result<()> {
        names.dedup();
        let mut first: Option<&[u8]> = None;
        for name in &names {
            let what = match (&member.kind, first) {
                (Kind::File(_), Some(first)) => What::Link(first),
                (Kind::File(size), None) => What::File(*size),
                (Kind::Folder, _) => What::Folder,
                (Kind::Symlink(target), _) => What::Symlink(target),
                (Kind::Device, _) => What::Device,
                (Kind::Sparse, _) => return Err(refused(&member.name, "it is a sparse file")),
                (Kind::Link(_), _) => continue,
            };
            self.put(&Item { name, what, meta: &member.meta }, data)?;
            first = Some(name);
        }
        Ok(())
    }

    fn put(&mut self, item: &Item<'_>, data: &mut dyn Read) -> Result<()> {
        if let Taken::Skipped(reason) = self.sink.put(item, data)? {
            self.report.skipped.push((shown(item.name), reason));
            return Ok(());
        }
        match item.what {
            What::Folder => self.report.folders += 1,
            What::File(size) => {
                self.report.files += 1;
                self.report.bytes += size;
            }
            _ => self.report.files += 1,
        }
        Ok(())
    }
}

impl Next {
    fn into_unions(self) -> Vec<Union> {
        let mut linked: BTreeMap<usize, Vec<Want>> = BTreeMap::new();
        for ((depth, name), Linked { names, asked, hops }) in self.linked {
            linked.entry(depth).or_default().push(Want::linked(asked, name, names, hops));
        }
        let through = (!self.through.is_empty()).then(|| Union::new(0, self.through));
        through.into_iter().chain(linked.into_iter().map(|(depth, wants)| Union::new(depth, wants))).collect()
    }
}

fn refused(name: &[u8], reason: &str) -> Error {
    Error::Member { entry: shown(name), reason: reason.to_owned() }
}

fn clash(name: &[u8], reason: &'static str) -> Error {
    Error::Clash { path: shown(name), reason }
}
