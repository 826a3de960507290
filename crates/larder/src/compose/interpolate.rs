//! Variables in texts: `$NAME`, `${NAME}`, and what counts with or without them, as compose has it.
//!
//! Pure. Limits: 20 variables within one another, and what all texts of a file become together:
//! variables whose values have variables can multiply.

use std::fmt;

/// Where variables are looked up; `None` for one that is not set.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How many variables may stand within one another.
const DEEPEST: usize = 20;

/// Why a text's variables cannot be put in. Places are bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A `$` that names no variable.
    Invalid { at: usize },
    /// `${NAME:?why}`, and it is not set.
    Required { name: String, why: String },
    /// They are nested too deeply, or the text gets too long.
    TooMuch,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { .. } => f.write_str("a `$` that names no variable"),
            Self::Required { name, why } if why.is_empty() => write!(f, "the variable `{name}` is not set"),
            Self::Required { name, why } => write!(f, "the variable `{name}` is not set: {why}"),
            Self::TooMuch => f.write_str("its variables make too much of it"),
        }
    }
}

impl Unfit {
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Invalid { .. } => {
                "write `$$` for the sign itself, and `${NAME}`, `${NAME:-else}`, `${NAME:?message}` or `${NAME:+then}` for variables".to_owned()
            }
            Self::Required { name, .. } => format!("set `{name}` in the environment, or in `.env`"),
            Self::TooMuch => "variables whose values have variables multiply: write some of it out".to_owned(),
        }
    }
}

/// Puts variables into texts.
pub(crate) struct Interpolation<'a> {
    lookup: Lookup<'a>,
    /// How many bytes may still be made.
    left: usize,
    /// The variables that are not set and for which nothing is given.
    pub(crate) unset: Vec<String>,
}

/// What stands behind a variable's name in its braces.
enum Word<'t> {
    None,
    Else { empty_too: bool, word: &'t str },
    Then { empty_too: bool, word: &'t str },
    Required { empty_too: bool, word: &'t str },
}

impl<'a> Interpolation<'a> {
    /// `most`: how many bytes all texts may have together.
    pub(crate) fn new(lookup: Lookup<'a>, most: usize) -> Self {
        Self { lookup, left: most, unset: Vec::new() }
    }

    /// The text with its variables put in.
    pub(crate) fn apply(&mut self, text: &str) -> Result<String, Unfit> {
        self.apply_at(text, 0, 0)
    }

    /// The same of a part that begins at `start` of the whole.
    fn apply_at(&mut self, text: &str, start: usize, depth: usize) -> Result<String, Unfit> {
        if depth > DEEPEST {
            return Err(Unfit::TooMuch);
        }
        let mut out = String::new();
        let mut at = 0;
        while let Some((before, after)) = text.get(at..).unwrap_or_default().split_once('$') {
            self.push(&mut out, before)?;
            let dollar = at + before.len();
            let invalid = Unfit::Invalid { at: start + dollar };
            let used = match after.as_bytes() {
                [b'$', ..] => {
                    self.push(&mut out, "$")?;
                    1
                }
                [b'{', ..] => {
                    let end = closing(after).ok_or_else(|| invalid.clone())?;
                    let inside = after.get(1..end).unwrap_or_default();
                    let value = self.braced(inside, start + dollar + 2, depth, invalid)?;
                    self.push(&mut out, &value)?;
                    end + 1
                }
                _ => {
                    let name = name_of(after);
                    if name.is_empty() {
                        return Err(invalid);
                    }
                    let value = self.plain(name);
                    self.push(&mut out, &value)?;
                    name.len()
                }
            };
            at = dollar + 1 + used;
        }
        self.push(&mut out, text.get(at..).unwrap_or_default())?;
        Ok(out)
    }

    fn push(&mut self, out: &mut String, text: &str) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(text.len()).ok_or(Unfit::TooMuch)?;
        out.push_str(text);
        Ok(())
    }

    fn plain(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            if !self.unset.iter().any(|unset| unset == name) {
                self.unset.push(name.to_owned());
            }
            String::new()
        })
    }

    /// What `${…}` stands for; `start`: where its inside begins.
    fn braced(&mut self, inside: &str, start: usize, depth: usize, invalid: Unfit) -> Result<String, Unfit> {
        let name = name_of(inside);
        let word = word_of(inside.get(name.len()..).unwrap_or_default()).filter(|_| !name.is_empty());
        let nested =
            |this: &mut Self, word: &str| this.apply_at(word, start + (inside.len() - word.len()), depth + 1);
        let set = |this: &Self, empty_too: bool| {
            (this.lookup)(name).filter(|value| !(empty_too && value.is_empty()))
        };
        match word.ok_or(invalid)? {
            Word::None => Ok(self.plain(name)),
            Word::Else { empty_too, word } => match set(self, empty_too) {
                Some(value) => Ok(value),
                None => nested(self, word),
            },
            Word::Then { empty_too, word } => match set(self, empty_too) {
                Some(_) => nested(self, word),
                None => Ok(String::new()),
            },
            Word::Required { empty_too, word } => match set(self, empty_too) {
                Some(value) => Ok(value),
                None => Err(Unfit::Required { name: name.to_owned(), why: nested(self, word)? }),
            },
        }
    }
}

/// The variable's name that the text begins with.
fn name_of(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or_default();
    if name.starts_with(|c: char| c.is_ascii_digit()) { "" } else { name }
}

fn word_of(text: &str) -> Option<Word<'_>> {
    let (empty_too, rest) = match text.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut chars = rest.chars();
    let sign = chars.next();
    let word = chars.as_str();
    match sign {
        None if !empty_too => Some(Word::None),
        Some('-') => Some(Word::Else { empty_too, word }),
        Some('+') => Some(Word::Then { empty_too, word }),
        Some('?') => Some(Word::Required { empty_too, word }),
        _ => None,
    }
}

/// Where the brace closes that the text begins with: braces within it are counted.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 1 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let set = [("A", "1"), ("EMPTY", ""), ("D", "$A")];
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn applied(text: &str) -> Result<String, Unfit> {
        Interpolation::new(&variable, 1000).apply(text)
    }

    #[test]
    fn variables_are_put_in_as_compose_does() {
        for (text, expected) in [
            ("x$A${A}y", "x11y"),
            ("$A_$Ab", ""),
            ("a $$A $${A}", "a $A ${A}"),
            ("${NONE-}${NONE:-x}${EMPTY:-y}${EMPTY-z}", "xy"),
            ("${A:-x}${A-x}", "11"),
            ("${A:+then}${A+then}${EMPTY:+t}${EMPTY+t}${NONE+t}", "thenthent"),
            ("${A?no}${EMPTY?no}", "1"),
            ("${NONE:-${A}-${EMPTY:-{x}}}!", "1-{x}!"),
            ("${NONE:-a:-b?c}", "a:-b?c"),
            ("${D}", "$A"),
            ("${A}-${NONE:-x}", "1-x"),
            ("}{", "}{"),
        ] {
            assert_eq!(applied(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_variable_is_refused_where_it_stands() {
        for (text, at) in [
            ("a $", 2),
            ("$5", 0),
            ("x${", 1),
            ("${A", 0),
            ("${}", 0),
            ("${1}", 0),
            ("${A b}", 0),
            ("${A:}", 0),
            ("${NONE:-x$}", 9),
            ("$ü", 0),
        ] {
            assert_eq!(applied(text), Err(Unfit::Invalid { at }), "{text}");
        }
    }

    #[test]
    fn a_variable_that_must_be_set_says_why() {
        let required = |text: &str| applied(text).expect_err("it is not set").to_string();
        assert_eq!(required("${NONE:?say ${A}}"), "the variable `NONE` is not set: say 1");
        assert_eq!(required("${EMPTY:?}"), "the variable `EMPTY` is not set");
    }

    #[test]
    fn what_is_not_set_is_noted_once() {
        let mut interpolation = Interpolation::new(&variable, 1000);
        assert_eq!(interpolation.apply("$NONE${NONE}$A").as_deref(), Ok("1"));
        assert_eq!(interpolation.unset, ["NONE"]);
    }

    #[test]
    fn what_multiplies_ends() {
        let deep = format!("{}x{}", "${N:-".repeat(100), "}".repeat(100));
        assert_eq!(applied(&deep), Err(Unfit::TooMuch));
        assert_eq!(applied(&"$A".repeat(1001)), Err(Unfit::TooMuch));
    }
}
