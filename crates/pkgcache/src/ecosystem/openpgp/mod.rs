//! OpenPGP, as much of it as tells whether one of a keyring's keys signed a document.
//!
//! What counts is what a careful client lets count: keys that are neither expired nor revoked now,
//! subkeys that agree with their key, SHA-2. What is not understood does not count.
//!
//! Deliberately absent: secrets, encryption, trust between people, and every algorithm that is not
//! in use for signing repositories (DSA, MD5, SHA-1, RSA below 2048 bits).
//!
//! Source: RFC 9580, with the packets of version 4.

mod certificate;
mod key;
mod packet;
mod sign;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use self::certificate::{Certificate, Unfit, certificates};
use self::key::Key;
use self::packet::{packets, unarmored};
use self::sign::Signature;
use crate::ecosystem::BadIndex;

/// Keys whose signatures count.
#[derive(Debug)]
pub(crate) struct Keyring(Vec<Certificate>);

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
        let binary = unarmored(document, "PUBLIC KEY BLOCK");
        let keys = binary.as_deref().and_then(packets).map(|packets| certificates(&packets));
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Self(keys)),
            _ => Err(malformed("the keyring has no OpenPGP key that can be used".to_owned())),
        }
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
        // A keyring may have a certificate twice, of two ages.
        let found: Vec<(&Certificate, &Key)> = self
            .0
            .iter()
            .filter_map(|it| Some((it, signature.issuers.iter().find_map(|issuer| it.key(issuer))?)))
            .collect();
        let Some((_, key)) = found.first() else {
            return Verdict::Nothing(format!("the key {} is not in the keyring", named(&signature.issuers)));
        };
        let Some(data) = signed.covered(signature.kind) else {
            return Verdict::Nothing(format!("the signature of {key} is of another kind"));
        };
        if !signature.hash.is_strong() {
            return Verdict::Nothing(format!("the signature of {key} uses SHA-1 or weaker"));
        }
        if !key.can_check(signature) {
            return Verdict::Nothing(format!(
                "the signature of {key} is of an algorithm that is not known here"
            ));
        }
        let Some((_, key)) = found.iter().find(|(_, key)| key.signed(signature, &[&data])) else {
            return Verdict::Bad(format!("its signature is not that of {key}: it was changed"));
        };
        if !signature.counts_at(now) || signature.created < key.created {
            return Verdict::Nothing(format!("the signature of {key} has expired, or is not valid yet"));
        }
        let same = found.iter().filter(|(_, it)| it.fingerprint == key.fingerprint);
        let fit: Vec<_> = same.map(|(certificate, key)| certificate.may_sign(key, now)).collect();
        let revoked = fit.iter().find(|it| **it == Err(Unfit::Revoked));
        match revoked.or_else(|| fit.iter().find(|it| it.is_ok())).or(fit.first()) {
            Some(Ok(())) => Verdict::Good,
            Some(Err(unfit)) => Verdict::Nothing(format!("the key {key} {}", unfit.words())),
            None => Verdict::Nothing(format!("the key {key} {}", Unfit::Unproved.words())),
        }
    }
}

impl<'a> Signed<'a> {
    /// What a signature of this kind covers of it.
    fn covered(self, kind: u8) -> Option<Cow<'a, [u8]>> {
        match (self, kind) {
            (Self::Bytes(bytes), 0) | (Self::Text(bytes), 1) => Some(Cow::Borrowed(bytes)),
            (Self::Bytes(bytes), 1) => {
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                let plain = lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
                Some(Cow::Owned(plain.collect::<Vec<_>>().join(b"\r\n".as_slice())))
            }
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
    let binary = unarmored(document, "SIGNATURE");
    let packets = binary.as_deref().and_then(packets);
    let packets = packets.ok_or_else(|| malformed("its signature is not one of OpenPGP".to_owned()))?;
    let bodies = packets.iter().filter(|packet| packet.tag == 2).take(MOST);
    let found: Vec<_> = bodies.filter_map(|packet| Signature::read(packet.body)).collect();
    if found.is_empty() {
        return Err(malformed("it has no signature that can be read".to_owned()));
    }
    Ok(found)
}

fn malformed(text: String) -> BadIndex {
    BadIndex::Malformed(text)
}

/// What a signature calls its key by.
fn named(issuers: &[Vec<u8>]) -> String {
    let longest = issuers.iter().max_by_key(|issuer| issuer.len());
    let Some(longest) = longest else { return "that it does not name".to_owned() };
    longest.iter().take(20).fold(String::new(), |text, byte| format!("{text}{byte:02X}"))
}
