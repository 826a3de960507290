//! Strangers' words, made fit for a terminal: names, types and messages come out of archives,
//! registries and files of others, and a control character in them could move the cursor, set the
//! title, or hide what follows.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with its control characters shown (`\u{1b}`) and not sent, those of lines and columns
/// too.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) { Cow::Owned(without(text, false)) } else { Cow::Borrowed(text) }
}

/// The same for a text of several lines that may be in colour: ends of lines, tabs and colours
/// stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    without(text, true)
}

fn without(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kept = match first {
            '\n' | '\t' if lines => 1,
            '\u{1b}' if lines => colour(rest),
            first if first.is_control() => 0,
            first => first.len_utf8(),
        };
        out.push_str(&rest[..kept]);
        if kept == 0 {
            // A string takes all that is written to it.
            let _ = write!(out, "{}", first.escape_default());
        }
        rest = &rest[kept.max(first.len_utf8())..];
    }
    out
}

/// The length of the sequence for a colour that the text begins with; 0 where it is another.
fn colour(text: &str) -> usize {
    let Some(numbers) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = numbers.find(|char: char| !matches!(char, '0'..='9' | ';')).unwrap_or(numbers.len());
    if numbers[end..].starts_with('m') { end + 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_stays() {
        for text in ["", "app:latest", "größer \\ „so“", "a b"] {
            assert_eq!(printable(text), text);
            assert_eq!(printable_lines(text), text);
        }
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(printable("a\u{1b}[31m\nb\0\u{9b}c"), "a\\u{1b}[31m\\nb\\u{0}\\u{9b}c");
        assert_eq!(printable_lines("a\u{1b}]0;title\u{7}\r\nb"), "a\\u{1b}]0;title\\u{7}\\r\nb");
    }

    #[test]
    fn colours_stay_where_there_are_lines() {
        let text = "\u{1b}[1;31mx\u{1b}[0m\n\ty";
        assert_eq!(printable_lines(text), text);
        for other in ["\u{1b}[2J", "\u{1b}[", "\u{1b}", "\u{1b}[1"] {
            assert!(!printable_lines(other).contains('\u{1b}'), "{other:?}");
        }
    }
}
