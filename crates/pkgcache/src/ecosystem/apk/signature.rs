//! Whether one of some keys signed an index.
//!
//! The keys are RSA's, in PEM, as they lie in `/etc/apk/keys`, one after the other. Which of them
//! signed, the name of the signature says; all are tried, whatever they are called here.
//!
//! Source: apk-tools 2, `src/package.c`; RFC 8017, A.1.1 and 8.2; RFC 5280, 4.1 (SPKI).

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, UnparsedPublicKey,
};

use super::members::member;
use crate::ecosystem::BadIndex;

/// The algorithms, by what the names of signatures begin with. SHA-1 is what abuild signs by.
const ALGORITHMS: [(&[u8], &RsaParameters); 3] = [
    (b".SIGN.RSA.", &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
    (b".SIGN.RSA256.", &RSA_PKCS1_2048_8192_SHA256),
    (b".SIGN.RSA512.", &RSA_PKCS1_2048_8192_SHA512),
];

/// Whether one of the keys signed the index.
///
/// # Errors
/// [`BadIndex`], where none did.
pub(crate) fn verify(index: &[u8], keys: &[u8]) -> Result<(), BadIndex> {
    let wrong = |what: &str| BadIndex::Malformed(what.to_owned());
    let first = member(&mut Cursor::new(index)).map_err(BadIndex::Malformed)?;
    let signed = usize::try_from(first.end).ok().and_then(|end| index.get(end..));
    let signed = signed.ok_or_else(|| wrong("it ends in its signature"))?;
    let known = |name: &[u8]| ALGORITHMS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, it)| *it);
    let found = first.file(&|name| known(name).is_some());
    let (name, signature) = found.ok_or_else(|| wrong("it is not signed"))?;
    let algorithm = known(&name).ok_or_else(|| wrong("it is not signed"))?;
    let keys = String::from_utf8_lossy(keys);
    let is_by = |key: Vec<u8>| UnparsedPublicKey::new(algorithm, key).verify(signed, &signature).is_ok();
    if blocks(&keys).filter_map(|block| bare(&block)).any(is_by) {
        return Ok(());
    }
    Err(wrong("none of the mount's keys signed it"))
}

/// What stands between the lines of PEM, decoded.
fn blocks(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let parts = text.split("-----BEGIN PUBLIC KEY-----").skip(1);
    parts.filter_map(|part| {
        let (encoded, _) = part.split_once("-----END PUBLIC KEY-----")?;
        STANDARD.decode(encoded.split_whitespace().collect::<String>()).ok()
    })
}

/// An RSA key without what says that it is one.
fn bare(key: &[u8]) -> Option<Vec<u8>> {
    /// rsaEncryption, with no parameters.
    const RSA: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let (all, rest) = value(key, 0x30)?;
    let (bits, behind) = value(all.strip_prefix(&RSA)?, 0x03)?;
    let is_whole = rest.is_empty() && behind.is_empty();
    bits.strip_prefix(&[0]).filter(|_| is_whole).map(<[u8]>::to_vec)
}

/// The value of the DER element with this tag, and what is behind it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        short => (Some(usize::from(*short)).filter(|it| *it < 0x80)?, rest),
    };
    rest.split_at_checked(length)
}
