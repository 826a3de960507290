//! Structured fields: dictionaries, as far as cache control needs them. Source: RFC 9651.
//!
//! Items keep their kind; parameters, inner lists, byte sequences, decimals, dates and display
//! strings are checked for their form and then forgotten.

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// `?1`, or a name alone.
    Bool(bool),
    /// A whole number of at most 15 digits.
    Integer(i64),
    /// A string in quotes.
    String(String),
    /// A token.
    Token(String),
    /// Anything else that is well-formed.
    Other,
}

/// Reads a dictionary; the last value of a name counts. `None` where the text is not one.
#[must_use]
pub(crate) fn dictionary(text: &str) -> Option<Vec<(String, Item)>> {
    let mut input = Input(text.trim_matches(' ').as_bytes());
    let mut members: Vec<(String, Item)> = Vec::new();
    while !input.0.is_empty() {
        let name = input.key()?;
        let item = if input.skip(b'=') { input.item_or_list()? } else { Item::Bool(true) };
        input.parameters()?;
        members.retain(|(known, _)| *known != name);
        members.push((name, item));
        input.blank();
        if input.0.is_empty() {
            break;
        }
        input.expect(b',')?;
        input.blank();
        // A comma at the end is an error.
        input.0.first()?;
    }
    Some(members)
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.next();
        }
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }

    fn blank(&mut self) {
        self.take(|byte| byte == b' ' || byte == b'\t');
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> String {
        let end = self.0.iter().position(|byte| !wanted(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        String::from_utf8_lossy(taken).into_owned()
    }

    fn key(&mut self) -> Option<String> {
        let first = *self.0.first()?;
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        (first.is_ascii_lowercase() || first == b'*').then(|| self.take(inner))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.skip(b';') {
            self.take(|byte| byte == b' ');
            self.key()?;
            if self.skip(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item_or_list(&mut self) -> Option<Item> {
        if !self.skip(b'(') {
            return self.item();
        }
        loop {
            self.take(|byte| byte == b' ');
            if self.skip(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            matches!(self.0.first()?, b' ' | b')').then_some(())?;
        }
    }

    fn item(&mut self) -> Option<Item> {
        match *self.0.first()? {
            b'"' => self.string().map(Item::String),
            b'?' => self.boolean(),
            b':' => self.bytes(),
            b'@' => self
                .next()
                .and_then(|_| self.number())
                .filter(|it| matches!(it, Item::Integer(_)))
                .map(|_| Item::Other),
            b'%' => self.display_string(),
            b'-' | b'0'..=b'9' => self.number(),
            first if first.is_ascii_alphabetic() || first == b'*' => {
                let inner = |byte| super::directives::is_token(byte) || byte == b':' || byte == b'/';
                Some(Item::Token(self.take(inner)))
            }
            _ => None,
        }
    }

    fn boolean(&mut self) -> Option<Item> {
        self.next();
        match self.next()? {
            b'0' => Some(Item::Bool(false)),
            b'1' => Some(Item::Bool(true)),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(text),
                b'\\' => text.push(char::from(self.next().filter(|byte| b"\"\\".contains(byte))?)),
                byte @ 0x20..=0x7e => text.push(char::from(byte)),
                _ => return None,
            }
        }
    }

    fn bytes(&mut self) -> Option<Item> {
        self.next();
        self.take(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.expect(b':')?;
        Some(Item::Other)
    }

    fn display_string(&mut self) -> Option<Item> {
        self.next();
        self.string().map(|_| Item::Other)
    }

    fn number(&mut self) -> Option<Item> {
        let minus = self.skip(b'-');
        let digits = |byte: u8| byte.is_ascii_digit();
        let whole = self.take(digits);
        if self.skip(b'.') {
            let fraction = self.take(digits);
            let fits = (1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Item::Other);
        }
        let number: i64 = whole.parse().ok().filter(|_| whole.len() <= 15)?;
        Some(Item::Integer(if minus { -number } else { number }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_read() {
        let found = dictionary("max-age=10, no-store, private=\"a\", x=?0;p=1, y=(1 2);q, z=tok, max-age=20")
            .unwrap();
        let expected = [
            ("no-store", Item::Bool(true)),
            ("private", Item::String("a".into())),
            ("x", Item::Bool(false)),
            ("y", Item::Other),
            ("z", Item::Token("tok".into())),
            ("max-age", Item::Integer(20)),
        ];
        assert_eq!(found, expected.map(|(name, item)| (name.to_owned(), item)));
        assert_eq!(dictionary(" ").unwrap(), []);
        for good in ["a=1.5", "a=@1659578233", "a=:aGk=:", "a=%\"f%c3%bc\"", "a=-3"] {
            assert!(dictionary(good).is_some(), "{good}");
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in [
            "max-age=10, &&&&&",
            "MaX-aGe=1",
            "max-age =100",
            "max-age= 100",
            "a,",
            "a=\"x",
            "a=1234567890123456",
            "a=(1",
            "a b",
            "a=",
            "a=1.",
            "a=?2",
        ] {
            assert_eq!(dictionary(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = dictionary(&text);
        }
    }
}
