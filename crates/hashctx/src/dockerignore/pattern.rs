//! One pattern, ready to be matched with a path.
//!
//! The reference turns a pattern into one of four forms, and which one is part of its behaviour:
//! `a|b` is compared as text, `a|b*` is a regular expression. So the same forms stand here.
//!
//! Why the `regex` crate below and no matcher of our own: Go's `regexp` and `regex` decide the same
//! language in time linear in the path, and the differences of syntax are settled in `goregex`. A
//! path or pattern that is not UTF-8 is seen as Go sees it, each stray byte as U+FFFD.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::goregex::{self, Translated};

/// The largest compiled expression. `[^/]{1000}` needs a hundredth of it.
const SIZE_LIMIT: usize = 1 << 26;

/// What a cleaned pattern matches.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// The path is this text.
    Exact(Vec<u8>),
    /// The path begins with this text (`dir/**` keeps its slash).
    Prefix(Vec<u8>),
    /// The path ends with this text, or is what follows its slash.
    Suffix(Vec<u8>),
    /// The path, as text, satisfies an expression.
    Expression(Expression),
    /// The reference fails when it reaches this pattern, with this reason.
    Broken(String),
}

impl Form {
    /// Follows the reference's `compile`, quirks included.
    pub(super) fn new(pattern: &[u8]) -> Self {
        let text: Vec<char> = lossy(pattern).chars().collect();
        let mut scan = Scan::default();
        // Go's scanner drops a leading byte order mark, and the forms that are compared as text
        // keep it.
        let mut rest = text.strip_prefix(&['\u{feff}']).unwrap_or(&text);
        let mut first = true;
        while !rest.is_empty() {
            rest = scan.step(rest, first);
            first = false;
        }
        match scan.kind {
            Kind::Exact => Self::Exact(pattern.to_vec()),
            Kind::Prefix => {
                Self::Prefix(pattern.get(..pattern.len().saturating_sub(2)).unwrap_or_default().to_vec())
            }
            Kind::Suffix => Self::Suffix(pattern.get(2..).unwrap_or_default().to_vec()),
            Kind::Expression => Self::expression(&format!("^{}$", scan.expression)),
        }
    }

    /// Podman's matcher (containers/storage) is an older cousin: every pattern is an expression,
    /// which matches what lies below, too, and `( ) +` reach it unescaped.
    pub(super) fn podman(pattern: &[u8]) -> Self {
        let text: Vec<char> = lossy(pattern).chars().collect();
        let mut scan = Scan { podman: true, ..Scan::default() };
        let mut rest = text.strip_prefix(&['\u{feff}']).unwrap_or(&text);
        while !rest.is_empty() {
            rest = scan.step(rest, false);
        }
        if scan.broken {
            return Self::Broken("it ends in a lone `\\`".to_owned());
        }
        Self::expression(&format!("^{}(/.*)?$", scan.expression))
    }

    fn expression(go: &str) -> Self {
        match goregex::translate(go) {
            Ok(translated) => Self::Expression(Expression { translated, compiled: OnceLock::new() }),
            Err(why) => Self::Broken(why.to_owned()),
        }
    }

    /// True when the pattern matches the path itself.
    ///
    /// # Errors
    /// The reason, where the reference's expression does not compile.
    pub(super) fn matches(&self, path: &[u8]) -> Result<bool, &str> {
        Ok(match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text),
            Self::Suffix(text) => {
                path.ends_with(text) || text.strip_prefix(b"/").is_some_and(|name| path == name)
            }
            Self::Expression(expression) => expression.matches(path)?,
            Self::Broken(why) => return Err(why),
        })
    }

    /// False only where the pattern matches nothing below the folder.
    pub(super) fn reaches_below(&self, folder: &[u8]) -> bool {
        let below = [folder, b"/"].concat();
        let meets = |head: &[u8]| head.starts_with(&below) || below.starts_with(head);
        match self {
            Self::Exact(text) => text.starts_with(&below),
            Self::Prefix(text) => meets(text),
            Self::Expression(expression) if folder.is_ascii() => meets(expression.translated.head.as_bytes()),
            _ => true,
        }
    }
}

/// Compiled when a path first has the fixed text that it asks for: most are never needed.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    translated: Translated,
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    fn matches(&self, path: &[u8]) -> Result<bool, &'static str> {
        let Translated { regex, head, tail } = &self.translated;
        let text = lossy(path);
        if !text.starts_with(head) || !text.ends_with(tail) {
            return Ok(false);
        }
        let compiled =
            self.compiled.get_or_init(|| RegexBuilder::new(regex).size_limit(SIZE_LIMIT).build().ok());
        compiled.as_ref().map(|regex| regex.is_match(text.as_bytes())).ok_or("it is too large an expression")
    }
}

/// The bytes as text, each byte that is not part of a character as U+FFFD, as Go decodes them.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Exact,
    Prefix,
    Suffix,
    Expression,
}

#[derive(Default)]
struct Scan {
    expression: String,
    kind: Kind,
    podman: bool,
    broken: bool,
}

impl Scan {
    fn step<'a>(&mut self, text: &'a [char], first: bool) -> &'a [char] {
        match text {
            ['*', '*', rest @ ..] => self.double_star(rest, first),
            ['*', rest @ ..] => self.meta("[^/]*", rest),
            ['?', rest @ ..] => self.meta("[^/]", rest),
            // The reference means to escape `{ | }` here too, and its bit map has no room for them.
            [plain @ ('+' | '(' | ')'), rest @ ..] if self.podman => self.plain(&[*plain], rest),
            [plain @ ('.' | '+' | '(' | ')' | '$'), rest @ ..] => self.plain(&['\\', *plain], rest),
            ['\\', escaped, rest @ ..] => self.meta(&['\\', *escaped].iter().collect::<String>(), rest),
            ['\\'] if self.podman => {
                self.broken = true;
                &[]
            }
            [bracket @ ('[' | ']'), rest @ ..] => self.meta(&bracket.to_string(), rest),
            [plain, rest @ ..] => self.plain(&[*plain], rest),
            [] => text,
        }
    }

    fn double_star<'a>(&mut self, text: &'a [char], first: bool) -> &'a [char] {
        let rest = text.strip_prefix(&['/']).unwrap_or(text);
        if !rest.is_empty() {
            self.meta("(.*/)?", rest);
        } else if self.kind == Kind::Exact && !self.podman {
            self.kind = Kind::Prefix;
        } else {
            self.meta(".*", rest);
        }
        if first {
            self.kind = Kind::Suffix;
        }
        rest
    }

    fn meta<'a>(&mut self, expression: &str, rest: &'a [char]) -> &'a [char] {
        self.kind = Kind::Expression;
        self.expression.push_str(expression);
        rest
    }

    fn plain<'a>(&mut self, expression: &[char], rest: &'a [char]) -> &'a [char] {
        self.expression.extend(expression);
        rest
    }
}
