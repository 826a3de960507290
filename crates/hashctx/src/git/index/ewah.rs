//! Compressed bitmaps, as a split index holds two of them.
//!
//! A run-length word says how many words of equal bits follow (they are not stored) and how many
//! words stand behind it as they are.

use super::parse::{Fault, Input};

/// The positions of the set bits. `limit` bounds them, so that a few bytes cannot stand for
/// billions.
pub(super) fn read(input: &mut Input<'_>, limit: usize) -> Result<Vec<usize>, Fault> {
    let _bits = input.u32()?;
    let count = usize::try_from(input.u32()?).unwrap_or(usize::MAX);
    let mut words = Input(input.take(count.saturating_mul(8))?);
    let _last_run = input.u32()?;
    let mut set = Vec::new();
    let mut at = 0_usize;
    while !words.0.is_empty() {
        let run = words.u64()?;
        at = equal_bits(run, at, limit, &mut set)?;
        for _ in 0..run >> 33 {
            let word = words.u64()?;
            literal_bits(word, at, limit, &mut set)?;
            at = at.saturating_add(64);
        }
    }
    Ok(set)
}

fn equal_bits(run: u64, at: usize, limit: usize, set: &mut Vec<usize>) -> Result<usize, Fault> {
    let words = usize::try_from(run >> 1 & 0xffff_ffff).unwrap_or(usize::MAX);
    let end = at.saturating_add(words.saturating_mul(64));
    if run & 1 == 1 {
        if end > limit.saturating_add(63) {
            return Err(OUTSIDE);
        }
        set.extend(at..end.min(limit));
    }
    Ok(end)
}

fn literal_bits(word: u64, at: usize, limit: usize, set: &mut Vec<usize>) -> Result<(), Fault> {
    for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
        let position = at.saturating_add(bit);
        if position >= limit {
            return Err(OUTSIDE);
        }
        set.push(position);
    }
    Ok(())
}

const OUTSIDE: Fault = Fault::Damaged("a bitmap in it goes beyond the shared index");

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a bitmap of 64-bit words.
    fn bitmap(words: &[u64]) -> Vec<u8> {
        let count = u32::try_from(words.len()).expect("few words");
        let body = words.iter().flat_map(|word| word.to_be_bytes());
        [0_u32.to_be_bytes(), count.to_be_bytes()].concat().into_iter().chain(body).chain([0; 4]).collect()
    }

    #[track_caller]
    fn bits(words: &[u64], limit: usize, expected: Option<&[usize]>) {
        let bytes = bitmap(words);
        let mut input = Input(&bytes);
        assert_eq!(read(&mut input, limit).ok().as_deref(), expected);
    }

    #[test]
    fn runs_and_words_are_read() {
        bits(&[], 10, Some(&[]));
        bits(&[1 << 33, 0b101], 10, Some(&[0, 2]));
        bits(
            &[1 | 1 << 1, 1 << 33 | 1 << 1, 1],
            200,
            Some(&[&(0..64).collect::<Vec<_>>()[..], &[128]].concat()),
        );
    }

    #[test]
    fn bits_beyond_the_limit_are_refused() {
        bits(&[1 << 33, 1 << 10], 10, None);
        bits(&[1 | 0xffff_ffff << 1], 1000, None);
        bits(&[u64::MAX], 1000, None);
    }
}
