//! Whether one of a keyring's keys signed a document, as OpenPGP has it.
//!
//! The library (`pgp`) reads packets and does the arithmetic. Which signatures count is decided
//! here: what counts is what a careful client lets count, from keys that are neither expired nor
//! revoked now, by subkeys that agree with their key, with SHA-2 or SHA-3. What is not understood
//! does not count.
//!
//! Deliberately absent: secrets, encryption, trust between people, and every algorithm that is not
//! in use for signing repositories (DSA, MD5, SHA-1, RSA below 2048 bits).
//!
//! Source: RFC 9580; versions 4 and 6 of keys and signatures.

mod certificate;
mod packets;
mod sign;
#[cfg(test)]
mod tests;

use pgp::composed::{Deserializable as _, SignedPublicKey};
use pgp::packet::{Packet, Signature, SignatureType};
use pgp::types::Tag;

use self::certificate::{Key, Unfit, named};
use self::packets::{Block, packets};
use crate::ecosystem::BadIndex;

/// Keys whose signatures count.
#[derive(Debug)]
pub(crate) struct Keyring(Vec<SignedPublicKey>);

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signed<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This text, its lines ended as signatures have them.
    Text(&'a [u8]),
}

/// A signature's document is not larger: 1 MiB.
const LARGEST_SIGNATURE: usize = 1 << 20;
/// A keyring is not larger: 16 MiB.
const LARGEST_KEYRING: usize = 16 << 20;
/// No document has more signatures that are looked at.
const MOST: usize = 64;

impl Keyring {
    /// Reads a keyring: packets, or armor.
    ///
    /// # Errors
    /// [`BadIndex`] where there is no key in it.
    pub(crate) fn read(document: &[u8]) -> Result<Self, BadIndex> {
        if document.len() > LARGEST_KEYRING {
            return Err(BadIndex::TooLarge("the keyring is larger than 16 MiB"));
        }
        let parts = packets(document, Block::Keys).unwrap_or_default();
        let parts = parts.into_iter().filter(is_of_a_certificate).map(Ok);
        let keys: Vec<_> = SignedPublicKey::from_packets(parts.peekable()).filter_map(Result::ok).collect();
        if keys.is_empty() {
            return Err(malformed("the keyring has no OpenPGP key that can be used".to_owned()));
        }
        Ok(Self(keys))
    }

    /// Whether one of these signatures is good. One of another key counts for nothing; one that is
    /// a key's of this keyring and does not match spoils all.
    ///
    /// # Errors
    /// [`BadIndex::Malformed`] says why none is good.
    pub(crate) fn check(&self, signed: Signed<'_>, signatures: &[u8], now: i64) -> Result<(), BadIndex> {
        let mut reasons = Vec::new();
        let mut good = false;
        for signature in read(signatures)? {
            match self.judge(&signature, signed, now) {
                Verdict::Good => good = true,
                Verdict::Bad(reason) => return Err(malformed(reason)),
                Verdict::Nothing(reason) => reasons.push(reason),
            }
        }
        reasons.dedup();
        if good { Ok(()) } else { Err(malformed(reasons.join("; "))) }
    }

    fn judge(&self, signature: &Signature, signed: Signed<'_>, now: i64) -> Verdict {
        if !sign::is_understood(signature) {
            return Verdict::Nothing("a signature says something that is not known here".to_owned());
        }
        // A keyring may have a certificate twice, of two ages.
        let found: Vec<Key<'_>> = self.0.iter().flat_map(|it| named(it, signature)).collect();
        let Some(key) = found.first() else {
            return Verdict::Nothing(format!("the key {} is not in the keyring", sign::issuer(signature)));
        };
        let Some(data) = signed.covered(signature) else {
            return Verdict::Nothing(format!("the signature of {key} is of another kind"));
        };
        if !sign::is_strong(signature) {
            return Verdict::Nothing(format!("the signature of {key} uses SHA-1 or weaker"));
        }
        if !key.is_known() {
            return Verdict::Nothing(format!(
                "the signature of {key} is of an algorithm that is not known here"
            ));
        }
        let Some(key) = found.iter().find(|key| key.signed(signature, data)) else {
            return Verdict::Bad(format!("its signature is not that of {key}: it was changed"));
        };
        if !sign::counts_at(signature, now) || sign::created(signature) < key.created() {
            return Verdict::Nothing(format!("the signature of {key} has expired, or is not valid yet"));
        }
        let same = found.iter().filter(|it| it.fingerprint() == key.fingerprint());
        let fit: Vec<_> = same.map(|key| key.may_sign(now)).collect();
        let revoked = fit.iter().find(|it| **it == Err(Unfit::Revoked));
        match revoked.or_else(|| fit.iter().find(|it| it.is_ok())).or(fit.first()) {
            Some(Ok(())) => Verdict::Good,
            Some(Err(unfit)) => Verdict::Nothing(format!("the key {key} {}", unfit.words())),
            None => Verdict::Nothing(format!("the key {key} {}", Unfit::Unproved.words())),
        }
    }
}

fn is_of_a_certificate(packet: &Packet) -> bool {
    use pgp::packet::PacketTrait as _;
    matches!(
        packet.tag(),
        Tag::PublicKey | Tag::PublicSubkey | Tag::UserId | Tag::UserAttribute | Tag::Signature
    )
}

impl<'a> Signed<'a> {
    /// What a signature of this kind covers of it.
    fn covered(self, signature: &Signature) -> Option<&'a [u8]> {
        match (self, signature.typ()?) {
            (Self::Bytes(bytes), SignatureType::Binary | SignatureType::Text)
            | (Self::Text(bytes), SignatureType::Text) => Some(bytes),
            _ => None,
        }
    }
}

enum Verdict {
    Good,
    Bad(String),
    Nothing(String),
}

impl Unfit {
    fn words(self) -> &'static str {
        match self {
            Self::Revoked => "is revoked",
            Self::Expired => "has expired",
            Self::Unproved => "is not proved by its own signature",
            Self::Weak => "is only proved by a signature with SHA-1 or weaker",
            Self::NotForSigning => "is not for signing",
        }
    }
}

fn read(document: &[u8]) -> Result<Vec<Signature>, BadIndex> {
    if document.len() > LARGEST_SIGNATURE {
        return Err(BadIndex::TooLarge("its signature is larger than 1 MiB"));
    }
    let packets = packets(document, Block::Signatures);
    let packets = packets.ok_or_else(|| malformed("its signature is not one of OpenPGP".to_owned()))?;
    let found = packets.into_iter().filter_map(|packet| match packet {
        Packet::Signature(signature) => Some(signature),
        _ => None,
    });
    let found: Vec<_> = found.take(MOST).collect();
    if found.is_empty() {
        return Err(malformed("it has no signature that can be read".to_owned()));
    }
    Ok(found)
}

fn malformed(text: String) -> BadIndex {
    BadIndex::Malformed(text)
}
