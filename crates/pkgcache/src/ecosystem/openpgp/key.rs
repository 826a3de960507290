//! Public keys, and whether a signature is theirs.
//!
//! Limit: keys of version 4 with RSA (2048 bits or more), Ed25519, and the curves P-256 and P-384.

use std::fmt;

use ring::digest;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

use super::packet::Bytes;
use super::sign::{Hash, Signature};

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    /// As signatures cover it.
    covered: Vec<u8>,
    /// When it was made, in seconds since 1970.
    pub(super) created: u32,
    /// The SHA-1 by which it is called.
    pub(super) fingerprint: [u8; 20],
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Other,
}

/// The names of curves, as keys have them.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

impl Key {
    /// Reads the body of a packet; `None` where it is not a key of version 4.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let length = u16::try_from(body.len()).ok()?;
        let covered = [&[0x99], length.to_be_bytes().as_slice(), body].concat();
        let mut bytes = Bytes(body);
        if bytes.u8()? != 4 {
            return None;
        }
        let created = bytes.u32()?;
        let algorithm = bytes.u8()?;
        let public = public(algorithm, &mut bytes)?;
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &covered);
        Some(Self { created, fingerprint: hash.as_ref().try_into().ok()?, public, covered })
    }

    /// What a signature over the key covers of it.
    pub(super) fn covered(&self) -> &[u8] {
        &self.covered
    }

    /// The last 8 bytes of the fingerprint, which older signatures call it by.
    pub(super) fn id(&self) -> [u8; 8] {
        self.fingerprint.last_chunk().copied().unwrap_or_default()
    }

    /// Whether the key made the signature over these bytes.
    pub(super) fn signed(&self, signature: &Signature, data: &[&[u8]]) -> bool {
        let message = [data.concat(), signature.trailer()].concat();
        let values: Vec<&[u8]> = signature.values.iter().map(Vec::as_slice).collect();
        match (&self.public, signature.algorithm, values.as_slice()) {
            (Public::Rsa { modulus, exponent }, 1 | 3, [value]) => {
                let Some(value) = padded(value, modulus.len()) else { return false };
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(signature.hash.rsa(), &message, &value).is_ok()
            }
            (Public::P256(point), 19, [r, s]) if signature.hash == Hash::Sha256 => {
                verify(&signature::ECDSA_P256_SHA256_FIXED, point, &message, [r, s], 32)
            }
            (Public::P384(point), 19, [r, s]) if signature.hash == Hash::Sha384 => {
                verify(&signature::ECDSA_P384_SHA384_FIXED, point, &message, [r, s], 48)
            }
            (Public::Ed25519(point), 22 | 27, [r, s]) => {
                let hash = digest::digest(signature.hash.ring(), &message);
                verify(&signature::ED25519, point, hash.as_ref(), [r, s], 32)
            }
            _ => false,
        }
    }

    /// Whether signatures of this key with this algorithm and hash can be checked at all.
    pub(super) fn can_check(&self, signature: &Signature) -> bool {
        match &self.public {
            Public::Rsa { modulus, .. } => matches!(signature.algorithm, 1 | 3) && modulus.len() >= 256,
            Public::P256(_) => signature.algorithm == 19 && signature.hash == Hash::Sha256,
            Public::P384(_) => signature.algorithm == 19 && signature.hash == Hash::Sha384,
            Public::Ed25519(_) => matches!(signature.algorithm, 22 | 27),
            Public::Other => false,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

fn public(algorithm: u8, bytes: &mut Bytes<'_>) -> Option<Public> {
    Some(match algorithm {
        1 | 3 => Public::Rsa { modulus: bytes.number()?.to_vec(), exponent: bytes.number()?.to_vec() },
        19 | 22 => {
            let length = usize::from(bytes.u8()?);
            let curve = bytes.take(length)?;
            let point = bytes.number()?;
            match (algorithm, curve, point) {
                (19, P256, _) => Public::P256(point.to_vec()),
                (19, P384, _) => Public::P384(point.to_vec()),
                // `0x40` says that the point is not compressed.
                (22, ED25519, [0x40, point @ ..]) => Public::Ed25519(point.to_vec()),
                _ => Public::Other,
            }
        }
        27 => Public::Ed25519(bytes.take(32)?.to_vec()),
        _ => Public::Other,
    })
}

fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    point: &[u8],
    message: &[u8],
    values: [&[u8]; 2],
    length: usize,
) -> bool {
    let [Some(r), Some(s)] = values.map(|value| padded(value, length)) else { return false };
    UnparsedPublicKey::new(algorithm, point).verify(message, &[r, s].concat()).is_ok()
}

/// A number with so many bytes, zeros before it.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(number.len())?;
    Some([vec![0; zeros].as_slice(), number].concat())
}
