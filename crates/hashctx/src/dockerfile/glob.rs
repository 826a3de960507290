//! Go's `filepath.Match`: the wildcards of COPY and ADD.
//!
//! `*` and `?` stop at `/`, `[…]` does not. Each byte that is not UTF-8 is one character. Absent:
//! `**`, which is `*`.

/// True where the path matches. A malformed pattern matches nothing.
pub(super) fn matches(pattern: &str, path: &[u8]) -> bool {
    let Some(tokens) = tokens(pattern) else { return false };
    let (mut index, mut at) = (0, 0);
    // Where to go on after a mismatch: behind the last star, which then takes one byte more.
    let mut star = None;
    loop {
        let rest = path.get(at..).unwrap_or_default();
        match tokens.get(index) {
            None if rest.is_empty() => return true,
            Some(Token::Star) => {
                index += 1;
                star = Some((index, at));
            }
            Some(one) if let Some(length) = one.takes(rest) => (index, at) = (index + 1, at + length),
            _ => match star {
                Some((behind, taken)) if path.get(taken).is_some_and(|next| *next != b'/') => {
                    star = Some((behind, taken + 1));
                    (index, at) = (behind, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

/// False for a malformed pattern.
pub(super) fn is_well_formed(pattern: &str) -> bool {
    tokens(pattern).is_some()
}

/// True where `*`, `?` or `[` stands unescaped.
pub(super) fn is_wild(text: &str) -> bool {
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => drop(rest.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

enum Token {
    Star,
    Any,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    /// How many bytes of the text it takes.
    fn takes(&self, rest: &[u8]) -> Option<usize> {
        let (next, length) = first(rest)?;
        let taken = match self {
            Self::Star => false,
            Self::Any => next != '/',
            Self::Char(own) => *own == next,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&next)) != *negated
            }
        };
        taken.then_some(length)
    }
}

/// The first character of a text, and its length.
fn first(text: &[u8]) -> Option<(char, usize)> {
    let chunk = text.get(..text.len().min(4)).unwrap_or_default().utf8_chunks().next()?;
    let valid = chunk.valid().chars().next().map(|next| (next, next.len_utf8()));
    Some(valid.unwrap_or((char::REPLACEMENT_CHARACTER, 1)))
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        tokens.push(match next {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Char(rest.next()?),
            '[' => class(&mut rest)?,
            plain => Token::Char(plain),
        });
    }
    Some(tokens)
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let low = class_char(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { class_char(rest)? } else { low };
        ranges.push((low, high));
    }
    Some(Token::Class { negated, ranges })
}

fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        plain => Some(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let hits = [
            ("abc", "abc"),
            ("*", "abc"),
            ("*c", "abc"),
            ("a*", "a"),
            ("a*/b", "abc/b"),
            ("a*b*c*d*e*", "axbxcxdxexxx"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^c]", "abd"),
            ("a\\*b", "a*b"),
            ("a?b", "a☺b"),
            ("[a-ζ]*", "α"),
            ("[\\]a]", "]"),
            ("*x", "xxx"),
            ("a/*/c", "a/b/c"),
            ("**", "abc"),
        ];
        for (pattern, path) in hits {
            assert!(matches(pattern, path.as_bytes()), "{pattern} misses {path}");
        }
        let misses = [
            ("a*", "ab/c"),
            ("a*/b", "a/c/b"),
            ("ab[^c]", "abc"),
            ("a\\*b", "ab"),
            ("a???b", "a☺b"),
            ("*a", "α"),
            ("a?b", "a/b"),
            ("a*b", "a/b"),
            ("[]a]", "]"),
            ("[-]", "-"),
            ("[x-]", "x"),
            ("[", "a"),
            ("a[", "a"),
            ("\\", "a"),
            ("*/x", "x"),
            ("**", "a/b"),
            ("", "a"),
        ];
        for (pattern, path) in misses {
            assert!(!matches(pattern, path.as_bytes()), "{pattern} hits {path}");
        }
    }
}
