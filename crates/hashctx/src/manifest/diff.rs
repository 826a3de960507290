//! Says how two manifests differ.
//!
//! Values of args and inputs are not in a manifest, so they cannot appear here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;

use crate::files::digest::Digest;
use crate::files::entry::{Content, Entry, FileMode};
use crate::manifest::{Declared, Manifest};
use crate::path::escape;

/// One way in which a manifest differs from an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What happened.
    pub change: Change,
    /// The path or name that it happened to, as in a manifest; empty for a Dockerfile.
    pub name: String,
    /// The named context that the path lies in; `None` for the main one.
    pub context: Option<String>,
    /// What the path was before a [`Change::Renamed`].
    pub from: Option<String>,
}

/// What happened to an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The Dockerfile's relevant text differs.
    Dockerfile,
    /// Another stage is built.
    Target,
    /// It is built for another platform.
    Platform,
    /// A build arg came, went, or has another value.
    Arg,
    /// A base image came, went, or has another digest.
    Base,
    /// A named context that is not a folder came, went, or lies elsewhere.
    Source,
    /// A declared input came, went, or has another value.
    Input,
    /// A path is new.
    Added,
    /// A path is gone.
    Removed,
    /// A path has another content, or is something else.
    Changed,
    /// A path has the same content and another mode.
    ModeChanged,
    /// A content lies under another path.
    Renamed,
}

impl Change {
    /// The word that `--diff` prints.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Dockerfile => "dockerfile-changed",
            Self::Target => "target-changed",
            Self::Platform => "platform-changed",
            Self::Arg => "arg-changed",
            Self::Base => "base-changed",
            Self::Source => "source-changed",
            Self::Input => "input-changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::ModeChanged => "mode-changed",
            Self::Renamed => "renamed",
        }
    }
}

/// The line that `--diff` prints.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.change.word())?;
        let context = self.context.as_ref().map(|name| format!("{name}:")).unwrap_or_default();
        if let Some(from) = &self.from {
            write!(f, " {context}{from} ->")?;
        }
        if !self.name.is_empty() {
            write!(f, " {context}{}", self.name)?;
        }
        Ok(())
    }
}

/// All differences: the declared inputs' first, then those of each context by path.
#[must_use]
pub fn diff(old: &Manifest, new: &Manifest) -> Vec<Difference> {
    let mut differences = declared(&old.declared, &new.declared);
    differences.extend(entries(None, &old.entries, &new.entries));
    let names: BTreeSet<&str> = old.named.iter().chain(&new.named).map(|named| named.name.as_str()).collect();
    for name in names {
        differences.extend(entries(Some(name), in_context(old, name), in_context(new, name)));
    }
    differences
}

fn in_context<'m>(manifest: &'m Manifest, name: &str) -> &'m [Entry] {
    manifest.named.iter().find(|named| named.name == name).map_or(&[], |named| &named.entries)
}

fn declared(old: &BTreeSet<Declared>, new: &BTreeSet<Declared>) -> Vec<Difference> {
    let changed: BTreeSet<(Change, &str)> = old.symmetric_difference(new).map(subject).collect();
    let difference = |(change, name): (Change, &str)| Difference {
        change,
        name: escape(name.as_bytes()).into_owned(),
        context: None,
        from: None,
    };
    changed.into_iter().map(difference).collect()
}

/// What a declared input is about, without its value.
fn subject(declared: &Declared) -> (Change, &str) {
    match declared {
        Declared::Dockerfile(_) => (Change::Dockerfile, ""),
        Declared::Target(_) => (Change::Target, ""),
        Declared::Platform(_) => (Change::Platform, ""),
        Declared::Arg(name, _) => (Change::Arg, name),
        Declared::Base(name, _) => (Change::Base, name),
        Declared::Source(name, _) => (Change::Source, name),
        Declared::Input(name, _) => (Change::Input, name),
    }
}

fn entries(context: Option<&str>, old: &[Entry], new: &[Entry]) -> Vec<Difference> {
    let mut changes = Changes::default();
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    while let Some((before, after)) = next_pair(&mut olds, &mut news) {
        changes.add(before, after);
    }
    changes.pair_renames();
    changes.into_differences(context)
}

type Entries<'m> = std::iter::Peekable<std::slice::Iter<'m, Entry>>;

/// The next path of either side, with what stands there on both.
fn next_pair<'m>(
    olds: &mut Entries<'m>,
    news: &mut Entries<'m>,
) -> Option<(Option<&'m Entry>, Option<&'m Entry>)> {
    let order = match (olds.peek(), news.peek()) {
        (None, None) => return None,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(old), Some(new)) => old.path.cmp(&new.path),
    };
    let old = if order.is_le() { olds.next() } else { None };
    Some((old, if order.is_ge() { news.next() } else { None }))
}

#[derive(Default)]
struct Changes<'m> {
    /// By the path that is there now, or was.
    by_path: BTreeMap<&'m [u8], (Change, &'m Entry, Option<&'m Entry>)>,
}

impl<'m> Changes<'m> {
    fn add(&mut self, before: Option<&'m Entry>, after: Option<&'m Entry>) {
        let (change, entry) = match (before, after) {
            (Some(old), Some(new)) if old.content == new.content => return,
            (Some(old), Some(new)) if same_bytes(old, new) => (Change::ModeChanged, new),
            (Some(_), Some(new)) => (Change::Changed, new),
            (Some(old), None) => (Change::Removed, old),
            (None, Some(new)) => (Change::Added, new),
            (None, None) => return,
        };
        self.by_path.insert(entry.path.as_bytes(), (change, entry, None));
    }

    /// Pairs what went with what came, where both have the same content, in the order of the paths.
    fn pair_renames(&mut self) {
        let mut gone: HashMap<(Digest, Option<u16>, bool), VecDeque<&'m Entry>> = HashMap::new();
        for (_, entry, _) in self.by_path.values().filter(|(change, ..)| *change == Change::Removed) {
            if let Some(id) = identity(entry) {
                gone.entry(id).or_default().push_back(entry);
            }
        }
        let mut moved = Vec::new();
        for (change, entry, from) in self.by_path.values_mut().filter(|(change, ..)| *change == Change::Added)
        {
            *from = identity(entry).and_then(|id| gone.get_mut(&id)?.pop_front());
            if let Some(from) = from {
                *change = Change::Renamed;
                moved.push(from.path.as_bytes());
            }
        }
        for path in moved {
            self.by_path.remove(path);
        }
    }

    fn into_differences(self, context: Option<&str>) -> Vec<Difference> {
        let difference = |(change, entry, from): (Change, &Entry, Option<&Entry>)| Difference {
            change,
            name: entry.path.to_string(),
            context: context.map(str::to_owned),
            from: from.map(|from| from.path.to_string()),
        };
        self.by_path.into_values().map(difference).collect()
    }
}

fn same_bytes(old: &Entry, new: &Entry) -> bool {
    match (&old.content, &new.content) {
        (Content::File { digest: old, .. }, Content::File { digest: new, .. }) => old == new,
        (Content::Dir { .. }, Content::Dir { .. }) => true,
        _ => false,
    }
}

/// What makes a file the same file elsewhere; `None` for what is too common to say so.
fn identity(entry: &Entry) -> Option<(Digest, Option<u16>, bool)> {
    match entry.content {
        Content::File { digest, .. } if digest == Digest::of(b"") => None,
        Content::File { digest, mode: FileMode::Bits(bits) } => Some((digest, Some(bits), false)),
        Content::File { digest, mode } => Some((digest, None, mode == FileMode::Executable)),
        Content::Link { .. } | Content::Dir { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    const A: &str = "3ba5e5a0aea0d0a5c4a5cf04d5b1ef9a1bbe2ff6b8a4bd58a5a6c6c1c1bb8d6c";
    const B: &str = "4ba5e5a0aea0d0a5c4a5cf04d5b1ef9a1bbe2ff6b8a4bd58a5a6c6c1c1bb8d6c";

    fn manifest(lines: &str) -> Manifest {
        let text = format!("hashctx manifest 1\n{lines}").replace("$A", A).replace("$B", B);
        parse("test", &text).expect("a manifest")
    }

    #[track_caller]
    fn differs(old: &str, new: &str, expected: &[&str]) {
        let lines: Vec<String> =
            diff(&manifest(old), &manifest(new)).iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn paths_come_go_and_change() {
        differs(
            "file $A  a\nfile $A  b\n",
            "file $B  b\nfile $A  b2\nfile $B  c\n",
            &["changed b", "renamed a -> b2", "added c"],
        );
        differs("file $A  a\n", "", &["removed a"]);
        differs("file $A  a\n", "file $A  a\n", &[]);
        differs("link a\tb\n", "link a\tc\n", &["changed a"]);
        differs("link a\tb\n", "dir a\n", &["changed a"]);
    }

    #[test]
    fn modes_change_alone() {
        differs("file $A  a\n", "exec $A  a\n", &["mode-changed a"]);
        differs("file:0644 $A  a\n", "file:0600 $A  a\n", &["mode-changed a"]);
        differs("exec $A  a\n", "file $A  b\n", &["removed a", "added b"]);
    }

    #[test]
    fn empty_files_are_not_taken_for_each_other() {
        let empty = Digest::of(b"");
        differs(&format!("file {empty}  a\n"), &format!("file {empty}  b\n"), &["removed a", "added b"]);
    }

    #[test]
    fn declared_inputs_are_named_without_their_values() {
        differs(
            "arg X $A\ninput i $A\n",
            "arg X $B\narg Y $A\n",
            &["arg-changed X", "arg-changed Y", "input-changed i"],
        );
        differs(
            "platform a\nbase b sha256:1\n",
            "platform b\nbase b sha256:2\n",
            &["platform-changed", "base-changed b"],
        );
        differs("dockerfile $A\n", "dockerfile $B\ntarget t\n", &["dockerfile-changed", "target-changed"]);
    }

    #[test]
    fn named_contexts_are_told_apart() {
        differs(
            "context n\nfile $A  a\n",
            "file $A  a\ncontext n\nfile $A  b\n",
            &["added a", "renamed n:a -> n:b"],
        );
        differs("context n\nfile $A  a\n", "", &["removed n:a"]);
    }
}
