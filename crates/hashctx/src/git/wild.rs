//! Shell patterns as git's ignore files mean them.
//!
//! A pattern is compiled once and then run without recursion and without allocation; its time is at
//! worst the pattern's length times the square of the text's, never exponential. Bytes are bytes:
//! no locale, no encoding, no case folding.

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wild(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: any byte but `/`.
    One,
    /// `[…]`: one of these bytes, never `/`.
    Class(Box<[u64; 4]>),
    /// `*`: any bytes but `/`.
    Star,
    /// `**` that may cross `/`.
    Deep,
    /// `**/` as a whole: nothing, or anything that ends in `/`.
    Folders,
    /// What git takes for broken, like `[a`: it matches nothing.
    Never,
}

/// Where to go on when a match fails: the token after a star, and how far the text was eaten.
#[derive(Clone, Copy)]
struct Retry {
    token: usize,
    text: usize,
}

impl Wild {
    /// Compiles a pattern. There are no errors: what is broken matches nothing.
    ///
    /// `**` is special at the start, after `/`, and only where `/` or the end follows; anywhere
    /// else it is `*`.
    pub(super) fn new(pattern: &[u8]) -> Self {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut at = 0;
        while let Some(&byte) = pattern.get(at) {
            let (token, next) = token(pattern, at, byte);
            tokens.push(token);
            at = next;
        }
        Self(tokens)
    }

    /// Whether the whole text matches.
    ///
    /// Going back to the last star is enough. A `*` further left in the same part of the path could
    /// only start the rest later, where the last one gets as well; across parts the slashes fix
    /// where each begins. The same holds for `**`.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        let (mut star, mut deep) = (None, None);
        loop {
            match self.step(token, text, at, &mut star, &mut deep) {
                Some((_, None)) => return true,
                Some((next, Some(eaten))) => (token, at) = (next, eaten),
                None => match self.back(text, &mut star, &mut deep) {
                    Some(retry) => (token, at) = (retry.token, retry.text),
                    None => return false,
                },
            }
        }
    }

    /// One token on: the next token and how far the text is eaten then, `None` for the latter at
    /// the end of both.
    fn step(
        &self,
        token: usize,
        text: &[u8],
        at: usize,
        star: &mut Option<Retry>,
        deep: &mut Option<Retry>,
    ) -> Option<(usize, Option<usize>)> {
        let next = token + 1;
        let retry = Some(Retry { token: next, text: at });
        match (self.0.get(token), text.get(at)) {
            (None, None) => Some((token, None)),
            (Some(Token::Star), _) => {
                *star = retry;
                Some((next, Some(at)))
            }
            (Some(Token::Deep | Token::Folders), _) => {
                (*star, *deep) = (None, retry);
                Some((next, Some(at)))
            }
            (Some(single), Some(&byte)) if single.is(byte) => Some((next, Some(at + 1))),
            _ => None,
        }
    }

    /// Lets the last star that can eat more do so.
    fn back(&self, text: &[u8], star: &mut Option<Retry>, deep: &mut Option<Retry>) -> Option<Retry> {
        if let Some(retry) = star {
            if text.get(retry.text).is_some_and(|&byte| byte != b'/') {
                retry.text += 1;
                return *star;
            }
            *star = None;
        }
        let retry = deep.as_mut()?;
        let folders = self.0.get(retry.token - 1) == Some(&Token::Folders);
        let rest = text.get(retry.text..)?;
        retry.text += if folders { rest.iter().position(|&byte| byte == b'/')? + 1 } else { 1 };
        *deep
    }
}

impl Token {
    fn is(&self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => *wanted == byte,
            Self::One => byte != b'/',
            Self::Class(set) => byte != b'/' && has(set, byte),
            Self::Star | Self::Deep | Self::Folders | Self::Never => false,
        }
    }
}

/// How many bytes of a pattern stand for themselves before the first special one.
pub(super) fn literal_len(pattern: &[u8]) -> usize {
    pattern.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(pattern.len())
}

/// The token at `at`, and where the next one begins.
fn token(pattern: &[u8], at: usize, byte: u8) -> (Token, usize) {
    match byte {
        b'?' => (Token::One, at + 1),
        b'*' => stars(pattern, at),
        b'[' => class(pattern, at + 1),
        b'\\' => match pattern.get(at + 1) {
            Some(&literal) => (Token::Byte(literal), at + 2),
            None => (Token::Never, at + 1),
        },
        literal => (Token::Byte(literal), at + 1),
    }
}

fn stars(pattern: &[u8], at: usize) -> (Token, usize) {
    let rest = pattern.get(at..).unwrap_or_default();
    let count = rest.iter().take_while(|&&byte| byte == b'*').count();
    let end = at + count;
    let opens = at.checked_sub(1).is_none_or(|before| pattern.get(before) == Some(&b'/'));
    match rest.get(count..) {
        _ if count < 2 || !opens => (Token::Star, end),
        Some([b'/', ..]) => (Token::Folders, end + 1),
        // An escaped slash ends the stars as well, but then they cannot stand for nothing.
        None | Some([] | [b'\\', b'/', ..]) => (Token::Deep, end),
        Some(_) => (Token::Star, end),
    }
}

/// Reads `[…]` from behind its `[`.
fn class(pattern: &[u8], start: usize) -> (Token, usize) {
    let negated = matches!(pattern.get(start), Some(b'!' | b'^'));
    match class_set(pattern, start + usize::from(negated)) {
        Some((set, end)) => (Token::Class(Box::new(if negated { set.map(|word| !word) } else { set })), end),
        None => (Token::Never, pattern.len()),
    }
}

/// The bytes that a class names, and where it ends; `None` where it is broken. A `]` that comes
/// first is a member.
fn class_set(pattern: &[u8], start: usize) -> Option<([u64; 4], usize)> {
    let mut set = [0; 4];
    let mut before = None;
    let mut at = start;
    while at == start || *pattern.get(at)? != b']' {
        (before, at) = member(pattern, at, before, &mut set)?;
    }
    Some((set, at + 1))
}

/// Reads one member of a class: the byte that may open a range, and where the next member begins.
fn member(pattern: &[u8], at: usize, before: Option<u8>, set: &mut [u64; 4]) -> Option<(Option<u8>, usize)> {
    let rest = pattern.get(at..)?;
    match (rest, before) {
        ([b'-', last, ..], Some(first)) if *last != b']' => {
            let (last, next) = escaped(pattern, at + 1)?;
            (first..=last).for_each(|byte| insert(set, byte));
            Some((None, next))
        }
        ([b'[', b':', name @ ..], _) => match named(name) {
            Named::Class(is, len) => {
                (0..=u8::MAX).filter(is).for_each(|byte| insert(set, byte));
                Some((None, at + 2 + len))
            }
            Named::Bracket => {
                insert(set, b'[');
                Some((Some(b'['), at + 1))
            }
            Named::Broken => None,
        },
        _ => {
            let (byte, next) = escaped(pattern, at)?;
            insert(set, byte);
            Some((Some(byte), next))
        }
    }
}

fn escaped(pattern: &[u8], at: usize) -> Option<(u8, usize)> {
    match *pattern.get(at)? {
        b'\\' => Some((*pattern.get(at + 1)?, at + 2)),
        byte => Some((byte, at + 1)),
    }
}

enum Named {
    /// A known class, and the length of `name:]`.
    Class(fn(&u8) -> bool, usize),
    /// No `:]` before the next `]`: the bracket is a member like any other.
    Bracket,
    /// An unknown name, or no end.
    Broken,
}

/// What `[:` begins, given the bytes behind it.
fn named(rest: &[u8]) -> Named {
    let Some(end) = rest.iter().position(|&byte| byte == b']') else { return Named::Broken };
    let Some(name) = rest.get(..end).and_then(|text| text.strip_suffix(b":")) else { return Named::Bracket };
    let is: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        // git's own idea of space has neither vertical tab nor form feed.
        b"space" => |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return Named::Broken,
    };
    Named::Class(is, end + 1)
}

fn insert(set: &mut [u64; 4], byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte >> 6)) {
        *word |= 1 << (byte & 63);
    }
}

fn has(set: &[u64; 4], byte: u8) -> bool {
    set.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
}
