//! Expands variables and quotes in one word of a Dockerfile, by the rules of `BuildKit`'s shell
//! lexer.
//!
//! `$x`, `${x}`, `${x-y}`, `${x+y}`, `${x?y}` and their forms with `:`, `${x#p}`, `${x##p}`,
//! `${x%p}`, `${x%%p}`, `${x/p/r}`, `${x//p/r}`; single and double quotes; the escape character of
//! the file.
//!
//! Absent: command substitution, arithmetic, arrays, bracket expressions in patterns. `BuildKit`
//! has none of them.

mod glob;

use std::iter::Peekable;
use std::str::Chars;

use super::env::Env;

/// A word after expansion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// It named a variable that only the base image knows.
    pub(super) uncertain: bool,
}

/// Expands a word: quotes go, variables are replaced.
pub(super) fn expand(word: &str, escape: char, env: &Env) -> Result<Word, String> {
    let mut lexer = Lexer::new(word, escape, env, Mode::default());
    let (text, _) = lexer.run(None, false)?;
    env.spent.add(text.len())?;
    Ok(Word { text, uncertain: lexer.uncertain })
}

/// Splits a line into words without expanding it. Quotes stay when `raw`.
pub(super) fn words(line: &str, raw: bool) -> Result<Vec<String>, String> {
    let env = Env::default();
    let mode = Mode { raw_quotes: raw, skip_unset: true };
    Lexer::new(line, '\\', &env, mode).run(None, raw).map(|(_, words)| words)
}

#[derive(Clone, Copy, Default)]
struct Mode {
    raw_quotes: bool,
    /// A variable that is not set stays as it is written.
    skip_unset: bool,
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    env: &'a Env,
    mode: Mode,
    uncertain: bool,
    depth: usize,
    /// As long as the result may become, in bytes.
    limit: usize,
}

/// Longer results are refused, where they are longer than what was written: a few lines could ask
/// for all memory.
const MAX_LENGTH: usize = 1 << 20;

/// Nested `${…}` deeper than this are refused, where Go's stack would grow on.
const MAX_DEPTH: usize = 200;

/// The words of a line as they come together.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn push(&mut self, next: char) {
        if !next.is_whitespace() {
            self.word.push(next);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, env: &'a Env, mode: Mode) -> Self {
        let limit = text.len().max(MAX_LENGTH);
        Self { rest: text.chars().peekable(), escape, env, mode, uncertain: false, depth: 0, limit }
    }

    fn append(&self, text: &mut String, piece: &str) -> Result<(), String> {
        if text.len().saturating_add(piece.len()) > self.limit {
            return Err(glob::too_long());
        }
        text.push_str(piece);
        Ok(())
    }

    /// Reads up to `stop`, which is consumed, or to the end.
    fn run(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("substitutions are nested too deeply".to_owned());
        }
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(&next) = self.rest.peek() {
            if Some(next) == stop {
                self.rest.next();
                self.depth -= 1;
                return Ok((text, words.finish()));
            }
            let piece = self.piece(next, raw_escapes, &mut words)?;
            self.append(&mut text, &piece)?;
        }
        self.depth -= 1;
        match stop {
            Some(stop) => Err(format!("the word ends before its `{stop}`")),
            None => Ok((text, words.finish())),
        }
    }

    fn piece(&mut self, next: char, raw_escapes: bool, words: &mut Words) -> Result<String, String> {
        let piece = match next {
            '\'' => self.single_quoted()?,
            '"' => self.double_quoted(raw_escapes)?,
            '<' => self.maybe_heredoc(),
            '$' => {
                let value = self.dollar()?;
                value.chars().for_each(|c| words.push(c));
                return Ok(value);
            }
            _ => return Ok(self.plain(raw_escapes, words)),
        };
        words.word.push_str(&piece);
        Ok(piece)
    }

    fn plain(&mut self, raw_escapes: bool, words: &mut Words) -> String {
        let mut piece = String::new();
        let Some(next) = self.rest.next() else { return piece };
        if next != self.escape {
            words.push(next);
            piece.push(next);
            return piece;
        }
        if raw_escapes {
            piece.push(next);
        }
        piece.extend(self.rest.next());
        words.word.push_str(&piece);
        piece
    }

    fn quote(&self, text: String, quote: char) -> String {
        if self.mode.raw_quotes { format!("{quote}{text}{quote}") } else { text }
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next() {
                None => return Err("a `'` has no match".to_owned()),
                Some('\'') => return Ok(self.quote(text, '\'')),
                Some(other) => text.push(other),
            }
        }
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, String> {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.peek() {
                None => return Err("a `\"` has no match".to_owned()),
                Some('"') => {
                    self.rest.next();
                    return Ok(self.quote(text, '"'));
                }
                Some('$') => {
                    let value = self.dollar()?;
                    self.append(&mut text, &value)?;
                }
                Some(_) => self.quoted_char(raw_escapes, &mut text),
            }
        }
    }

    /// In double quotes the escape character escapes `"`, `$` and itself.
    fn quoted_char(&mut self, raw_escapes: bool, text: &mut String) {
        let Some(next) = self.rest.next() else { return };
        if next != self.escape {
            text.push(next);
            return;
        }
        if raw_escapes {
            text.push(next);
        }
        match self.rest.peek().copied() {
            None => {}
            Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.escape => {
                self.rest.next();
                text.push(escaped);
            }
            Some(_) => text.push(next),
        }
    }

    /// Keeps the white space of `<< EOF` in its word.
    fn maybe_heredoc(&mut self) -> String {
        self.rest.next();
        let mut text = String::from("<");
        if self.rest.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(space) = self.rest.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                text.push(space);
            }
        }
        text
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.rest.next();
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(match self.get(&name)? {
                _ if name.is_empty() => "$".to_owned(),
                None if self.mode.skip_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        if let Some('{' | '}' | ':') | None = self.rest.peek() {
            return Err("`${` is followed by no name".to_owned());
        }
        let name = self.name();
        match self.rest.next() {
            Some('}') => match self.get(&name)? {
                None if self.mode.skip_unset => Ok(format!("${{{name}}}")),
                value => Ok(value.unwrap_or_default()),
            },
            Some(':') => match self.rest.next() {
                Some(operator) if !matches!(operator, '#' | '%') => self.conditional(&name, operator, true),
                other => Err(unsupported(&format!(":{}", other.map_or(String::new(), String::from)))),
            },
            Some(operator @ ('+' | '-' | '?')) => self.conditional(&name, operator, false),
            Some(end @ ('#' | '%')) => self.trimmed(&name, end),
            Some('/') => self.replaced(&name),
            Some(other) => Err(unsupported(&other.to_string())),
            None => Err(format!("`${{{name}` has no `}}`")),
        }
    }

    /// Where what is not set stays, so does what only a shell understands (`${x:0:3}`).
    fn conditional(&mut self, name: &str, operator: char, null_is_unset: bool) -> Result<String, String> {
        let before = self.rest.clone();
        let (word, _) = self.run(Some('}'), false)?;
        let value = self.get(name)?;
        if value.is_none() && self.mode.skip_unset {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let value = value.filter(|value| !(null_is_unset && value.is_empty()));
        match (operator, value) {
            (other, _) if !matches!(other, '+' | '-' | '?') => Err(unsupported(&format!(":{other}"))),
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) | ('-', None) => Ok(word),
            (_, Some(value)) => Ok(value),
            (_, None) if self.env.is_doubtful(name) => Ok(String::new()),
            (_, None) if word.is_empty() => Err(format!("`{name}` has to be set")),
            // As it is written: the value of a variable may be a secret.
            (_, None) => Err(format!("{name}: {}", self.read_since(before))),
        }
    }

    /// What was read between there and the last character.
    fn read_since(&self, before: Peekable<Chars<'a>>) -> String {
        let length = before.clone().count().saturating_sub(self.rest.clone().count() + 1);
        before.take(length).collect()
    }

    fn trimmed(&mut self, name: &str, end: char) -> Result<String, String> {
        let (word, _) = self.run(Some('}'), true)?;
        let Some(value) = self.get(name)? else {
            let kept = format!("${{{name}{end}{word}}}");
            return Ok(if self.mode.skip_unset { kept } else { String::new() });
        };
        let (pattern, longest) = match word.strip_prefix(end) {
            Some(pattern) => (pattern, true),
            None => (word.as_str(), false),
        };
        if end == '#' {
            glob::trim_start(&value, pattern, longest)
        } else {
            glob::trim_end(&value, pattern, longest)
        }
    }

    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let (pattern, _) = self.run(Some('/'), true)?;
        let (replacement, _) = self.run(Some('}'), true)?;
        match self.get(name)? {
            None if self.mode.skip_unset => Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => glob::replace(&value.unwrap_or_default(), &pattern, &replacement, all, self.limit),
        }
    }

    /// A name of letters, digits and `_`, a number, or one special parameter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(digit) if digit.is_numeric() => {
                while let Some(digit) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {
                while let Some(part) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(part);
                }
            }
        }
        name
    }

    fn get(&mut self, name: &str) -> Result<Option<String>, String> {
        self.uncertain |= self.env.is_doubtful(name) && !name.is_empty();
        let value = self.env.value(name);
        self.env.spent.add(value.map_or(0, str::len))?;
        Ok(value.map(ToOwned::to_owned))
    }
}

fn unsupported(operator: &str) -> String {
    format!("`{operator}` is not an operator of substitutions")
}

#[cfg(test)]
mod tests {
    use super::super::env::Spent;
    use super::*;

    #[track_caller]
    fn expands(word: &str, want: &str) {
        let known = [("x", "abcabc"), ("e", ""), ("p", "a/b/c.tar.gz"), ("d", "1.2")];
        let known = known.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let env = Env::closed(known, &Spent::default());
        assert_eq!(expand(word, '\\', &env).map(|word| word.text).as_deref(), Ok(want), "{word}");
    }

    #[track_caller]
    fn refuses(word: &str) {
        assert!(expand(word, '\\', &Env::default()).is_err(), "{word}");
    }

    #[test]
    fn words_expand_as_in_buildkit() {
        let table = [
            ("$x", "abcabc"),
            ("${x}", "abcabc"),
            ("$x-y", "abcabc-y"),
            ("$nope", ""),
            ("a$", "a$"),
            ("\\$x", "$x"),
            ("'$x'", "$x"),
            ("\"$x\"", "abcabc"),
            ("\"\\$x\"", "$x"),
            ("\"a\\b\"", "a\\b"),
            ("a\\ b", "a b"),
            ("${nope:-y}", "y"),
            ("${nope-y}", "y"),
            ("${e:-y}", "y"),
            ("${e-y}", ""),
            ("${x:+y}", "y"),
            ("${e:+y}", ""),
            ("${e+y}", "y"),
            ("${nope+y}", ""),
            ("${nope:-${x}}", "abcabc"),
            ("${nope:-'a b'}", "a b"),
            ("${x#a}", "bcabc"),
            ("${x#*b}", "cabc"),
            ("${x##*b}", "c"),
            ("${x%c}", "abcab"),
            ("${x%b*}", "abca"),
            ("${x%%b*}", "a"),
            ("${p##*/}", "c.tar.gz"),
            ("${p%%.*}", "a/b/c"),
            ("${p%.*}", "a/b/c.tar"),
            ("${x/b/X}", "aXcabc"),
            ("${x//b/X}", "aXcaXc"),
            ("${x//?c/-}", "a-a-"),
            ("${p/\\//_}", "a_b/c.tar.gz"),
            ("${d%.*}", "1"),
            ("${x:?no}", "abcabc"),
            ("$0", ""),
            ("a<<b", "a<<b"),
        ];
        for (word, want) in table {
            expands(word, want);
        }
    }

    #[test]
    fn bad_substitutions_are_refused() {
        for word in
            ["${", "${}", "${x", "${x:", "${x:0:1}", "${{x}}", "'a", "\"a", "${x?}", "${x:?no}", "${x^}"]
        {
            refuses(word);
        }
        refuses(&"${x:-".repeat(100_000));
    }

    #[test]
    fn results_have_a_longest() {
        let known = [("x".to_owned(), "x".repeat(MAX_LENGTH / 2 + 1))].into_iter().collect();
        let env = Env::closed(known, &Spent::default());
        for word in ["$x$x", "\"$x$x\"", "${no:-$x$x}", "${x//?/$x}", "${x/x/$x}", "${x//$x/$x$x}"] {
            let refused = expand(word, '\\', &env).err();
            assert_eq!(refused, Some(glob::too_long()), "{word}");
        }
        assert!(expand("$x", '\\', &env).is_ok());
        assert!(words(&"x".repeat(2 * MAX_LENGTH), false).is_ok());
    }

    #[test]
    fn a_variable_that_only_the_base_may_set_is_uncertain() {
        let env = Env::empty(true, &Spent::default());
        assert!(expand("a/$HOME", '\\', &env).is_ok_and(|word| word.uncertain));
        assert!(expand("a/'$HOME'", '\\', &env).is_ok_and(|word| !word.uncertain));
    }
}
