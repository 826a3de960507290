//! Judges paths by a list of patterns, one by one or along a walk.

use super::choose::Engine;
use super::parse::{self, Pattern};
use crate::error::dockerignore::PatternError;

/// The patterns of one ignore file.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    engine: Engine,
    list: Vec<Pattern>,
}

/// The line that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Line of the ignore file, from 1.
    pub line: usize,
    /// The pattern as the line has it, without the white space around it.
    pub pattern: &'a [u8],
}

/// Whether a path is left out, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// True when the engine never sees it.
    pub excluded: bool,
    /// The last line that changed the verdict. None where no line did.
    pub by: Option<Rule<'a>>,
}

/// Which patterns a folder met, for the verdicts on what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    /// A bit a pattern; empty at the root.
    met: Vec<u64>,
    /// Number of patterns up to the one that left the folder out; 0 where it is kept.
    excluded_by: usize,
    /// The engine does not look into it.
    closed: bool,
}

impl Folder {
    fn has(&self, index: usize) -> bool {
        self.met.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn set(&mut self, index: usize) {
        if let Some(word) = self.met.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }
}

impl Patterns {
    /// Reads the bytes of an ignore file.
    ///
    /// # Errors
    /// The first line that the reference refuses when it reads the file. Lines that it refuses only
    /// when it comes to use them (`x{3,2}*`) are found by the methods below, as there.
    pub fn parse(file: &[u8]) -> Result<Self, PatternError> {
        Self::parse_for(Engine::BuildKit, file)
    }

    /// As [`Patterns::parse`], by the rules of an engine, whose walks it then follows: the older
    /// builder and Podman do not look into a folder that is left out unless an exception begins
    /// with its path.
    ///
    /// # Errors
    /// As [`Patterns::parse`].
    pub fn parse_for(engine: Engine, file: &[u8]) -> Result<Self, PatternError> {
        Ok(Self { engine, list: parse::patterns(engine, file)? })
    }

    /// Patterns that come as a list, as `COPY --exclude` has them: no comments, and a leading `/`
    /// stays.
    pub(crate) fn listed(list: &[String]) -> Result<Self, PatternError> {
        Ok(Self { engine: Engine::BuildKit, list: parse::listed(list)? })
    }

    /// True when no line says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether docker's releases may part on a path: those up to 20.10 judge each by itself
    /// ([`Patterns::matches`]), newer ones as they walk, and only an exception makes a difference.
    #[must_use]
    pub fn may_part(&self) -> bool {
        self.engine != Engine::Podman && self.list.iter().any(|pattern| pattern.exception)
    }

    /// Judges one path by itself (`MatchesOrParentMatches`): a pattern that matches a parent
    /// matches the path. The context itself (empty, or `.`) is never left out.
    ///
    /// # Errors
    /// A pattern that had to be used and has no meaning.
    pub fn matches(&self, path: &[u8]) -> Result<Verdict<'_>, PatternError> {
        let mut verdict = Verdict::default();
        if path.is_empty() || path == b"." {
            return Ok(verdict);
        }
        for pattern in &self.list {
            if pattern.exception == verdict.excluded && meets_or_parent(pattern, path)? {
                verdict = pattern.verdict();
            }
        }
        Ok(verdict)
    }

    /// Judges an entry of a folder (`MatchesUsingParentResults`) and returns what its own entries
    /// need. The context itself is `Folder::default()`.
    ///
    /// # Errors
    /// A pattern that had to be used and has no meaning.
    pub fn enter(&self, parent: &Folder, path: &[u8]) -> Result<(Verdict<'_>, Folder), PatternError> {
        if parent.closed {
            return Ok((self.closing(parent), parent.clone()));
        }
        let mut folder = Folder { met: vec![0; self.list.len().div_ceil(64)], ..Folder::default() };
        let verdict = self.fold(parent, path, |index, verdict| {
            folder.set(index);
            folder.excluded_by = if verdict.excluded { index + 1 } else { 0 };
        })?;
        folder.closed = verdict.excluded && self.closes(path);
        Ok((verdict, folder))
    }

    /// As [`Patterns::enter`], for an entry that holds nothing: it keeps no record.
    ///
    /// # Errors
    /// A pattern that had to be used and has no meaning.
    pub fn judge(&self, parent: &Folder, path: &[u8]) -> Result<Verdict<'_>, PatternError> {
        if parent.closed { Ok(self.closing(parent)) } else { self.fold(parent, path, |_, _| {}) }
    }

    /// Judges a path as a walk from the root that comes to it, existing or not.
    ///
    /// # Errors
    /// A pattern that had to be used and has no meaning.
    pub fn judge_from_root(&self, path: &[u8]) -> Result<Verdict<'_>, PatternError> {
        let mut folder = Folder::default();
        for parent in parents(path) {
            folder = self.enter(&folder, parent)?.1;
        }
        if path.is_empty() || path == b"." { Ok(Verdict::default()) } else { self.judge(&folder, path) }
    }

    /// True when nothing below a folder that is left out is kept, so that a walk need not enter it.
    /// `folder` is what [`Patterns::enter`] returned for `path`. False is always safe.
    #[must_use]
    pub fn prunable(&self, folder: &Folder, path: &[u8]) -> bool {
        let mut later = self.list.iter().skip(folder.excluded_by);
        folder.closed
            || (self.engine != Engine::Podman
                && folder.excluded_by > 0
                && !later.any(|later| later.exception && later.form.reaches_below(path)))
    }

    /// True where the engine itself skips a folder that is left out, whatever its exceptions would
    /// match.
    fn closes(&self, path: &[u8]) -> bool {
        let begins = |pattern: &Pattern| match self.engine {
            Engine::BuildKit => true,
            Engine::DockerLegacy => {
                [&pattern.cleaned, &b"/"[..]].concat().starts_with(&[path, b"/"].concat())
            }
            Engine::Podman => [&pattern.cleaned, &b"/"[..]].concat().starts_with(path),
        };
        !self.list.iter().any(|pattern| pattern.exception && begins(pattern))
    }

    fn closing(&self, folder: &Folder) -> Verdict<'_> {
        let index = folder.excluded_by.saturating_sub(1);
        self.list.get(index).map(Pattern::verdict).unwrap_or_default()
    }

    fn fold<'a>(
        &'a self,
        parent: &Folder,
        path: &[u8],
        mut met: impl FnMut(usize, Verdict<'a>),
    ) -> Result<Verdict<'a>, PatternError> {
        let mut verdict = Verdict::default();
        for (index, pattern) in self.list.iter().enumerate() {
            // The reference asks no pattern that could not change the verdict, and so does not
            // learn of its match: that is where the two ways to judge part.
            let turns = || self.engine == Engine::Podman || pattern.exception == verdict.excluded;
            let inherited = self.engine != Engine::Podman && parent.has(index);
            if inherited || (turns() && pattern.meets(path)?) {
                if pattern.exception == verdict.excluded {
                    verdict = pattern.verdict();
                }
                met(index, verdict);
            }
        }
        Ok(verdict)
    }
}

impl Pattern {
    fn verdict(&self) -> Verdict<'_> {
        Verdict { excluded: !self.exception, by: Some(Rule { line: self.line, pattern: &self.written }) }
    }

    fn meets(&self, path: &[u8]) -> Result<bool, PatternError> {
        self.form.matches(path).map_err(|why| self.error(why))
    }
}

fn meets_or_parent(pattern: &Pattern, path: &[u8]) -> Result<bool, PatternError> {
    if pattern.meets(path)? {
        return Ok(true);
    }
    Ok(parents(path).any(|parent| pattern.form.matches(parent).unwrap_or(false)))
}

/// The folders that hold the path, the outermost first, the context itself left out.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| path.get(..at)).filter(|parent| !parent.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn judged(file: &str, path: &str, alone: bool, walked: bool) {
        let patterns = Patterns::parse(file.as_bytes()).unwrap();
        let path = path.as_bytes();
        assert_eq!(patterns.matches(path).unwrap().excluded, alone, "alone");
        assert_eq!(patterns.judge_from_root(path).unwrap().excluded, walked, "walked");
    }

    #[track_caller]
    fn refused(file: &[u8], line: usize, marked: &[u8]) {
        let error = Patterns::parse(file).unwrap_err();
        assert_eq!((error.line, &file[error.span.clone()]), (line, marked), "{error}");
    }

    #[test]
    fn a_walk_forgets_exceptions_that_its_folders_did_not_need() {
        judged("foo/x\n!foo", "foo/x", false, true);
        judged("foo\n!foo/x", "foo/x", false, false);
        judged("foo\n!foo", "foo/x", false, false);
    }

    #[test]
    fn the_context_itself_is_never_left_out() {
        judged("*\n.\n**", ".", false, false);
        judged("*", "", false, false);
    }

    #[test]
    fn bytes_that_are_no_text_match_as_replacement_characters() {
        let patterns = Patterns::parse(b"\xff\n\xfe*\n").unwrap();
        let excluded = |path: &[u8]| patterns.matches(path).unwrap().excluded;
        assert!(excluded(b"\xff"));
        assert!(excluded(b"\xfdx"), "an expression sees any stray byte as U+FFFD");
        assert!(!excluded(b"\xc3\xbc"));
    }

    #[test]
    fn errors_mark_the_pattern() {
        refused(b"a\n  ![a-] \nb", 2, b"![a-]");
        refused(b"\xef\xbb\xbf!", 1, b"!");
        refused(b"ok\n!/.", 2, b"!/.");
    }

    #[test]
    fn an_expression_without_meaning_fails_when_it_is_reached() {
        let patterns = Patterns::parse(b"a\nx{3,2}*\n").unwrap();
        assert!(patterns.matches(b"a").is_ok());
        assert_eq!(patterns.matches(b"b").unwrap_err().line, 2);
    }

    #[test]
    fn the_rule_is_the_line_that_decided() {
        let patterns = Patterns::parse(b"# c\n *.log \n! keep.log\nkeep*\n!zzz\n").unwrap();
        let by =
            |path: &[u8]| patterns.matches(path).unwrap().by.map(|rule| (rule.line, rule.pattern.to_vec()));
        assert_eq!(by(b"a.log"), Some((2, b"*.log".to_vec())));
        assert_eq!(by(b"keep.log"), Some((4, b"keep*".to_vec())));
        assert_eq!(by(b"a.txt"), None);
    }

    #[test]
    fn lines_as_long_as_go_reads_are_read() {
        let long = |length: usize| Patterns::parse(&vec![b'a'; length]).is_ok();
        assert!(long(65_535));
        assert!(!long(65_536));
    }
}
