//! Says of single paths whether they are left out, and which line of which file decided.
//!
//! The path need not exist. Asks the same matchers as a listing does, so that both say the same.
//! For a build, the same analysis of its Dockerfile says which instructions read the path.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD};
use storekit::store::{TAG_FILE, TAG_LINE, store_line};

use crate::config::{Build, Config, Rules, Selection};
use crate::context::dockerfile_mode::Precise;
use crate::context::read_dockerfile;
use crate::dockerignore::Engine;
use crate::error::HashError;
use crate::files::stat::Kind;
use crate::files::stat::Stat;
use crate::git::Checker;
use crate::listed::{Listed, Rule, Verdict};
use crate::listing::engine_ignore::EngineIgnore;
use crate::listing::select;
use crate::path::{RelPath, escape};
use crate::warning::Warning;

/// What there is to say of one path.
#[derive(Debug, Default)]
pub struct Answer {
    /// Whether it is left out.
    pub verdict: Verdict,
    /// Which instructions read it, where the key is for a build; `None` for what is left out, and
    /// for the context itself.
    pub readers: Option<Readers>,
    /// Where engines part, or hashing would refuse it.
    pub warnings: Vec<Warning>,
}

impl Answer {
    /// Whether the key does not depend on it: it is left out, or the build does not read it.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.verdict.excluded || self.readers.as_ref().is_some_and(Readers::is_empty)
    }
}

/// The instructions of a build that read a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Readers {
    /// The Dockerfile, as the caller named it.
    pub dockerfile: Utf8PathBuf,
    /// The lines in it, from 1, each once.
    pub lines: Vec<usize>,
    /// Whether the path is the Dockerfile's own, whose instructions count.
    pub is_dockerfile: bool,
}

impl Readers {
    /// Whether the build makes nothing of the path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.is_dockerfile
    }
}

/// Answers for the paths of one context.
pub struct CheckIgnore<'a> {
    config: &'a Config,
    root: &'a Utf8Path,
    git: Option<Checker>,
    engine: Option<EngineIgnore>,
    /// What hashing would list, sorted, where rules alone do not answer.
    listed: Vec<Listed>,
    build: Option<Reading>,
}

/// What a build reads of the main context.
struct Reading {
    precise: Precise,
    /// By line, what it reads of the listing.
    by_line: Vec<(usize, BTreeSet<Vec<u8>>)>,
    /// The Dockerfile's place in the context, if it has one.
    dockerfile: Option<RelPath>,
}

impl<'a> CheckIgnore<'a> {
    /// Reads the ignore files that the configuration says count.
    ///
    /// # Errors
    /// Where one cannot be read, or is invalid.
    pub fn new(config: &'a Config) -> Result<Self, HashError> {
        let root = config.root.as_path();
        if !root.is_dir() {
            let help = "give the folder that holds the build context before `--check-ignore`, and the PATHs right after it";
            return Err(HashError::NotAFolder { path: root.to_owned(), help });
        }
        let rules = match config.selection {
            Selection::Rules(rules) => rules,
            Selection::Files(_) => Rules::None,
        };
        let dockerfile = config.build.as_ref().map(|build| build.dockerfile.as_path());
        let git =
            matches!(rules, Rules::All | Rules::Git).then(|| Checker::new(root.as_std_path())).transpose()?;
        let engines = matches!(rules, Rules::All | Rules::Docker);
        let engine = if engines { EngineIgnore::load(config, root, dockerfile)? } else { None };
        let listed = match (&config.selection, &config.build) {
            (Selection::Rules(_), None) => Vec::new(),
            _ => sorted(select::list(config, root, dockerfile, None)?.entries),
        };
        let reading = |build| Reading::new(build, config.engine, root, &listed);
        let build = config.build.as_ref().map(reading).transpose()?;
        Ok(Self { config, root, git, engine, listed, build })
    }

    /// Judges a path as a user writes it: relative to the context, or absolute. With a `/` at its
    /// end it is a directory, whatever stands there.
    ///
    /// # Errors
    /// Where it does not lie in the context, or an ignore file on the way is invalid.
    pub fn check(&self, path: &[u8]) -> Result<Answer, HashError> {
        let Some(inside) = self.inside(path)? else { return Ok(Answer::default()) };
        if let Some(verdict) = self.store(&inside) {
            return Ok(Answer { verdict, ..Answer::default() });
        }
        let dir = path.ends_with(b"/");
        let mut answer = self.by_rules(&inside, dir)?;
        self.unlike_a_file(&inside, &mut answer);
        if matches!(self.config.selection, Selection::Files(_)) && !holds(&self.listed, inside.as_bytes()) {
            answer.verdict.excluded = true;
        }
        if let Some(build) = self.build.as_ref().filter(|_| !answer.verdict.excluded) {
            answer.readers = self.readers(build, &inside, dir);
        }
        if answer.readers.as_ref().is_some_and(Readers::is_empty) {
            answer.warnings.clear();
        }
        Ok(answer)
    }

    fn by_rules(&self, path: &RelPath, dir: bool) -> Result<Answer, HashError> {
        let gits = match &self.git {
            Some(git) => git.check(path, dir)?.verdict,
            None => Verdict::default(),
        };
        let Some(engine) = &self.engine else { return Ok(Answer { verdict: gits, ..Answer::default() }) };
        let engines = engine.verdict(self.root, path.as_bytes())?;
        let warnings = engine.sent_by_older(&engines, path).into_iter().collect();
        Ok(Answer { verdict: decisive(gits, engines), readers: None, warnings })
    }

    /// What becomes of sockets, FIFOs and devices, which neither rules nor patterns speak of.
    fn unlike_a_file(&self, path: &RelPath, answer: &mut Answer) {
        let stat =
            rustix::fs::statat(CWD, self.root.as_std_path().join(path.as_path()), AtFlags::SYMLINK_NOFOLLOW);
        let Ok(stat) = stat.map(|stat| Stat::from(&stat)) else { return };
        let out = match stat.kind() {
            Kind::Socket | Kind::Special if answer.verdict.excluded => return,
            Kind::Socket | Kind::Special if self.git.as_ref().is_some_and(|git| !git.tracks(path)) => {
                Some("git takes no notice of it")
            }
            Kind::Socket if !self.config.engine.sends_sockets() => Some("the engine leaves it out"),
            Kind::Special => None,
            _ => return,
        };
        answer.verdict.excluded = out.is_some();
        let why = out.unwrap_or("the key cannot be computed unless an ignore rule hides it");
        answer.warnings.push(Warning::UnlikeAFile { path: path.clone(), what: stat.special(), why });
    }

    /// Asks the build about a path that is not left out. One that does not exist is looked at as
    /// though it did.
    fn readers(&self, build: &Reading, path: &RelPath, dir: bool) -> Option<Readers> {
        let dockerfile = self.config.build.as_ref()?.dockerfile.clone();
        let is_dockerfile = build.dockerfile.as_ref() == Some(path);
        let lines = if holds(&self.listed, path.as_bytes()) {
            lines(&build.by_line, path)
        } else {
            let kind = if dir { Kind::Dir } else { Kind::File };
            let more = [Listed::new(path.clone(), kind)];
            let listed: Vec<Listed> = self.listed.iter().chain(&more).cloned().collect();
            lines(&build.precise.read_by_line(self.root, &listed), path)
        };
        Some(Readers { dockerfile, lines, is_dockerfile })
    }

    /// `None` for the root itself, which is never left out.
    fn inside(&self, path: &[u8]) -> Result<Option<RelPath>, HashError> {
        let outside = || HashError::Outside { path: escape(path).into_owned() };
        let below = match Path::new(std::ffi::OsStr::from_bytes(path)) {
            absolute if absolute.is_absolute() => {
                let root = self.root.as_std_path().canonicalize().map_err(HashError::read(self.root))?;
                absolute.strip_prefix(root).map_err(|_| outside())?.to_owned()
            }
            relative => relative.to_owned(),
        };
        // The parts of a path know neither `.` nor a `/` too many.
        let bytes = below.components().filter(|part| *part != std::path::Component::CurDir);
        let bytes = bytes.collect::<std::path::PathBuf>().into_os_string();
        if bytes.is_empty() && !path.is_empty() {
            return Ok(None);
        }
        RelPath::new(bytes.as_bytes()).ok_or_else(outside).map(Some)
    }

    /// A store of larder's is left out by its own tag.
    fn store(&self, path: &RelPath) -> Option<Verdict> {
        let mut folders = path.parents().chain([path.as_bytes()]);
        let marked =
            |folder| Some((folder, store_line(&self.root.as_std_path().join(as_path(folder))).ok()??));
        let (store, line) = folders.find_map(marked)?;
        let file = format!("{}/{TAG_FILE}", escape(store));
        let by = Rule { file, line, pattern: TAG_LINE.to_owned() };
        Some(Verdict { excluded: true, by: Some(by) })
    }
}

impl Reading {
    fn new(build: &Build, engine: Engine, root: &Utf8Path, listed: &[Listed]) -> Result<Self, HashError> {
        let precise = Precise::new(build, engine, &read_dockerfile(build)?)?;
        let by_line = precise.read_by_line(root, listed);
        Ok(Self { precise, by_line, dockerfile: select::below(root, &build.dockerfile) })
    }
}

/// The lines that read the path, or something below it.
fn lines(by_line: &[(usize, BTreeSet<Vec<u8>>)], path: &RelPath) -> Vec<usize> {
    let below = [path.as_bytes(), b"/"].concat();
    let reads = |read: &BTreeSet<Vec<u8>>| {
        let next = read.range::<Vec<u8>, _>(&below..).next();
        read.contains(path.as_bytes()) || next.is_some_and(|next| next.starts_with(&below))
    };
    by_line.iter().filter(|(_, read)| reads(read)).map(|(line, _)| *line).collect()
}

/// Whether the sorted list has the path, or something below it.
fn holds(listed: &[Listed], path: &[u8]) -> bool {
    let from = |path: &[u8]| listed.get(listed.partition_point(|one| one.path.as_bytes() < path));
    let below = [path, b"/"].concat();
    from(path).is_some_and(|one| one.path.as_bytes() == path)
        || from(&below).is_some_and(|one| one.path.as_bytes().starts_with(&below))
}

fn sorted(mut listed: Vec<Listed>) -> Vec<Listed> {
    listed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    listed
}

/// Both hide: what one leaves out is left out. Of two that keep, the one with a rule says why.
fn decisive(gits: Verdict, engines: Verdict) -> Verdict {
    let engines_decide = engines.excluded || gits.by.is_none();
    if !gits.excluded && engines_decide { engines } else { gits }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
