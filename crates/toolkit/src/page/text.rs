//! Text on a page: names come from anybody.

use std::fmt::Write;

/// The text as it may stand in the content of an element, or in an attribute between double quotes.
/// Characters that are not shown, or that turn the direction of what follows, are written as their
/// numbers.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No page may have these, and others would be seen as something else.
            char if char.is_control() || is_unseen(char) => {
                // A string takes all that is written to it.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out
}

/// Marks of direction, blanks without width, and what is no character.
fn is_unseen(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}')
}

/// The beginning of a text, where it is longer than so many characters.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_place() {
        assert_eq!(escaped("<b a='1' b=\"2\">&"), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;");
        assert_eq!(escaped("a\n\u{0}\u{202e}b\u{1b}é"), "a\\u{a}\\u{0}\\u{202e}b\\u{1b}é");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!((cut("äbc", 3), cut("äbcd", 3), cut("ab", 0)), ("äbc".into(), "äb…".into(), "…".into()));
    }
}
