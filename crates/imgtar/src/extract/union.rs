//! What of an image's layers is to be seen, looked at from the top: each name belongs to the first
//! layer that speaks of it.
//!
//! Remembers only what concerns the names that are asked for, 32 bytes or so for each; the names
//! themselves are not kept. Within one layer the last entry of a name wins, and a whiteout concerns
//! the layers below alone.
//!
//! A layer with `a/b` makes `a` a folder, whatever `a` was below it, as Docker's and podman's
//! overlays do.
//!
//! Source: OCI image-spec v1.1, layer.md, "Whiteouts".

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::member::{Kind, shown};
use super::names::{self, NameMatch, Pattern};
use crate::error::{Error, Result};

/// Something that is wanted: a pattern, and the name that it is given outside.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    /// Which of the arguments it comes from.
    pub(crate) asked: usize,
    /// What it chooses in the image.
    pub(crate) pattern: Pattern,
    /// What is chosen below this name of the image …
    pub(crate) from: Vec<u8>,
    /// … gets a name below this one.
    pub(crate) to: Vec<u8>,
    /// For the one file that a hard link names: its other names outside.
    pub(crate) also: Option<Vec<Vec<u8>>>,
    /// How many links led here.
    pub(crate) hops: usize,
}

impl Want {
    /// What an argument asks for.
    pub(crate) fn new(asked: usize, pattern: Pattern) -> Self {
        let (from, to) = Default::default();
        Self { asked, pattern, from, to, also: None, hops: 0 }
    }

    /// The one file that a hard link names.
    pub(crate) fn linked(asked: usize, literal: Vec<u8>, names: Vec<Vec<u8>>, hops: usize) -> Self {
        let text = shown(&literal);
        let pattern = Pattern { text, literal, globs: Vec::new(), follow: false };
        Self { also: Some(names), hops, ..Self::new(asked, pattern) }
    }

    /// Whether it chooses what has this name.
    pub(crate) fn chooses(&self, name: &[u8]) -> bool {
        self.pattern.place(name) == NameMatch::Inside
    }

    /// The name outside of what has this name in the image.
    pub(crate) fn outside(&self, name: &[u8]) -> Vec<u8> {
        names::below(&self.from, name).map_or_else(|| name.to_vec(), |rest| names::join(&self.to, rest))
    }

    /// The same through a link at `link`, which leads to `target`.
    pub(crate) fn through(&self, link: &[u8], target: &[u8]) -> Option<Self> {
        let target = names::follow(names::split(link).0, target)?;
        let literal = names::join(&target, names::below(link, &self.pattern.literal)?);
        let (from, to) = match names::below(link, &self.from) {
            Some(rest) if !rest.is_empty() => (names::join(&target, rest), self.to.clone()),
            _ => (target, self.outside(link)),
        };
        let pattern = Pattern { literal, ..self.pattern.clone() };
        Some(Self { pattern, from, to, hops: self.hops + 1, also: None, ..*self })
    }
}

/// A layered look at some names.
#[derive(Debug)]
pub(crate) struct Union {
    /// The first layer, from the top, that it looks at.
    pub(crate) start: usize,
    pub(crate) wants: Vec<Want>,
    exact: HashMap<Vec<u8>, Vec<usize>>,
    above: HashSet<Vec<u8>>,
    globs: Vec<usize>,
    seen: HashMap<Id, State>,
    fresh: HashMap<Id, State>,
    given: HashSet<Id>,
    ids: (RandomState, RandomState),
}

/// Stands for a name: two keyed hashes, so that no two names with equal ones can be
/// made on purpose.
type Id = (u64, u64);

/// What is known of a name, from the top down to some layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A folder that only names below it speak of.
    Implied,
    /// A folder with an entry of its own.
    Folder,
    /// A folder of which nothing in lower layers is to be seen.
    Opaque,
    /// Something else.
    Other,
    /// Nothing.
    Gone,
}

impl State {
    fn hides(self) -> bool {
        matches!(self, Self::Opaque | Self::Other | Self::Gone)
    }

    /// What is known once a lower layer has spoken too.
    fn over(self, lower: Self) -> Self {
        match (self, lower) {
            (Self::Implied, Self::Implied | Self::Folder) => lower,
            (Self::Folder, Self::Implied | Self::Folder) => self,
            (Self::Implied | Self::Folder, _) => Self::Opaque,
            _ => self,
        }
    }
}

/// What an entry means to the wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Those that choose it.
    pub(crate) wanted: Vec<usize>,
    /// Those on whose way it is a link.
    pub(crate) through: Vec<usize>,
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

impl Union {
    /// A look from layer `start` on.
    pub(crate) fn new(start: usize, wants: Vec<Want>) -> Self {
        let mut exact: HashMap<_, Vec<usize>> = HashMap::new();
        let mut above = HashSet::new();
        for (at, want) in wants.iter().enumerate() {
            let literal = &want.pattern.literal;
            above.extend(names::above(literal).map(<[u8]>::to_vec));
            if want.pattern.globs.is_empty() {
                exact.entry(literal.clone()).or_default().push(at);
            }
            if want.pattern.follow || !want.pattern.globs.is_empty() {
                above.insert(literal.clone());
            }
        }
        let globs = (0..wants.len()).filter(|at| !wants[*at].pattern.globs.is_empty()).collect();
        let (seen, fresh, given, ids) = Default::default();
        Self { start, wants, exact, above, globs, seen, fresh, given, ids }
    }

    /// Whether no lower layer can change anything.
    pub(crate) fn is_settled(&self) -> bool {
        self.wants.iter().all(|want| {
            let literal = &want.pattern.literal;
            let hidden = |name: &[u8]| self.seen.get(&self.id(name)).is_some_and(|state| state.hides());
            hidden(literal) || names::above(literal).any(hidden)
        })
    }

    /// The layer is at its end: what it said holds for those below.
    pub(crate) fn end_layer(&mut self) {
        for (id, lower) in self.fresh.drain() {
            self.seen.entry(id).and_modify(|upper| *upper = upper.over(lower)).or_insert(lower);
        }
        self.given.clear();
    }

    /// Notes that what has this name was handed on, out of the layer that is being read.
    pub(crate) fn gave(&mut self, name: &[u8]) {
        self.given.insert(self.id(name));
    }

    /// A file that a hard link names and that no layer has.
    pub(crate) fn broken_link(&self) -> Option<&Want> {
        let has = |want: &Want| self.seen.get(&self.id(&want.pattern.literal)) == Some(&State::Other);
        self.wants.iter().find(|want| want.also.is_some() && !has(want))
    }

    /// Whether a wanted file of this name came out of the layer that is being read.
    pub(crate) fn has_given(&self, name: &[u8]) -> bool {
        self.given.contains(&self.id(name))
    }

    /// Takes note of an entry, and says what becomes of it.
    ///
    /// # Errors
    /// A layer that contradicts itself where it matters.
    pub(crate) fn take(&mut self, name: &[u8], kind: &Kind) -> Result<Verdict> {
        let (folder, last) = names::split(name);
        if let Some(hidden) = last.strip_prefix(WHITEOUT) {
            if last == OPAQUE {
                self.note_whiteout(folder, State::Opaque)?;
            } else if !hidden.starts_with(WHITEOUT) && !hidden.is_empty() {
                self.note_whiteout(&names::join(folder, hidden), State::Gone)?;
            }
            return Ok(Verdict::default());
        }
        let (mut wanted, above) = self.place(name);
        if wanted.is_empty() && !above || self.is_hidden(name) {
            return Ok(Verdict::default());
        }
        let before = self.seen.get(&self.id(name)).copied();
        self.note(name, if *kind == Kind::Folder { State::Folder } else { State::Other })?;
        let stands = match before {
            None => true,
            // The upper layer's folder had no entry: this one says how it looks.
            Some(State::Implied) => *kind == Kind::Folder,
            Some(_) => false,
        };
        if !stands {
            return Ok(Verdict::default());
        }
        let is_link = above && matches!(kind, Kind::Symlink(_));
        let through = if is_link { self.led_through(name) } else { Vec::new() };
        wanted.retain(|want| !through.contains(want));
        Ok(Verdict { wanted, through })
    }

    /// The wants that choose the name; and whether something that is wanted may lie below it.
    fn place(&self, name: &[u8]) -> (Vec<usize>, bool) {
        let mut above = self.above.contains(name);
        let mut wanted = Vec::new();
        for at in names::above(name).chain([name]).filter_map(|name| self.exact.get(name)).flatten() {
            // A hard link names one file and nothing below it.
            if self.wants[*at].also.is_none() || self.wants[*at].pattern.literal == name {
                wanted.push(*at);
            }
        }
        for at in &self.globs {
            match self.wants[*at].pattern.place(name) {
                NameMatch::Inside => wanted.push(*at),
                NameMatch::Above => above = true,
                NameMatch::Outside => {}
            }
        }
        (wanted, above)
    }

    /// Whether an upper layer hides the name.
    fn is_hidden(&self, name: &[u8]) -> bool {
        let hides = |name: &[u8]| self.seen.get(&self.id(name)).is_some_and(|state| state.hides());
        names::above(name).any(hides) || hides(name)
    }

    /// The wants whose way leads through the link `name`. A link that is itself asked for stays
    /// what it is.
    fn led_through(&self, name: &[u8]) -> Vec<usize> {
        let leads = |want: &Want| {
            let rest = names::below(name, &want.pattern.literal);
            let follows = want.pattern.follow || !want.pattern.globs.is_empty();
            want.also.is_none() && rest.is_some_and(|rest| !rest.is_empty() || follows)
        };
        (0..self.wants.len()).filter(|at| leads(&self.wants[*at])).collect()
    }

    fn note_whiteout(&mut self, name: &[u8], state: State) -> Result<()> {
        if matches!(self.place(name), (wanted, false) if wanted.is_empty()) {
            return Ok(());
        }
        let id = self.id(name);
        let state = match (self.fresh.get(&id), state) {
            (Some(State::Other), _) => State::Other,
            (Some(_), _) => State::Opaque,
            (None, state) => state,
        };
        self.imply_above(name)?;
        self.fresh.insert(id, state);
        Ok(())
    }

    fn note(&mut self, name: &[u8], state: State) -> Result<()> {
        let id = self.id(name);
        let state = match (self.fresh.get(&id), state) {
            (Some(State::Opaque | State::Gone), State::Folder) => State::Opaque,
            (Some(State::Folder | State::Implied | State::Opaque), State::Other) => {
                return Err(refused(name, "its layer has a folder of that name too"));
            }
            (Some(State::Other), State::Folder) => {
                return Err(refused(name, "its layer has something else of that name too"));
            }
            (_, state) => state,
        };
        self.imply_above(name)?;
        self.fresh.insert(id, state);
        Ok(())
    }

    /// Whatever lies above is a folder.
    fn imply_above(&mut self, name: &[u8]) -> Result<()> {
        for folder in names::above(name) {
            let id = self.id(folder);
            match self.fresh.get(&id) {
                None => drop(self.fresh.insert(id, State::Implied)),
                Some(State::Gone) => drop(self.fresh.insert(id, State::Opaque)),
                Some(State::Other) => return Err(refused(name, "its layer has no folder above it")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn id(&self, name: &[u8]) -> Id {
        (self.ids.0.hash_one(name), self.ids.1.hash_one(name))
    }
}

fn refused(name: &[u8], reason: &str) -> Error {
    Error::Member { entry: shown(name), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(text: &str) -> Want {
        Want::new(0, Pattern::parse(text.as_bytes()).unwrap())
    }

    /// Lists what is wanted of layers, the topmost first: `a/` is a folder, `a>b` a link.
    fn look(wanted: &str, layers: &[&[&str]]) -> (Vec<String>, bool) {
        let mut union = Union::new(0, vec![want(wanted)]);
        let mut found = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            for entry in *layer {
                let (name, kind) = match entry.split_once('>') {
                    Some((name, target)) => (name, Kind::Symlink(target.into())),
                    None if entry.ends_with('/') => (entry.trim_end_matches('/'), Kind::Folder),
                    None => (*entry, Kind::File(0)),
                };
                let verdict = union.take(name.as_bytes(), &kind).unwrap();
                found.extend(verdict.wanted.iter().map(|_| format!("{entry}@{at}")));
                found.extend(verdict.through.iter().map(|_| format!("through {entry}")));
            }
            union.end_layer();
        }
        (found, union.is_settled())
    }

    #[track_caller]
    fn sees(wanted: &str, layers: &[&[&str]], expected: &[&str], settled: bool) {
        let (found, is_settled) = look(wanted, layers);
        assert_eq!((found, is_settled), (expected.iter().map(|it| (*it).to_owned()).collect(), settled));
    }

    #[test]
    fn the_first_layer_that_speaks_wins() {
        sees("a/x", &[&["a/x"], &["a/x"]], &["a/x@0"], true);
        sees("a", &[&["a/x"], &["a/", "a/x", "a/y"]], &["a/x@0", "a/@1", "a/y@1"], false);
        sees("a", &[&["a/"], &["a"]], &["a/@0"], true);
        sees("a", &[&["a/"], &["a"], &["a/", "a/y"]], &["a/@0"], true);
        sees("a", &[&["a"], &["a/", "a/x"]], &["a@0"], true);
    }

    #[test]
    fn whiteouts_hide_what_is_below() {
        sees("a", &[&["a/.wh.x"], &["a/", "a/x", "a/x/y", "a/z"]], &["a/@1", "a/z@1"], false);
        sees("a/x", &[&[".wh.a"], &["a/x"]], &[], true);
        sees("a", &[&["a/", "a/.wh..wh..opq", "a/n"], &["a/o"]], &["a/@0", "a/n@0"], true);
        sees("a", &[&["a/n", "a/.wh..wh..opq"], &["a/o"]], &["a/n@0"], true);
        sees("/", &[&[".wh..wh..opq", "n"], &["o"]], &["n@0"], true);
        // Removed and made anew in one layer.
        sees("a", &[&[".wh.a", "a/", "a/n"], &["a/o"]], &["a/@0", "a/n@0"], true);
        sees("a", &[&["a/", "a/n", ".wh.a"], &["a/o"]], &["a/@0", "a/n@0"], true);
        sees("a", &[&[".wh.a", "a/n"], &["a/o"]], &["a/n@0"], true);
        // aufs's own files are not whiteouts.
        sees("/", &[&[".wh..wh.plnk", ".wh..wh.aufs"], &["plnk"]], &["plnk@1"], false);
    }

    #[test]
    fn links_lead_on_where_nothing_hides_them() {
        sees("bin/sh", &[&["usr/bin/sh"], &["bin>usr/bin"]], &["through bin>usr/bin"], true);
        sees("bin/sh", &[&["bin/sh"], &["bin>usr/bin"]], &["bin/sh@0"], true);
        sees("bin", &[&["bin>usr/bin"]], &["bin>usr/bin@0"], true);
        sees("bin/", &[&["bin>usr/bin"]], &["through bin>usr/bin"], true);
        sees("bin/*", &[&["bin>usr/bin"]], &["through bin>usr/bin"], true);
        sees("bin/sh", &[&[".wh.bin"], &["bin>usr/bin"]], &[], true);
    }

    #[test]
    fn a_layer_that_contradicts_itself_is_refused() {
        for second in [("a/x", Kind::File(0)), ("a", Kind::Folder)] {
            let mut union = Union::new(0, vec![want("a")]);
            union.take(b"a", &Kind::Symlink(b"/etc".to_vec())).unwrap();
            assert!(union.take(second.0.as_bytes(), &second.1).is_err());
        }
        let mut union = Union::new(0, vec![want("a/x")]);
        union.take(b"a/x", &Kind::File(0)).unwrap();
        assert!(union.take(b"a", &Kind::Symlink(b"/etc".to_vec())).is_err());
    }

    #[test]
    fn what_nobody_wants_is_not_remembered() {
        let mut union = Union::new(0, vec![want("a/b")]);
        for name in ["x", "x/y", "a/c", "a/c/d"] {
            union.take(name.as_bytes(), &Kind::File(0)).unwrap();
        }
        assert!(union.fresh.is_empty());
    }

    #[test]
    fn names_outside_follow_the_links_that_led_there() {
        let first = want("/bin/sh");
        let second = first.through(b"bin", b"usr/bin").unwrap();
        assert_eq!(second.pattern.literal, b"usr/bin/sh");
        assert_eq!(second.outside(b"usr/bin/sh"), b"bin/sh");
        let third = second.through(b"usr", b"/opt").unwrap();
        assert_eq!(third.pattern.literal, b"opt/bin/sh");
        assert_eq!(third.outside(b"opt/bin/sh"), b"bin/sh");
    }
}
