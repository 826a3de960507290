//! Tests: documents that look real, with bytes flipped, cut out, doubled and put elsewhere, and
//! pieces of others in them. For readers of whatever comes from outside.
//!
//! `PROPTEST_CASES`, which proptest reads, sets how many are tried of each, as for property tests.

/// For each case of a property test (256, unless `PROPTEST_CASES` says otherwise), so many.
const ROUNDS: u32 = 8;
/// What breaks readers elsewhere: numbers, ends, escapes, other schemes, ways up.
const PIECES: [&str; 24] = [
    "99999999999999999999999999",
    "-1",
    "1e999",
    "\"",
    "\\u0000\\ud800",
    "\0",
    "../../../",
    "javascript:x",
    "{\"a\":[[[[",
    "]]]}}}",
    "<a href='//e.example/x#sha256=0'>",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "&a;&#x110000;",
    "\r\n\r\n",
    "\u{feff}\u{2028}",
    "-----BEGIN PGP SIGNED MESSAGE-----\n",
    "\n[a]\n[[a]]\n",
    "${HOME}${",
    "http://u:p@[::1]:99999/",
    "=:,;=",
    "\\",
    "%zz%",
    "\u{1b}[2J\u{202e}",
    "\"\"\"'''",
];

/// Small, fast and the same everywhere: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % most.max(1)
    }

    fn damaged(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.below(4) {
            let (at, other) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
            let (first, last) = (at.min(other), at.max(other));
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(first..last.min(first + 200))),
                3 => {
                    let part = bytes[first..last.min(first + 200)].to_vec();
                    bytes.splice(at..at, part);
                }
                4 => {
                    // Deep, for readers that call themselves.
                    let open =
                        [&b"["[..], b"{\"a\":", b"<x>", b"<a href=", b"${a}", b"a.", b"("][self.below(7)];
                    let deep = open.repeat(1 << self.below(12));
                    bytes.splice(at..at, deep);
                }
                5 => bytes.splice(at..at, [u8::try_from(self.below(256)).unwrap_or(0); 9]).for_each(drop),
                _ => {
                    let piece = PIECES[self.below(PIECES.len())].bytes();
                    bytes.splice(at..at, piece).for_each(drop);
                }
            }
        }
        bytes
    }
}

/// Hands on what becomes of a document.
#[track_caller]
pub(crate) fn each(document: impl AsRef<[u8]>, mut read: impl FnMut(&[u8])) {
    let mut dice = Dice(7);
    for _ in 0..ROUNDS * proptest::test_runner::Config::default().cases {
        read(&dice.damaged(document.as_ref()));
    }
}

/// The same of a text: what is no text any more is made one.
#[track_caller]
pub(crate) fn each_text(text: &str, mut read: impl FnMut(&str)) {
    each(text, |bytes| read(&String::from_utf8_lossy(bytes)));
}
