//! What the files of an image are made of: programs, text, and what is compressed already.
//!
//! How fast and how far an image compresses decides what its digests cost beside. So this is set by
//! the first gigabyte of `/usr` of a Debian machine with compilers: zstd -1, -2, -3 make 434, 414,
//! 400 MB of that, -3 in 4.7 s of one core; of this they make 454, 392, 364 MB, -3 in 3.7 s.

use super::super::inputs::Noise;

/// The different words of a text or byte sequences of a program, and the phrases made of them.
const WORDS: usize = 2048;
/// One file in so many is compressed already.
const PACKED: u32 = 5;

/// Makes the files' content. Always the same, in the same order.
pub(super) struct Content {
    noise: Noise,
    text: Vec<Vec<u8>>,
    code: Vec<Vec<u8>>,
}

impl Content {
    pub(super) fn new() -> Self {
        let mut noise = Noise::default();
        let text = phrases(&mut noise, word);
        let code = phrases(&mut noise, sequence);
        Self { noise, text, code }
    }

    /// The content of a file.
    pub(super) fn file(&mut self, number: u32, size: usize) -> Vec<u8> {
        match number % PACKED {
            0 => self.noise.take(size),
            kind if kind % 2 == 0 => drawn(&mut self.noise, &self.text, 0, size),
            _ => drawn(&mut self.noise, &self.code, 3, size),
        }
    }
}

/// Runs of one to six words.
fn phrases(noise: &mut Noise, word: impl Fn(&mut Noise) -> Vec<u8>) -> Vec<Vec<u8>> {
    let words: Vec<_> = (0..WORDS).map(|_| word(noise)).collect();
    let phrase = |noise: &mut Noise| {
        let length = 1 + below(noise.next(), 6);
        (0..length).flat_map(|_| words[skewed(noise.next(), WORDS)].clone()).collect()
    };
    (0..WORDS).map(|_| phrase(noise)).collect()
}

/// A word in lower case, and what follows it.
fn word(noise: &mut Noise) -> Vec<u8> {
    let length = 2 + below(noise.next(), 8);
    let mut word: Vec<u8> = noise.take(length).iter().map(|byte| b'a' + byte % 26).collect();
    word.push(if below(noise.next(), 10) == 0 { b'\n' } else { b' ' });
    word
}

fn sequence(noise: &mut Noise) -> Vec<u8> {
    let length = 2 + below(noise.next(), 7);
    noise.take(length)
}

/// Phrases as they come in a language, few of them often; after some of them so many bytes of
/// noise, as addresses stand between instructions.
fn drawn(noise: &mut Noise, phrases: &[Vec<u8>], operand: usize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        let random = noise.next();
        bytes.extend_from_slice(&phrases[skewed(random, phrases.len())]);
        if random.is_multiple_of(2) {
            bytes.extend_from_slice(&random.to_le_bytes()[1..=operand]);
        }
    }
    bytes.truncate(size);
    bytes
}

/// A number below `limit`, small ones more often: the product of two even ones.
fn skewed(random: u64, limit: usize) -> usize {
    below(random, limit) * below(random << 32, limit) / limit
}

/// The number as one below `limit`, by its high bits.
fn below(random: u64, limit: usize) -> usize {
    usize::try_from((u128::from(random) * limit as u128) >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_size_that_was_asked_for() {
        let mut content = Content::new();
        let files: Vec<_> = (0..PACKED).map(|number| content.file(number, 1000)).collect();
        assert!(files.iter().all(|file| file.len() == 1000));
        assert!(files[2].is_ascii() && !files[1].is_ascii() && !files[0].is_ascii());
    }

    #[test]
    fn the_same_files_always_have_the_same_content() {
        let made = || (0..PACKED).scan(Content::new(), |content, number| Some(content.file(number, 500)));
        assert!(made().eq(made()));
    }
}
