//! Files of variables, `.env` among them, as compose reads them: `export`, quotes, comments, values
//! of several lines, variables in values.
//!
//! Pure. Limit: 4 MiB of values in one file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::interpolate::{Interpolation, Lookup, Unfit};

/// How many bytes all values of one file may have.
const MOST: usize = 4 << 20;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvFault {
    pub(crate) message: String,
    pub(crate) at: Range<usize>,
    pub(crate) help: String,
    /// Whether it is in a value.
    is_value: bool,
}

/// What stands for a value.
const MASK: &str = "***";

/// With each letter and digit masked.
fn masked(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() { '*' } else { plain(c) }).collect()
}

/// As it can be printed, letter by letter.
fn shown(text: &str) -> String {
    text.chars().map(plain).collect()
}

fn plain(c: char) -> char {
    match c {
        '\u{feff}' => ' ',
        c if c.is_control() && c != '\t' => '?',
        c => c,
    }
}

impl EnvFault {
    /// The same, of the value of this variable.
    fn of(self, name: &str) -> Self {
        if name.is_empty() {
            return self;
        }
        Self { message: format!("the value of `{name}`: {}", self.message), ..self }
    }

    /// The line of the text where it is, and the place in that. Nothing of a value is in it, nor of
    /// a name that is none: that may be the next line of a value without quotes.
    pub(crate) fn excerpt(&self, text: &str) -> (String, Range<usize>) {
        let start = text.get(..self.at.start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let line = text.get(start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default().trim_end();
        let at = self.at.start - start;
        let end = (self.at.end - start).min(line.len());
        let [before, marked, after] =
            [line.get(..at), line.get(at..end), line.get(end..)].map(Option::unwrap_or_default);
        if self.is_value {
            let before = shown(before);
            let place = before.len()..before.len() + MASK.len();
            return (before + MASK, place);
        }
        let (before, marked) = (masked(before), shown(marked));
        let place = before.len()..before.len() + marked.len();
        let name = after.split_inclusive(['=', ':']).next().unwrap_or_default();
        let rest = if name.len() < after.len() { MASK } else { "" };
        (format!("{before}{marked}{}{rest}", masked(name)), place)
    }

    /// The line and the column of the text where it is, from 1 on; columns are letters.
    pub(crate) fn place(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.at.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default().trim_start_matches('\u{feff}');
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// What is wrong with the variables of a value. A message of the file's own would show what is in
/// variables.
fn told(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Required { name, .. } => {
            Unfit::Required { name: name.clone(), why: String::new() }.to_string()
        }
        other => other.to_string(),
    }
}

/// Reads the variables of a file into those of the files before it. In values, `lookup` goes before
/// them.
///
/// # Errors
/// A name that none can have, quotes that do not end, a value whose variables cannot be put in.
pub(crate) fn read(
    text: &str,
    lookup: Lookup<'_>,
    variables: &mut BTreeMap<String, String>,
) -> Result<(), EnvFault> {
    let mut reader = Reader { text, at: 0, left: MOST };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    while reader.next_statement() {
        let (name, has_value) = reader.name()?;
        if has_value {
            let value = reader.value(lookup, variables).map_err(|fault| fault.of(&name))?;
            variables.insert(name, value);
        } else if let Some(value) = lookup(&name).or_else(|| variables.get(&name).cloned()) {
            variables.insert(name, value);
        }
    }
    Ok(())
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    left: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The rest of the line, without its end.
    fn line(&self) -> &'t str {
        self.rest().split('\n').next().unwrap_or_default()
    }

    /// Passes over blanks.
    fn pass(&mut self, is_blank: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_blank).len();
    }

    /// Goes to the next name; `false` at the end.
    fn next_statement(&mut self) -> bool {
        loop {
            self.pass(char::is_whitespace);
            if !self.rest().starts_with('#') {
                return !self.rest().is_empty();
            }
            self.at += self.line().len();
        }
    }

    /// The name, and whether it has a value: without, it is taken from elsewhere.
    fn name(&mut self) -> Result<(String, bool), EnvFault> {
        if let Some(after) = self.rest().strip_prefix("export").filter(|after| after.starts_with(is_space)) {
            self.at = self.text.len() - after.len();
            self.pass(is_space);
        }
        let line = self.line();
        let end = line.find(['=', ':']);
        let written = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
        let name = written.trim();
        let start = self.at;
        let bad = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'));
        if let Some((at, letter)) = name.char_indices().find(|(_, c)| bad(*c)) {
            let at = start + at..start + at + letter.len_utf8();
            let message = if letter.is_whitespace() {
                "a name has a blank".to_owned()
            } else {
                format!("`{letter}` cannot be in a variable's name")
            };
            return Err(EnvFault {
                message,
                at,
                help: "write `NAME=value`; a comment begins with `#`".to_owned(),
                is_value: false,
            });
        }
        self.at += end.map_or(line.len(), |end| end + 1);
        if end.is_some() {
            self.pass(is_space);
        }
        Ok((name.to_owned(), end.is_some()))
    }

    fn value(
        &mut self,
        lookup: Lookup<'_>,
        variables: &BTreeMap<String, String>,
    ) -> Result<String, EnvFault> {
        let start = self.at;
        let quote = self.rest().chars().next().filter(|first| matches!(first, '"' | '\''));
        let (value, expands) = if let Some(quote) = quote {
            let text = self.quoted(quote)?;
            if quote == '"' { (unescaped(&text), true) } else { (text, false) }
        } else {
            let line = self.line();
            self.at += line.len();
            let value = line.split_once(" #").map_or(line, |(value, _)| value);
            (value.trim_end().to_owned(), true)
        };
        if !expands {
            return self.counted(value, start);
        }
        let known = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
        let mut interpolation = Interpolation::new(&known, self.left);
        let value = interpolation.apply(&value).map_err(|unfit| EnvFault {
            message: told(&unfit),
            at: start..self.at,
            help: format!("{}; between single quotes, `$` stands for itself", unfit.help()),
            is_value: true,
        })?;
        self.counted(value, start)
    }

    fn counted(&mut self, value: String, start: usize) -> Result<String, EnvFault> {
        self.left = self.left.checked_sub(value.len()).ok_or_else(|| EnvFault {
            message: "the file's values are too long together".to_owned(),
            at: start..self.at,
            help: "no more than 4 MiB of variables are taken from one file".to_owned(),
            is_value: true,
        })?;
        Ok(value)
    }

    /// What stands between quotes, which may be on another line: with backslashes as they are, but
    /// for those before a quote.
    fn quoted(&mut self, quote: char) -> Result<String, EnvFault> {
        let start = self.at;
        let mut text = String::new();
        let mut is_escaped = false;
        for (at, next) in self.rest().char_indices().skip(1) {
            match (next, is_escaped) {
                (next, true) if next == quote => text.push(next),
                (next, false) if next == quote => {
                    self.at = start + at + quote.len_utf8();
                    return Ok(text);
                }
                ('\\', false) => {
                    is_escaped = true;
                    continue;
                }
                (next, true) => text.extend(['\\', next]),
                (next, false) => text.push(next),
            }
            is_escaped = false;
        }
        Err(EnvFault {
            message: "the quotes do not end".to_owned(),
            at: start..start + self.line().trim_end().len(),
            help: format!("a value that begins with {quote} ends with {quote}"),
            is_value: true,
        })
    }
}

/// A blank that does not end the line.
fn is_space(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// Puts in what backslashes stand for between double quotes.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        let next = chars.next();
        rest = chars.as_str();
        match next {
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            Some('$') => out.push_str("$$"),
            Some(same @ ('"' | '\\')) => out.push(same),
            Some('0') => {
                let digits: String = rest.chars().take(3).take_while(|c| c.is_digit(8)).collect();
                match u32::from_str_radix(&digits, 8)
                    .ok()
                    .filter(|_| digits.len() == 3)
                    .and_then(char::from_u32)
                {
                    Some(letter) => {
                        out.push(letter);
                        rest = rest.get(3..).unwrap_or_default();
                    }
                    None => out.push_str("\\0"),
                }
            }
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outer(name: &str) -> Option<String> {
        (name == "OUTER").then(|| "o".to_owned())
    }

    #[track_caller]
    fn gives(text: &str, expected: &[(&str, &str)]) {
        let mut variables = BTreeMap::new();
        read(text, &outer, &mut variables).unwrap_or_else(|fault| panic!("{text:?}: {fault:?}"));
        let pairs: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expected, "{text:?}");
    }

    #[test]
    fn lines_are_read_as_compose_does() {
        gives(
            "A=1\n# no\n\n  B = two words  # no\nC=a#b\nD=#x\n",
            &[("A", "1"), ("B", "two words"), ("C", "a#b"), ("D", "#x")],
        );
        gives(
            "\u{feff}export A=1\r\nexport\tB: 2\r\nexported=3",
            &[("A", "1"), ("B", "2"), ("exported", "3")],
        );
        gives("A=\nB=\"\"\nC=''", &[("A", ""), ("B", ""), ("C", "")]);
        gives("OUTER\nNONE\n", &[("OUTER", "o")]);
        gives("OUTER", &[("OUTER", "o")]);
        gives("a.b-c[0]=1", &[("a.b-c[0]", "1")]);
        gives("A=x=y:z", &[("A", "x=y:z")]);
    }

    #[test]
    fn quotes_keep_what_is_between_them() {
        gives("A='it # is' # no\nB=\"x # y\"", &[("A", "it # is"), ("B", "x # y")]);
        gives("A=\"one\ntwo\"\nB='\n'", &[("A", "one\ntwo"), ("B", "\n")]);
        gives(r#"A="a\n\"b\"\t\\\q""#, &[("A", "a\n\"b\"\t\\\\q")]);
        gives(r"A='a\n\'b\'\\'", &[("A", r"a\n'b'\\")]);
        gives(r#"A="\0101\07""#, &[("A", "A\\07")]);
    }

    #[test]
    fn values_have_variables_but_between_single_quotes() {
        gives(
            "A=1\nB=$A-${A}\nC=\"${NONE:-x}$OUTER\"\nD='$A'",
            &[("A", "1"), ("B", "1-1"), ("C", "xo"), ("D", "$A")],
        );
        gives(
            r#"A="\$B"
B=$$C"#,
            &[("A", "$B"), ("B", "$C")],
        );
        gives("OUTER=mine\nA=$OUTER", &[("A", "o"), ("OUTER", "mine")]);
    }

    #[test]
    fn what_is_wrong_is_marked() {
        let marked = |text: &str| {
            let fault = read(text, &outer, &mut BTreeMap::new()).expect_err(text);
            (fault.message, text[fault.at].to_owned())
        };
        assert_eq!(marked("A=1\nB C=2"), ("a name has a blank".into(), " ".into()));
        assert_eq!(marked("A!=2"), ("`!` cannot be in a variable's name".into(), "!".into()));
        assert_eq!(marked("A=\"x\nB=1"), ("the value of `A`: the quotes do not end".into(), "\"x".into()));
        assert_eq!(marked("='x").0, "the quotes do not end");
        assert_eq!(marked("A=b$"), ("the value of `A`: a `$` that names no variable".into(), "b$".into()));
        assert_eq!(marked("A=${NONE:?$OUTER}").0, "the value of `A`: the variable `NONE` is not set");
        let doubling = (0..64).map(|at| format!("A{}=$A{at}$A{at}\n", at + 1)).collect::<Vec<_>>().concat();
        assert_eq!(
            marked(&format!("A0=xxxxxxxx\n{doubling}")).0,
            "the value of `A19`: its variables make too much of it"
        );
    }

    #[test]
    fn the_excerpt_has_no_value_and_marks_the_place() {
        let shown = |text: &str| {
            let fault = read(text, &outer, &mut BTreeMap::new()).expect_err(text);
            let (line, at) = fault.excerpt(text);
            let marked = line.get(at).expect("a place").to_owned();
            (line, marked)
        };
        let is = |text: &str, line: &str, marked: &str| {
            assert_eq!(shown(text), (line.to_owned(), marked.to_owned()), "{text:?}");
        };
        is("A=s3cret\n export TOKEN = 's3cret\nmore", " export TOKEN = ***", "***");
        is("A='s3cret\r\nmore'\r\nB=\"s3cret\r\n", "B=***", "***");
        is("B C=s3cret # x", "* *=***", " ");
        is("A=-----KEY\nMIIs3cret+abc/=\n", "*********+***/=", "+");
        is("A!", "*!", "!");
        is("\u{feff}Ä=b$s3cret${", "\u{20}Ä=***", "***");
        is("A\u{7}B=s3cret", "*?*=***", "?");
        is("A\u{a0}B=s3cret", "*\u{a0}*=***", "\u{a0}");
    }

    #[test]
    fn the_place_is_a_line_and_a_column() {
        let place = |text: &str| {
            let fault = read(text, &outer, &mut BTreeMap::new()).expect_err(text);
            fault.place(text)
        };
        assert_eq!(place("A=1\n  ÄB = 'x\ny"), (2, 8));
        assert_eq!(place("\u{feff}A='x"), (1, 3));
        assert_eq!(place("A='x\ny'\r\nB!=1"), (3, 2));
    }
}
