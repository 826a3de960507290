//! The tags of an HTML document, as tolerantly as browsers read them: what is not a tag is passed
//! over.
//!
//! Deliberately absent: the tree, the text between tags, and most names for characters.
//!
//! Source: the WHATWG's HTML standard, 13.2.5.

use std::io::Read;

use crate::ecosystem::BadIndex;
use crate::ecosystem::text::Text;

/// A tag has no more characters in its attributes.
const LONGEST: usize = 1 << 20;
/// A tag has no more attributes.
const MOST: usize = 64;
/// What is in these is not markup.
const RAW: [&str; 8] = ["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"];

/// The beginning of an element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// In lower case.
    pub(super) name: String,
    /// Names in lower case, values without escapes.
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// The value of an attribute; an attribute without one has an empty one.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The name of an attribute that is there twice: readers differ in which of them counts.
    #[must_use]
    pub(super) fn repeated(&self) -> Option<&str> {
        let names = || self.attributes.iter().map(|(name, _)| name.as_str());
        names()
            .enumerate()
            .find(|(at, name)| names().take(*at).any(|other| other == *name))
            .map(|(_, name)| name)
    }
}

/// Reads tags.
pub(super) struct Markup<'r> {
    text: Text<'r>,
}

impl<'r> Markup<'r> {
    pub(super) fn new(document: &'r mut dyn Read) -> Self {
        Self { text: Text::new(document) }
    }

    /// The next beginning of an element; `None` at the end.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(super) fn next(&mut self) -> Result<Option<Tag>, BadIndex> {
        while self.pass(b"<")? {
            match self.text.peek()? {
                Some(b'!') => self.declaration()?,
                Some(b'?' | b'/') => _ = self.pass(b">")?,
                Some(byte) if byte.is_ascii_alphabetic() => {
                    // One that the document's end cuts short is not a tag.
                    let Some(tag) = self.tag()? else { return Ok(None) };
                    if RAW.contains(&tag.name.as_str()) {
                        self.raw(&tag.name)?;
                    }
                    return Ok(Some(tag));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next byte, taken.
    fn byte(&mut self) -> Result<Option<u8>, BadIndex> {
        let byte = self.text.peek()?;
        self.text.take(1);
        Ok(byte)
    }

    /// Passes over what comes before any of these, and over that itself. Returns whether there was
    /// one.
    fn pass(&mut self, ends: &[u8]) -> Result<bool, BadIndex> {
        loop {
            let at_hand = self.text.at_hand()?;
            if at_hand.is_empty() {
                return Ok(false);
            }
            let (count, end) = (at_hand.len(), at_hand.iter().position(|byte| ends.contains(byte)));
            self.text.take(end.map_or(count, |at| at + 1));
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// A comment, or what else begins with `<!`.
    fn declaration(&mut self) -> Result<(), BadIndex> {
        self.byte()?;
        for _ in 0..2 {
            if self.text.peek()? != Some(b'-') {
                return self.pass(b">").map(|_| ());
            }
            self.byte()?;
        }
        // `<!-->` and `<!--->` are whole comments.
        let (mut dashes, mut first) = (2, true);
        while let Some(byte) = self.byte()? {
            match byte {
                b'-' => dashes += 1,
                b'>' if dashes >= 2 => return Ok(()),
                b'!' if dashes >= 2 && !first => {
                    if self.text.peek()? == Some(b'>') {
                        self.byte()?;
                        return Ok(());
                    }
                    dashes = 0;
                }
                _ => dashes = 0,
            }
            first = false;
        }
        Ok(())
    }

    /// What is in an element whose content is not markup, with its end.
    fn raw(&mut self, name: &str) -> Result<(), BadIndex> {
        while self.pass(b"<")? {
            if self.text.peek()? != Some(b'/') {
                continue;
            }
            self.byte()?;
            let mut rest = name.bytes();
            let ended = loop {
                match (rest.next(), self.text.peek()?) {
                    (Some(expected), Some(byte)) if byte.eq_ignore_ascii_case(&expected) => {
                        self.text.take(1);
                    }
                    (None, Some(byte)) => break byte == b'>' || byte == b'/' || byte.is_ascii_whitespace(),
                    _ => break false,
                }
            };
            if ended {
                self.pass(b">")?;
                return Ok(());
            }
        }
        Ok(())
    }

    fn tag(&mut self) -> Result<Option<Tag>, BadIndex> {
        let mut room = LONGEST;
        let name = self.run(&mut room, |byte| !is_space(byte) && byte != b'/' && byte != b'>')?;
        let mut tag = Tag { name: name.to_ascii_lowercase(), attributes: Vec::new() };
        loop {
            self.run(&mut room, |byte| is_space(byte) || byte == b'/')?;
            match self.text.peek()? {
                None => return Ok(None),
                Some(b'>') => {
                    self.byte()?;
                    return Ok(Some(tag));
                }
                Some(_) => {}
            }
            let Some(attribute) = self.attribute(&mut room)? else { return Ok(None) };
            if tag.attributes.len() == MOST {
                return Err(BadIndex::TooLarge("the page has a tag with too many attributes"));
            }
            tag.attributes.push(attribute);
        }
    }

    /// An attribute; `None` where the document ends in it.
    fn attribute(&mut self, room: &mut usize) -> Result<Option<(String, String)>, BadIndex> {
        // A `=` at the beginning is part of the name.
        let first = if self.text.peek()? == Some(b'=') { "=" } else { "" };
        self.text.take(first.len());
        let name = self.run(room, |byte| !is_space(byte) && !b"/>=".contains(&byte))?;
        let name = format!("{first}{}", name.to_ascii_lowercase());
        self.run(room, is_space)?;
        if self.text.peek()? != Some(b'=') {
            return Ok(Some((name, String::new())));
        }
        self.byte()?;
        self.run(room, is_space)?;
        let value = match self.text.peek()? {
            None => return Ok(None),
            Some(quote @ (b'"' | b'\'')) => {
                self.byte()?;
                let value = self.run(room, |byte| byte != quote)?;
                if self.byte()?.is_none() {
                    return Ok(None);
                }
                value
            }
            Some(_) => self.run(room, |byte| !is_space(byte) && byte != b'>')?,
        };
        Ok(Some((name, unescaped(&value))))
    }

    /// What is like this, taken.
    fn run(&mut self, room: &mut usize, is_like: impl Fn(u8) -> bool) -> Result<String, BadIndex> {
        let mut run = String::new();
        loop {
            let at_hand = self.text.at_hand()?;
            let count = at_hand.iter().position(|byte| !is_like(*byte)).unwrap_or(at_hand.len());
            let whole = count < at_hand.len() || count == 0;
            *room =
                room.checked_sub(count).ok_or(BadIndex::TooLarge("the page has a tag that is too long"))?;
            // Cut at ASCII or where another character ends.
            run.push_str(&String::from_utf8_lossy(at_hand.get(..count).unwrap_or_default()));
            self.text.take(count);
            if whole {
                return Ok(run);
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    b" \t\n\x0c\r".contains(&byte)
}

/// The text with escapes as the characters that they stand for. Of names, only those of the
/// characters that have to be escaped are known; others stay as they are.
fn unescaped(value: &str) -> String {
    let mut written = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once('&') {
        written.push_str(before);
        let (c, length) = character(behind).unwrap_or(('&', 0));
        written.push(c);
        rest = behind.get(length..).unwrap_or_default();
    }
    written.push_str(rest);
    written
}

/// The character that stands behind a `&`, and how long that is.
fn character(behind: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 5] =
        [("amp;", '&'), ("lt;", '<'), ("gt;", '>'), ("quot;", '"'), ("apos;", '\'')];
    let named = NAMES.iter().find(|(name, _)| behind.starts_with(name));
    if let Some((name, c)) = named {
        return Some((*c, name.len()));
    }
    let number = behind.strip_prefix('#')?;
    let (digits, radix) = number.strip_prefix(['x', 'X']).map_or((number, 10), |digits| (digits, 16));
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let digits = digits.get(..length).filter(|digits| !digits.is_empty())?;
    // What is not a character is written as the mark for that.
    let c = u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).filter(|c| *c != '\0');
    let prefix = 1 + usize::from(radix == 16) + length;
    let end = usize::from(behind.get(prefix..).is_some_and(|rest| rest.starts_with(';')));
    Some((c.unwrap_or('\u{fffd}'), prefix + end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(text: &str) -> Vec<Tag> {
        let mut input = text.as_bytes();
        let mut markup = Markup::new(&mut input);
        std::iter::from_fn(|| markup.next().unwrap()).collect()
    }

    #[track_caller]
    fn has(text: &str, expected: &[(&str, &[(&str, &str)])]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let expected: Vec<Tag> = expected
            .iter()
            .map(|(name, attributes)| Tag {
                name: (*name).to_owned(),
                attributes: attributes.iter().map(owned).collect(),
            })
            .collect();
        assert_eq!(tags(text), expected, "{text}");
    }

    #[test]
    fn attributes_are_read_however_they_are_written() {
        has(
            "<A HREF='a' x y=1 z = \"2\">t</A>",
            &[("a", &[("href", "a"), ("x", ""), ("y", "1"), ("z", "2")])],
        );
        has("<a\thref=a/b><br/><p/a>", &[("a", &[("href", "a/b")]), ("br", &[]), ("p", &[("a", "")])]);
        has("<a href=\"a>b\"c='&gt;'>", &[("a", &[("href", "a>b"), ("c", ">")])]);
        has("<a =x=y>", &[("a", &[("=x", "y")])]);
    }

    #[test]
    fn escapes_are_read() {
        let text = "<a b='&lt;&amp;amp;&#39;&#x3C;&#x3c &#1114112;&#0;&nbsp;&amp&'>";
        has(text, &[("a", &[("b", "<&amp;'<< \u{fffd}\u{fffd}&nbsp;&amp&")])]);
    }

    #[test]
    fn what_is_not_markup_is_passed_over() {
        has("<!DOCTYPE html><?x <a>?></a 1 < 2 <3 <>", &[]);
        has(
            "<!-- <a> --><!--><b><!---><c><!--x--!><d><!-- <e> -- > <f>",
            &[("b", &[]), ("c", &[]), ("d", &[])],
        );
        has("<script>'<a>'</scriptx><b></SCRIPT ><i>", &[("script", &[]), ("i", &[])]);
        has("<title>&lt;a><a></title>", &[("title", &[])]);
    }

    #[test]
    fn a_tag_that_is_cut_short_is_not_one() {
        for text in ["<a", "<a ", "<a href", "<a href=", "<a href=x", "<a href='x>", "<a href='x'"] {
            has(text, &[]);
        }
    }

    #[test]
    fn no_tag_is_larger_than_a_page_needs() {
        let refused = |text: String| {
            let mut input = text.as_bytes();
            assert!(matches!(Markup::new(&mut input).next(), Err(BadIndex::TooLarge(_))));
        };
        refused(format!("<a href='{}'>", "a".repeat(LONGEST + 1)));
        refused(format!("<a{}", " a=1".repeat(65)));
        refused(format!("<{}", "a".repeat(LONGEST + 1)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(<|>|/|!|-|=|'|\"|&|#|x|;|a|script|\\PC){0,60}") {
            tags(&text);
        }
    }
}
