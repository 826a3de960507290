//! Text that is handed on with secret values left out, also where one comes in several pieces.
//!
//! Limits: a value with fewer than [`SHORTEST`] letters is not masked, for it stands in too much
//! else; nor is one that a program has written in another form, such as base64.

use std::io::{self, Write};

/// So many letters a value has at least that is masked.
pub(crate) const SHORTEST: usize = 4;

/// What stands in the place of a value.
const MASK: &[u8] = b"***";

/// The values, the longest first; of one with several lines each line, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Of those values that are long enough.
    pub(crate) fn of<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let parts = values.into_iter().flat_map(|value| value.lines().map(str::trim).chain([value]));
        let parts = parts.filter(|part| part.chars().count() >= SHORTEST);
        let mut parts: Vec<_> = parts.map(|part| part.as_bytes().to_vec()).collect();
        parts.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        parts.dedup();
        Self(parts)
    }

    /// Whether there is nothing to mask.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The longest value that the text begins with; nothing is known yet where one may go on behind
    /// its end.
    fn at(&self, text: &[u8], is_end: bool) -> Found {
        for secret in &self.0 {
            if text.starts_with(secret) {
                return Found::Value(secret.len());
            }
            if !is_end && secret.starts_with(text) {
                return Found::Perhaps;
            }
        }
        Found::Nothing
    }
}

enum Found {
    /// A value of so many bytes.
    Value(usize),
    Perhaps,
    Nothing,
}

/// Hands on what is written to it, masked. Holds back no more than the beginning of a value.
pub(crate) struct Masked<'s, W> {
    secrets: &'s Secrets,
    held: Vec<u8>,
    to: W,
}

impl<'s, W: Write> Masked<'s, W> {
    pub(crate) fn new(secrets: &'s Secrets, to: W) -> Self {
        Self { secrets, held: Vec::new(), to }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// As of writing; the piece is not kept then.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(piece);
        self.pass_on(false)
    }

    /// Hands on what was held back, for nothing comes any more.
    ///
    /// # Errors
    /// As of writing.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.pass_on(true)
    }

    fn pass_on(&mut self, is_end: bool) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.held);
        let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
        while let Some((first, rest)) = text.get(at..).and_then(|rest| Some((rest.first()?, rest))) {
            match self.secrets.at(rest, is_end) {
                Found::Value(length) => {
                    out.extend_from_slice(MASK);
                    at += length;
                }
                Found::Perhaps => break,
                Found::Nothing => {
                    out.push(*first);
                    at += 1;
                }
            }
        }
        text.drain(..at);
        self.held = text;
        self.to.write_all(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], pieces: &[&[u8]]) -> String {
        let (secrets, mut out) = (Secrets::of(secrets.iter().copied()), Vec::new());
        let mut masked = Masked::new(&secrets, &mut out);
        for piece in pieces {
            masked.write(piece).expect("memory");
        }
        masked.end().expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_value_is_masked_wherever_it_is_split() {
        let text = b"a token: s3cr3t-t0ken, s3cr3t- and s3cr3t-t0k";
        for at in 0..text.len() {
            let (one, other) = text.split_at(at);
            assert_eq!(
                masked(&["s3cr3t-t0ken"], &[one, other]),
                "a token: ***, s3cr3t- and s3cr3t-t0k",
                "at {at}"
            );
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(masked(&["s3cr3t-t0ken"], &bytes), "a token: ***, s3cr3t- and s3cr3t-t0k");
    }

    #[test]
    fn of_two_values_the_longer_one_counts() {
        let both = ["abcd", "abcdef", "abcdef"];
        assert_eq!(masked(&both, &[b"abcdef abcdeg abcd"]), "*** ***eg ***");
        assert_eq!(masked(&both, &[b"abcd", b"ef"]), "***");
        assert_eq!(masked(&both, &[b"abcd", b"e"]), "***e");
        assert_eq!(masked(&["aaab"], &[b"aaaab"]), "a***");
    }

    #[test]
    fn lines_of_a_value_are_masked_and_short_ones_are_not() {
        assert_eq!(masked(&["-----\r\nkey-one\nab\n"], &[b"x key-one ab ----- y"]), "x *** ab *** y");
        assert_eq!(masked(&["abc", "", "äöü"], &[b"abc "]), "abc ");
        assert_eq!(masked(&["äöüß"], &["äöüß".as_bytes()]), "***");
        assert!(Secrets::of(["abc", ""]).is_empty());
    }

    #[test]
    fn only_the_beginning_of_a_value_is_held_back() {
        let (secrets, mut out) = (Secrets::of(["s3cr3t"]), Vec::new());
        let mut masked = Masked::new(&secrets, &mut out);
        masked.write(b"ready? s3c").expect("memory");
        assert_eq!(masked.held, b"s3c");
        drop(masked);
        assert_eq!(out, b"ready? ");
    }
}
