//! A checksum database: which one it is, and what it says of versions.

use http::Uri;
use storekit::printable;

use super::note::Key;
use super::tiles::{self, Hash, Tree};
use crate::ecosystem::BadIndex;

/// The database that Go's own command asks where nothing else is said, with its key.
const USUAL: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
/// No record is larger.
pub(crate) const LARGEST: u64 = 64 << 10;

/// A checksum database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sumdb {
    /// The key that signs its heads, which has its name.
    pub(crate) key: Key,
    /// Where it is, without a `/` at its end.
    pub(crate) url: Uri,
    /// Which modules it is not asked about: globs of the first parts of their paths.
    pub(crate) without: Vec<String>,
}

impl Sumdb {
    /// From what stands in `GOSUMDB`: a name, a key (`NAME+HASH+KEY`), or one of them and a URL;
    /// nothing for the one that Go knows. `Ok(None)` for `off`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: Option<&str>, without: &[String]) -> Result<Option<Self>, &'static str> {
        let mut words = text.unwrap_or(USUAL).split_whitespace();
        let key = words.next().ok_or("it is empty")?;
        if key == "off" {
            return Ok(None);
        }
        let is_usual = USUAL.split('+').next() == Some(key);
        let key = Key::read(if is_usual { USUAL } else { key })
            .ok_or("write the database's key, `NAME+HASH+KEY`, as in GOSUMDB, or `off`")?;
        let url = words
            .next()
            .map_or_else(|| format!("https://{}", key.name), |it| it.trim_end_matches('/').to_owned());
        let url: Uri = url.parse().map_err(|_| "its URL is not valid")?;
        let is_web =
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|it| !it.is_empty());
        if !is_web || url.query().is_some() || words.next().is_some() {
            return Err("behind the key there is one URL, which begins with `http://` or `https://`");
        }
        if without.iter().any(|glob| glob.contains(['[', '\\'])) {
            return Err("a pattern has `*` and `?`, and no other signs of a glob");
        }
        let without = without.iter().map(|glob| glob.trim_end_matches('/').to_owned()).collect();
        Ok(Some(Self { key, url, without }))
    }

    /// Whether the module is one that the database may be asked about.
    #[must_use]
    pub(crate) fn may_know(&self, module: &str) -> bool {
        !self.without.iter().any(|glob| is_below(glob, module))
    }

    /// The path of a version's record.
    #[must_use]
    pub(crate) fn lookup(module: &str, version: &str) -> String {
        format!("lookup/{}@{}", super::escaped(module), super::escaped(version))
    }

    /// What a signed head says.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn head(&self, note: &str) -> Result<Tree, BadIndex> {
        let text = self.key.open(note)?;
        tree(text).ok_or_else(|| BadIndex::Malformed("it is not the head of a checksum database".to_owned()))
    }

    /// What the answer to a lookup says.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn record(&self, answer: &str) -> Result<Record, BadIndex> {
        let wrong = || BadIndex::Malformed("it is not a record of a checksum database".to_owned());
        let (id, rest) = answer.split_once('\n').ok_or_else(wrong)?;
        let (text, note) = rest.split_once("\n\n").ok_or_else(wrong)?;
        let text = rest.get(..=text.len()).ok_or_else(wrong)?;
        let tree = self.head(note)?;
        let id = id.parse().ok().filter(|id| *id < tree.size).ok_or_else(wrong)?;
        let line = |line: &str| {
            let mut words = line.split(' ');
            let (module, version, sum) = (words.next()?, words.next()?, words.next()?);
            words.next().is_none().then(|| (format!("{module} {version}"), sum.to_owned()))
        };
        let lines = text.lines().map(line).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok(Record { id, leaf: tiles::leaf(text.as_bytes()), tree, lines })
    }
}

/// What a database says of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its place in the log.
    pub(crate) id: u64,
    /// What it hashes to.
    pub(crate) leaf: Hash,
    /// The tree that it is said to be in, by a signed head.
    pub(crate) tree: Tree,
    /// Names (`MODULE VERSION`, `MODULE VERSION/go.mod`), and their sums.
    lines: Vec<(String, String)>,
}

impl Record {
    /// The sum of a version's zip, or of its go.mod.
    #[must_use]
    pub(crate) fn sum(&self, module: &str, version: &str, is_mod: bool) -> Option<Hash> {
        let name = format!("{module} {version}{}", if is_mod { "/go.mod" } else { "" });
        let mut found = self.lines.iter().filter(|(it, _)| *it == name);
        let (_, sum) = found.next().filter(|_| found.next().is_none())?;
        super::dirhash::sum(sum)
    }
}

/// What a head's text says.
fn tree(text: &str) -> Option<Tree> {
    let mut lines = text.lines();
    let is_head = lines.next()? == "go.sum database tree";
    let size = lines.next()?.parse().ok().filter(|size| *size < 1 << 48)?;
    let root = super::dirhash::hash(lines.next()?)?;
    is_head.then_some(Tree { size, root })
}

/// Whether the first parts of a module's path match the glob, as in GONOSUMDB.
fn is_below(glob: &str, module: &str) -> bool {
    let mut parts = module.split('/');
    let mut globs = glob.split('/');
    !glob.is_empty()
        && globs.all(|glob| parts.next().is_some_and(|part| is_like(glob.as_bytes(), part.as_bytes())))
}

/// Whether a part of a path matches a glob of `*` and `?`.
fn is_like(glob: &[u8], part: &[u8]) -> bool {
    // How much of the glob matches what came so far.
    let mut reached = vec![true];
    reached.extend(glob.iter().scan(true, |all, c| {
        *all &= *c == b'*';
        Some(*all)
    }));
    for byte in part {
        let mut next = vec![false; reached.len()];
        for (at, c) in glob.iter().enumerate() {
            let (before, here) = (reached.get(at) == Some(&true), reached.get(at + 1) == Some(&true));
            let moved = match c {
                b'*' => here || before || next.get(at) == Some(&true),
                c => before && (*c == b'?' || c == byte),
            };
            if let Some(slot) = next.get_mut(at + 1) {
                *slot = moved;
            }
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

/// The name of a database, in words that can be shown.
#[must_use]
pub(crate) fn shown(name: &str) -> String {
    printable(name).into_owned()
}
