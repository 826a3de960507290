//! Reads a regular expression by the rules of Go's `regexp` package and writes it in those of the
//! `regex` crate.
//!
//! The reference matcher pastes most of a pattern unescaped into a Go regular expression, so
//! `a|b*`, `\d*` or `x{2}*` mean there what Go makes of them. The two libraries share their theory
//! (linear time, no backtracking) but not their syntax: Go has `\Q…\E`, octal escapes and
//! ASCII-only classes, takes an unfit `{` literally and refuses stacked repetitions; Rust has
//! nested classes and set operators. Hence a parser of Go's syntax whose output leaves nothing to
//! interpretation: each character is written as `\x{…}`, each class spelt out.
//!
//! Absent: groups other than those that the pattern translation itself writes (`(…)?`, never
//! `(?…)`), because an ignore pattern's own parentheses arrive escaped. Limit: `\B` between the
//! bytes of one character that is not ASCII counts as a match.

mod class;

use std::fmt::Write as _;

/// Go's limit for the counts of `{m,n}`.
const MAX_REPEAT: u32 = 1000;

/// An expression for the `regex` crate, and literal text that every match must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) regex: String,
    /// Every matching text begins with this.
    pub(crate) head: String,
    /// Every matching text ends with this.
    pub(crate) tail: String,
}

/// Translates the expression, or says why Go would not compile it.
pub(crate) fn translate(expression: &str) -> Result<Translated, &'static str> {
    let mut parser = Parser { rest: expression, ..Parser::default() };
    while !parser.rest.is_empty() {
        parser.step()?;
    }
    if parser.depth > 0 {
        return Err("a `(` has no `)`");
    }
    Ok(parser.finish())
}

/// What stands before the reading position, as far as a repetition operator cares.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Nothing,
    Literal,
    Atom,
    Repeated,
}

#[derive(Default)]
struct Parser<'a> {
    rest: &'a str,
    out: Translated,
    before: Before,
    depth: usize,
    branches: bool,
    ended: bool,
    head_done: bool,
}

impl Parser<'_> {
    fn finish(self) -> Translated {
        let Self { mut out, branches, ended, .. } = self;
        if branches || !ended {
            out.tail.clear();
        }
        if branches {
            out.head.clear();
        }
        out
    }

    fn step(&mut self) -> Result<(), &'static str> {
        let Some(next) = self.rest.chars().next() else { return Ok(()) };
        match next {
            '(' => self.open(),
            ')' => return self.close(),
            '|' => self.branch(),
            '^' => self.anchor("(?:\\A)"),
            '$' => {
                self.anchor("(?:\\z)");
                self.ended = true;
            }
            '.' => self.atom("[^\\n]", 1),
            '[' => {
                let (class, rest) = class::parse(self.rest)?;
                self.atom(&class, self.rest.len() - rest.len());
            }
            '*' | '+' | '?' => return self.repeat(&next.to_string(), 1),
            '{' => return self.counted(),
            '\\' => return self.escape(),
            literal => {
                self.literal(literal);
                self.skip(literal.len_utf8());
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn open(&mut self) {
        self.atom("(?:", 1);
        self.before = Before::Nothing;
        self.depth += 1;
    }

    fn close(&mut self) -> Result<(), &'static str> {
        self.depth = self.depth.checked_sub(1).ok_or("a `)` has no `(`")?;
        self.atom(")", 1);
        Ok(())
    }

    fn branch(&mut self) {
        self.atom("|", 1);
        self.branches = true;
        self.before = Before::Nothing;
    }

    fn anchor(&mut self, text: &str) {
        let at_start = self.out.regex.is_empty();
        let tail = std::mem::take(&mut self.out.tail);
        self.atom(text, 1);
        self.out.tail = tail;
        self.head_done = !at_start;
    }

    fn literal(&mut self, literal: char) {
        let _ = write!(self.out.regex, "\\x{{{:x}}}", u32::from(literal));
        self.out.tail.push(literal);
        if !self.head_done {
            self.out.head.push(literal);
        }
        self.before = Before::Literal;
        self.ended = false;
    }

    /// Writes something that is not one fixed character and moves on by `bytes`.
    fn atom(&mut self, text: &str, bytes: usize) {
        self.out.regex.push_str(text);
        self.out.tail.clear();
        self.head_done = true;
        self.before = Before::Atom;
        self.ended = false;
        self.skip(bytes);
    }

    fn repeat(&mut self, operator: &str, bytes: usize) -> Result<(), &'static str> {
        match self.before {
            Before::Nothing => return Err("a repetition has nothing to repeat"),
            Before::Repeated => return Err("a repetition repeats a repetition"),
            Before::Literal if !self.head_done => drop(self.out.head.pop()),
            Before::Literal | Before::Atom => {}
        }
        self.atom(operator, bytes);
        // Greed does not change whether a text matches.
        self.rest = self.rest.strip_prefix('?').unwrap_or(self.rest);
        self.before = Before::Repeated;
        Ok(())
    }

    fn counted(&mut self) -> Result<(), &'static str> {
        let Some((min, max, len)) = counts(self.rest) else {
            self.literal('{');
            self.skip(1);
            return Ok(());
        };
        let too_big = |count: u32| count > MAX_REPEAT;
        if too_big(min) || max.is_some_and(|max| too_big(max) || max < min) {
            return Err("a repetition count is over 1000, or its range is reversed");
        }
        let max = max.map_or(String::new(), |max| max.to_string());
        self.repeat(&format!("{{{min},{max}}}"), len)
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        let word = self.rest.chars().nth(1).ok_or("it ends in a lone `\\`")?;
        match word {
            'A' => self.atom("(?:\\A)", 2),
            'b' => self.atom("(?-u:\\b)", 2),
            'B' => self.atom("(?-u:\\B)", 2),
            'z' => self.atom("(?:\\z)", 2),
            'C' => return Err("`\\C` is not supported"),
            'Q' => self.quoted(),
            _ => return self.escaped_char(),
        }
        Ok(())
    }

    fn quoted(&mut self) {
        let text = self.rest.get(2..).unwrap_or_default();
        let (literals, rest) = text.split_once("\\E").unwrap_or((text, ""));
        literals.chars().for_each(|literal| self.literal(literal));
        self.rest = rest;
        if self.before == Before::Repeated {
            self.before = Before::Atom;
        }
    }

    fn escaped_char(&mut self) -> Result<(), &'static str> {
        if let Some((class, rest)) = class::escape(self.rest)? {
            self.atom(&format!("[{class}]"), self.rest.len() - rest.len());
            return Ok(());
        }
        let (code, rest) = class::escaped(self.rest)?;
        match char::from_u32(code) {
            Some(literal) => self.literal(literal),
            // A surrogate: Go accepts it, and no text has one.
            None => self.atom("[^\\x{0}-\\x{10ffff}]", 0),
        }
        self.rest = rest;
        Ok(())
    }
}

/// Reads `{m}`, `{m,}` or `{m,n}`: the counts and the length. A count too big to hold is
/// `u32::MAX`.
fn counts(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let body = text.strip_prefix('{')?;
    let end = body.find('}')?;
    let body = body.get(..end)?;
    let (min, max) = match body.split_once(',') {
        None => (count(body)?, Some(count(body)?)),
        Some((min, "")) => (count(min)?, None),
        Some((min, max)) => (count(min)?, Some(count(max)?)),
    };
    Some((min, max, end + 2))
}

fn count(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    (plain && (digits.len() == 1 || !digits.starts_with('0'))).then(|| digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn matching(go: &str, hits: &[&str], misses: &[&str]) {
        let regex = regex::bytes::Regex::new(&translate(go).unwrap().regex).unwrap();
        for hit in hits {
            assert!(regex.is_match(hit.as_bytes()), "{go} misses {hit:?} as {regex}");
        }
        for miss in misses {
            assert!(!regex.is_match(miss.as_bytes()), "{go} hits {miss:?} as {regex}");
        }
    }

    #[test]
    fn go_syntax_is_read_as_go_reads_it() {
        matching("^a{2}[^/]*$", &["aa", "aaX"], &["a", "aX"]);
        matching("^a{,2}$", &["a{,2}"], &["a", "aa"]);
        matching("^a{02}$", &["a{02}"], &["aa"]);
        matching("^a|b[^/]*$", &["axyz", "zb", "b"], &["x"]);
        matching("^\\d$", &["7"], &["x", "\u{0663}"]);
        matching("^\\Qa.b\\E[^/]*$", &["a.bc"], &["axb"]);
        matching("^[[^/]*]$", &["[/]", "]"], &["a]"]);
        matching("^[a&&b]$", &["&", "a"], &["x"]);
        matching("^[[:alpha:]][[:^digit:]]$", &["ab"], &["1b", "a1"]);
        matching("^\\x41\\x{42}\\103$", &["ABC"], &["abc"]);
        matching("^.$", &["x", "é"], &["\n", "xy"]);
        matching("^[^a]$", &["\n", "/"], &["a"]);
        matching("^\\p{Greek}\\pL[\\P{Lu}]$", &["αxx"], &["axx", "αxX"]);
        matching("^\\s$", &[" ", "\t"], &["\u{b}", "\u{a0}"]);
        matching("^{2}x$", &["x"], &["{2}x"]);
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let bad = [
            "^a{2}{3}$",
            "^[^/]*{2}$",
            "^a{1001}$",
            "^a{3,2}$",
            "^a|{2}$",
            "^\\1$",
            "^\\q$",
            "^[b-a]$",
            "^[a",
            "^\\p{Nope}$",
            "^\\p{Latn}$",
            "^\\p{greek}$",
            "^[[:nope:]]$",
            "^\\x{110000}$",
            "^\\xg0$",
            "^\\C$",
            "^é\\é$",
            "^\\8$",
        ];
        for bad in bad {
            assert!(translate(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn fixed_ends_are_found() {
        let ends = |go: &str| translate(go).map(|out| (out.head, out.tail)).unwrap();
        assert_eq!(ends("^src/[^/]*\\.log$"), ("src/".into(), ".log".into()));
        assert_eq!(ends("^ab{2}c[^/]*$"), ("a".into(), String::new()));
        assert_eq!(ends("^a|b$"), (String::new(), String::new()));
    }
}
