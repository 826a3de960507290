//! Signed notes: a text, and signatures of it by keys that have names.
//!
//! Source: `golang.org/x/mod/sumdb/note`, and C2SP's "signed-note".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use storekit::Digest;

use crate::ecosystem::BadIndex;

/// The one algorithm that checksum databases sign by: Ed25519.
const ED25519_KEY: u8 = 1;
/// A note has no more signatures.
const SIGNATURES: usize = 16;

/// A key that signs, by its public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: String,
    /// The head of what its name and its bytes hash to.
    hash: [u8; 4],
    bytes: [u8; 32],
}

impl Key {
    /// From its text: `NAME+HASH+KEY`.
    #[must_use]
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, hash, key) = (parts.next()?, parts.next()?, parts.next()?);
        let key = STANDARD.decode(key).ok()?;
        let (kind, bytes) = key.split_first()?;
        let good = !name.is_empty() && !name.contains(char::is_whitespace) && *kind == ED25519_KEY;
        let digest = Digest::of(&[name.as_bytes(), b"\n", &key].concat());
        let head: [u8; 4] = digest.bytes().get(..4)?.try_into().ok()?;
        let is_its = u32::from_str_radix(hash, 16).is_ok_and(|hash| hash.to_be_bytes() == head);
        let bytes = bytes.try_into().ok()?;
        (good && hash.len() == 8 && is_its).then(|| Self { name: name.to_owned(), hash: head, bytes })
    }

    /// The text of a note that this key signed.
    ///
    /// # Errors
    /// [`BadIndex`].
    pub(crate) fn open<'a>(&self, note: &'a str) -> Result<&'a str, BadIndex> {
        let wrong = |what: String| BadIndex::Malformed(what);
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or_else(|| wrong("it is not a signed note".to_owned()))?;
        // The text has its line end.
        let text = note.get(..=text.len()).unwrap_or(text);
        for line in signatures.lines().take(SIGNATURES) {
            if let Some(signature) = self.own(line) {
                let key = UnparsedPublicKey::new(&ED25519, self.bytes);
                return match key.verify(text.as_bytes(), &signature) {
                    Ok(()) => Ok(text),
                    Err(_) => {
                        Err(wrong(format!("the signature by `{}` is not one of these bytes", self.name)))
                    }
                };
            }
        }
        Err(wrong(format!("it is not signed by `{}`", self.name)))
    }

    /// The signature on a line, where it is this key's.
    fn own(&self, line: &str) -> Option<Vec<u8>> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let signature = STANDARD.decode(encoded).ok().filter(|_| name == self.name)?;
        signature.strip_prefix(&self.hash).map(<[u8]>::to_vec)
    }
}
