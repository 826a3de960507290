//! The smallest parts of a document: strings, numbers, words and the space between them, each
//! handed on as it was read.

use std::borrow::Cow;
use std::io::Read;

use super::Editor;
use crate::ecosystem::BadIndex;
use crate::ecosystem::text::Text;

/// A string has no more bytes.
const LONGEST: usize = 16 << 20;
/// A string that is looked at has no more.
const LONGEST_SEEN: usize = 1 << 20;
/// A key has no more: those that lead to a value are all in memory.
const LONGEST_KEY: usize = 64 << 10;
/// Between two values there is no more space.
const WIDEST: usize = 64 << 10;
/// A number has no more digits.
const LONGEST_NUMBER: usize = 1 << 10;

const TOO_LONG: BadIndex = BadIndex::TooLarge("the index has a string, a number or a space that is too long");

/// Where parts go.
pub(super) struct Sink<'e> {
    pub(super) editor: &'e mut dyn Editor,
    /// In how many values that are left out.
    pub(super) muted: usize,
    held: String,
    holds: bool,
}

impl<'e> Sink<'e> {
    pub(super) fn new(editor: &'e mut dyn Editor) -> Self {
        Self { editor, muted: 0, held: String::new(), holds: false }
    }

    /// Keeps what comes instead of copying it.
    pub(super) fn hold(&mut self) {
        self.held.clear();
        self.holds = true;
    }

    pub(super) fn held(&self) -> &str {
        &self.held
    }

    /// What was kept. From now on parts are copied again.
    pub(super) fn take_held(&mut self) -> String {
        self.holds = false;
        std::mem::take(&mut self.held)
    }

    /// Takes back the memory of what was kept.
    pub(super) fn give_back(&mut self, held: String) {
        self.held = held;
    }

    /// Copies bytes that do not come from the source, or did so earlier.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        if self.muted > 0 || bytes.is_empty() { Ok(()) } else { self.editor.copy(bytes) }
    }

    fn part(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        if !self.holds {
            return self.put(bytes);
        }
        // Cut where another character ends, since all cuts are at ASCII.
        self.held.push_str(&String::from_utf8_lossy(bytes));
        Ok(())
    }
}

/// Where parts come from.
pub(super) struct Source<'r>(Text<'r>);

impl<'r> Source<'r> {
    pub(super) fn new(input: &'r mut dyn Read) -> Self {
        Self(Text::new(input))
    }

    /// The error for what comes next.
    pub(super) fn wrong(&self, what: &str) -> BadIndex {
        BadIndex::Malformed(format!("the index is not valid JSON: {what} (byte {})", self.0.position()))
    }

    pub(super) fn peek(&mut self) -> Result<Option<u8>, BadIndex> {
        self.0.peek()
    }

    /// Leaves the next byte out.
    pub(super) fn skip(&mut self) {
        self.0.take(1);
    }

    /// Hands the next byte on.
    pub(super) fn byte(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        let byte = self.peek()?.ok_or_else(|| self.wrong("it ends early"))?;
        sink.part(&[byte])?;
        self.0.take(1);
        Ok(())
    }

    /// Hands on what is like this. Returns how many bytes.
    fn run(
        &mut self,
        sink: &mut Sink<'_>,
        most: usize,
        is_like: impl Fn(u8) -> bool,
    ) -> Result<usize, BadIndex> {
        let mut total = 0;
        loop {
            let at_hand = self.0.at_hand()?;
            let count = at_hand.iter().position(|byte| !is_like(*byte)).unwrap_or(at_hand.len());
            let whole = count < at_hand.len() || count == 0;
            total += count;
            if total > most {
                return Err(TOO_LONG);
            }
            sink.part(at_hand.get(..count).unwrap_or_default())?;
            self.0.take(count);
            if whole {
                return Ok(total);
            }
        }
    }

    pub(super) fn space(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        self.run(sink, WIDEST, |byte| b" \t\r\n".contains(&byte)).map(|_| ())
    }

    /// A string, a number or a word.
    pub(super) fn scalar(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        match self.peek()? {
            Some(b'"') => self.string(sink, if sink.holds { LONGEST_SEEN } else { LONGEST }),
            Some(b'-' | b'0'..=b'9') => self.number(sink),
            Some(b't') => self.word(sink, b"true"),
            Some(b'f') => self.word(sink, b"false"),
            Some(b'n') => self.word(sink, b"null"),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    pub(super) fn key(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        self.string(sink, LONGEST_KEY)
    }

    fn string(&mut self, sink: &mut Sink<'_>, most: usize) -> Result<(), BadIndex> {
        self.byte(sink)?;
        let mut left = most;
        loop {
            left -= self.run(sink, left, |byte| byte >= b' ' && byte != b'"' && byte != b'\\')?;
            match self.peek()? {
                Some(b'"') => return self.byte(sink),
                Some(b'\\') => self.escape(sink)?,
                Some(_) => return Err(self.wrong("a string has a control character")),
                None => return Err(self.wrong("it ends early")),
            }
            left = left.checked_sub(6).ok_or(TOO_LONG)?;
        }
    }

    fn escape(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        self.byte(sink)?;
        match self.peek()? {
            Some(b'u') => {
                self.byte(sink)?;
                for _ in 0..4 {
                    if !self.peek()?.is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.wrong("a string has an escape that does not exist"));
                    }
                    self.byte(sink)?;
                }
                Ok(())
            }
            Some(byte) if b"\"\\/bfnrt".contains(&byte) => self.byte(sink),
            _ => Err(self.wrong("a string has an escape that does not exist")),
        }
    }

    fn number(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        self.optional(sink, b"-")?;
        if !self.optional(sink, b"0")? {
            self.digits(sink)?;
        }
        if self.optional(sink, b".")? {
            self.digits(sink)?;
        }
        if self.optional(sink, b"eE")? {
            self.optional(sink, b"+-")?;
            self.digits(sink)?;
        }
        Ok(())
    }

    fn optional(&mut self, sink: &mut Sink<'_>, any: &[u8]) -> Result<bool, BadIndex> {
        let found = self.peek()?.is_some_and(|byte| any.contains(&byte));
        if found {
            self.byte(sink)?;
        }
        Ok(found)
    }

    fn digits(&mut self, sink: &mut Sink<'_>) -> Result<(), BadIndex> {
        match self.run(sink, LONGEST_NUMBER, |byte| byte.is_ascii_digit())? {
            0 => Err(self.wrong("a number is incomplete")),
            _ => Ok(()),
        }
    }

    fn word(&mut self, sink: &mut Sink<'_>, word: &[u8]) -> Result<(), BadIndex> {
        for expected in word {
            if self.peek()? != Some(*expected) {
                return Err(self.wrong("a value is missing"));
            }
            self.byte(sink)?;
        }
        Ok(())
    }

    /// What a string means, from its text with its quotes.
    pub(super) fn decoded<'t>(&self, raw: &'t str) -> Result<Cow<'t, str>, BadIndex> {
        if !raw.contains('\\') {
            return Ok(Cow::Borrowed(raw.trim_matches('"')));
        }
        let text = serde_json::from_str(raw).map(Cow::Owned);
        text.map_err(|_| self.wrong("a string has half a character"))
    }
}
