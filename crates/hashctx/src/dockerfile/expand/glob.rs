//! Shell patterns of substitutions: `*`, `?` and `\`-escapes, as regular expressions.

use regex::Regex;

/// The text without a matching start, the shortest one or the longest one.
pub(super) fn trim_start(text: &str, pattern: &str, longest: bool) -> Result<String, String> {
    let regex = compile(pattern, longest, true)?;
    let end = regex.find(text).map_or(0, |found| found.end());
    Ok(text.get(end..).unwrap_or_default().to_owned())
}

/// The text without a matching end: the same on both reversed, since a search runs from the left.
pub(super) fn trim_end(text: &str, pattern: &str, longest: bool) -> Result<String, String> {
    let turned = |text: &str| text.chars().rev().collect::<String>();
    trim_start(&turned(text), &reversed(pattern), longest).map(|rest| turned(&rest))
}

/// The text with the first match, or every match, replaced. Replacing every match expands `$1` and
/// its like, which no pattern can capture, to nothing.
pub(super) fn replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    all: bool,
    limit: usize,
) -> Result<String, String> {
    let regex = compile(pattern, true, false)?;
    let (mut replaced, mut end) = (String::new(), 0);
    for found in regex.captures_iter(text).take(if all { usize::MAX } else { 1 }) {
        let range = found.get_match().range();
        replaced.push_str(text.get(end..range.start).unwrap_or_default());
        end = range.end;
        if all {
            found.expand(replacement, &mut replaced);
        } else {
            replaced.push_str(replacement);
        }
        if replaced.len() > limit {
            return Err(too_long());
        }
    }
    replaced.push_str(text.get(end..).unwrap_or_default());
    Ok(replaced)
}

/// Why an expansion is refused whose result outgrows every use.
pub(super) fn too_long() -> String {
    "the result of a substitution is too long".to_owned()
}

/// Reverses a pattern; an escape stays before what it escapes.
fn reversed(pattern: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        let escaped = if next == '\\' { rest.next() } else { None };
        parts.push(String::from(next) + &escaped.map_or(String::new(), String::from));
    }
    parts.into_iter().rev().collect()
}

/// Errors do not show the pattern: what a variable is in it may be a secret.
fn compile(pattern: &str, longest: bool, at_start: bool) -> Result<Regex, String> {
    let mut regex = String::from(if at_start { "^" } else { "" });
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '*' => regex.push_str(if longest { ".*" } else { ".*?" }),
            '?' => regex.push('.'),
            // These two are escaped for the substitution's own sake.
            '\\' if matches!(rest.peek(), Some('}' | '/')) => {}
            '\\' => match rest.next() {
                Some(escaped @ ('*' | '?' | '\\')) => regex.push_str(&regex::escape(&escaped.to_string())),
                _ => {
                    return Err(
                        "the pattern of a substitution has an escape that means nothing there".to_owned()
                    );
                }
            },
            plain => regex.push_str(&regex::escape(&plain.to_string())),
        }
    }
    Regex::new(&regex).map_err(|_| "the pattern of a substitution is too large".to_owned())
}
