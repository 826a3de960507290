//! Picks the inputs that sources name out of a context's listing.
//!
//! As `BuildKit` copies: a source's own links are followed inside of the context, links below it
//! are copied as links (where the older builder follows `..` in a link to another place, that one
//! is read too); `--exclude` and the pattern of `--parents` are patterns of ignore files, below the
//! source's folder. A file that a source names itself is never excluded.

use std::collections::{BTreeMap, BTreeSet};

use super::remote::{self, Address};
use super::tree::{ReadLink, Tree};
use super::{Source, What, glob};
use crate::dockerignore::{self, Folder, Patterns};
use crate::files::stat::Kind;

/// Picks inputs of one context.
#[derive(Debug)]
pub struct Selector<'a> {
    sources: Vec<&'a Source>,
}

/// The inputs that were picked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Paths of the listing.
    pub entries: BTreeSet<Vec<u8>>,
    /// Folders that are created empty, because everything in them is excluded. The listing does not
    /// have them.
    pub empty_folders: BTreeSet<Vec<u8>>,
    /// Sources that name nothing, which the engine refuses: the line of the instruction, and the
    /// path from the context's root, variables expanded. Of those with wildcards only the malformed
    /// ones.
    pub missing: Vec<(usize, Vec<u8>)>,
}

impl<'a> Selector<'a> {
    /// For the sources that read the context of this name. None: the main context.
    #[must_use]
    pub fn new(sources: &'a [Source], context: Option<&str>) -> Self {
        Self { sources: sources.iter().filter(|source| source.context.as_deref() == context).collect() }
    }

    /// True where nothing of the context is read, so that there is no need to list it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// True where everything in the context is read.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.sources.iter().any(|source| match &source.what {
            What::Everything => true,
            What::Bind { path } => normal(path).is_empty(),
            What::Copy { path, below, exclude } => {
                normal(path).is_empty() && filter(below.as_deref(), exclude).is_none()
            }
        })
    }

    /// True where some source names nothing unless a link leads to it. `holds` says whether
    /// something stands at a path.
    #[must_use]
    pub fn may_miss(&self, holds: impl Fn(&[u8]) -> bool) -> bool {
        self.sources.iter().filter_map(|source| named(&source.what)).any(|path| !holds(&path))
    }

    /// Picks from a listing, in which a folder stands only where it is empty. `read_link` returns
    /// the target of a link of the listing; None makes it a link to nowhere.
    pub fn select<'b>(
        &self,
        listing: impl IntoIterator<Item = (&'b [u8], Kind)>,
        mut read_link: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) -> Selection {
        let tree = Tree::new(listing);
        let mut pick = Pick {
            tree: &tree,
            read_link: &mut read_link,
            out: Selection::default(),
            folders: BTreeSet::new(),
        };
        for source in &self.sources {
            let found = pick.source(&source.what);
            let path = named(&source.what).filter(|path| !found || !pick.has_below(&source.what, path));
            pick.out.missing.extend(path.map(|path| (source.line, path)));
        }
        pick.finish()
    }
}

struct Pick<'a> {
    tree: &'a Tree,
    read_link: &'a mut ReadLink<'a>,
    out: Selection,
    /// Folders that are created, whether something in them is or not.
    folders: BTreeSet<Vec<u8>>,
}

/// What is taken below a folder.
struct Filter {
    include: Option<Patterns>,
    exclude: Patterns,
}

impl Pick<'_> {
    /// Takes what a source names. Returns whether that is anything.
    fn source(&mut self, what: &What) -> bool {
        match what {
            What::Everything => {
                self.take(b"", None);
                true
            }
            What::Bind { path } => {
                let found = self.follow(&normal(path));
                self.take_found(&found, None)
            }
            What::Copy { path, below, exclude } => {
                let filter = filter(below.as_deref(), exclude);
                let mut any = false;
                for root in self.roots(&normal(path)) {
                    let found = self.follow(&root);
                    any |= self.take_found(&found, filter.as_ref());
                }
                any
            }
        }
    }

    /// Of a source of `--parents`, whether what it names is there: the folder that it is looked for
    /// in says nothing of that.
    fn has_below(&mut self, what: &What, path: &[u8]) -> bool {
        if !matches!(what, What::Copy { below: Some(_), .. }) {
            return true;
        }
        // No link on the way becomes an input by this question.
        !self.tree.resolve(path, self.read_link, &mut BTreeSet::new()).is_empty()
    }

    /// The paths that a source with wildcards names; without, the path itself.
    fn roots(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        let text = String::from_utf8_lossy(path).into_owned();
        let parts: Vec<&str> = text.split('/').collect();
        let Some(first) = parts.iter().position(|part| glob::is_wild(part)) else {
            return vec![path.to_vec()];
        };
        let (plain, wild) = parts.split_at(first);
        let pattern = wild.join("/");
        let mut found = Vec::new();
        for base in self.follow(plain.join("/").as_bytes()) {
            let skip = if base.is_empty() { 0 } else { base.len() + 1 };
            let below = self.tree.below(&base).map(|(path, _)| path);
            let hits = below.filter(|path| glob::matches(&pattern, path.get(skip..).unwrap_or_default()));
            found.extend(hits.map(<[u8]>::to_vec));
        }
        found
    }

    fn follow(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        self.tree.resolve(path, self.read_link, &mut self.out.entries)
    }

    /// Returns whether there was anything to take.
    fn take_found(&mut self, found: &[Vec<u8>], filter: Option<&Filter>) -> bool {
        for root in found {
            self.take(root, filter);
        }
        !found.is_empty()
    }

    fn take(&mut self, root: &[u8], filter: Option<&Filter>) {
        if self.tree.get(root).is_some_and(|node| node.listed) {
            self.out.entries.insert(root.to_vec());
        }
        if let Some(filter) = filter {
            self.take_filtered(root, filter);
        } else {
            let listed = self.tree.below(root).filter(|(_, node)| node.listed);
            self.out.entries.extend(listed.map(|(path, _)| path.to_vec()));
        }
        if !root.is_empty() {
            self.folders.insert(root.to_vec());
        }
    }

    fn take_filtered(&mut self, root: &[u8], filter: &Filter) {
        let skip = if root.is_empty() { 0 } else { root.len() + 1 };
        let mut states: BTreeMap<&[u8], (Folder, Folder)> = BTreeMap::new();
        let start = (Folder::default(), Folder::default());
        for (path, node) in self.tree.below(root) {
            let inner = path.get(skip..).unwrap_or_default();
            let parent = inner.iter().rposition(|byte| *byte == b'/').and_then(|at| inner.get(..at));
            let state = parent.and_then(|parent| states.get(parent)).unwrap_or(&start);
            let (taken, next) = filter.judge(state, inner);
            if taken && node.listed {
                self.out.entries.insert(path.to_vec());
            } else if taken && node.kind == Kind::Dir {
                self.folders.insert(path.to_vec());
            }
            if node.kind == Kind::Dir {
                states.insert(inner, next);
            }
        }
    }

    fn finish(self) -> Selection {
        let Self { tree, mut out, folders, .. } = self;
        let holds = |folder: &[u8]| {
            let prefix = [folder, b"/"].concat();
            let next = out.entries.range::<Vec<u8>, _>(&prefix..).next();
            next.is_some_and(|entry| entry.starts_with(&prefix))
        };
        let bare = |folder: &Vec<u8>| {
            tree.get(folder).is_some_and(|node| node.kind == Kind::Dir && !node.listed) && !holds(folder)
        };
        out.empty_folders = folders.into_iter().filter(bare).collect();
        out
    }
}

impl Filter {
    /// Whether a path is taken, and the state for what it holds. A pattern without meaning takes
    /// more.
    fn judge(&self, (include, exclude): &(Folder, Folder), path: &[u8]) -> (bool, (Folder, Folder)) {
        let (excluded, exclude) = met(&self.exclude, exclude, path, false);
        let (included, include) = match &self.include {
            Some(patterns) => met(patterns, include, path, true),
            None => (true, Folder::default()),
        };
        (included && !excluded, (include, exclude))
    }
}

fn met(patterns: &Patterns, folder: &Folder, path: &[u8], doubt: bool) -> (bool, Folder) {
    match patterns.enter(folder, path) {
        Ok((verdict, folder)) => (verdict.excluded, folder),
        Err(_) => (doubt, Folder::default()),
    }
}

/// None: everything is taken.
fn filter(below: Option<&str>, exclude: &[String]) -> Option<Filter> {
    let below = below.map(|below| String::from_utf8_lossy(&normal(below)).into_owned());
    // Without a pattern that can be read, everything is taken.
    let include = below.filter(|below| !below.is_empty()).and_then(|below| Patterns::listed(&[below]).ok());
    let exclude = Patterns::listed(exclude).unwrap_or_default();
    (include.is_some() || !exclude.is_empty()).then_some(Filter { include, exclude })
}

/// The path of a source that has to be there. Those that an `ADD` may fetch need not.
fn named(what: &What) -> Option<Vec<u8>> {
    let path = match what {
        What::Everything => return None,
        What::Bind { path } => return Some(normal(path)),
        What::Copy { path, below, .. } => normal(&whole(path, below.as_deref())),
    };
    let text = String::from_utf8_lossy(&path);
    let optional = text.split('/').any(glob::is_wild) && glob::is_well_formed(&text);
    let fetched = matches!(what, What::Copy { path, .. } if remote::address(path) != Address::Path);
    (!optional && !fetched).then_some(path)
}

/// The source as it is written; with `--parents` it may stand in two parts.
fn whole(path: &str, below: Option<&str>) -> String {
    below.map_or_else(|| path.to_owned(), |below| format!("{path}/{below}"))
}

/// The path from the context's root, which is empty; `..` does not leave it.
fn normal(path: &str) -> Vec<u8> {
    let clean = dockerignore::clean(format!("/{path}").as_bytes());
    clean.strip_prefix(b"/").unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A link inside of a folder's folder, and links through it.
    const TREE: [(&[u8], Kind); 9] = [
        (b"\xe2\x82", Kind::File),
        (b"\xe2\x82b", Kind::File),
        (b"b/c/y", Kind::File),
        (b"b/x", Kind::File),
        (b"b/x-m", Kind::Symlink),
        (b"d/x", Kind::File),
        (b"l", Kind::Symlink),
        (b"m", Kind::Symlink),
        (b"x", Kind::File),
    ];

    fn target(link: &[u8]) -> Option<Vec<u8>> {
        let links: [(&[u8], &[u8]); 3] = [(b"l", b"b/c"), (b"m", b"l/../x"), (b"b/x-m", b"/l/../d")];
        links.iter().find(|(name, _)| *name == link).map(|(_, to)| to.to_vec())
    }

    fn names(what: What, want: &[&[u8]]) {
        let sources = [Source { context: None, line: 1, what }];
        let selection = Selector::new(&sources, None).select(TREE, target);
        assert_eq!(selection.entries, want.iter().map(|path| path.to_vec()).collect(), "{sources:?}");
    }

    #[track_caller]
    fn copies(path: &str, want: &[&[u8]]) {
        names(What::Copy { path: path.to_owned(), below: None, exclude: Arc::default() }, want);
    }

    #[test]
    fn a_target_with_dots_behind_a_link_is_read_both_ways() {
        let both: [&[u8]; 4] = [b"b/x", b"l", b"m", b"x"];
        copies("m", &both);
        copies("m*", &both);
        names(What::Bind { path: "m".to_owned() }, &both);
        copies("b/x-m/x", &[b"b/x-m", b"d/x", b"l"]);
        copies("b/x-m/*", &[b"b/x-m", b"d/x", b"l"]);
    }

    #[test]
    fn each_byte_that_is_no_text_is_one_character() {
        copies("??", &[b"\xe2\x82"]);
        copies("???", &[b"\xe2\x82b"]);
        copies("?b", &[]);
    }
}
