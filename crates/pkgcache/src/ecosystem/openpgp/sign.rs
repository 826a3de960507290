//! Signature packets of version 4.

use ring::digest;
use ring::signature::{self, RsaParameters};

use super::packet::{Bytes, subpackets};

/// What a signature hashes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    /// MD5 and others: nothing that is signed so counts.
    Other,
}

/// A signature.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// What it says of what it covers.
    pub(super) kind: u8,
    /// The algorithm of its key.
    pub(super) algorithm: u8,
    pub(super) hash: Hash,
    /// When it was made, in seconds since 1970.
    pub(super) created: u32,
    /// For how many seconds it counts; 0 for ever.
    pub(super) lifetime: u32,
    /// For how many seconds, from when it was made, the key counts that it speaks of; 0 for ever.
    pub(super) key_lifetime: u32,
    /// What the key may be used for.
    pub(super) flags: Option<u8>,
    /// What the keys are called that may have made it: fingerprints, or the ends of them.
    pub(super) issuers: Vec<Vec<u8>>,
    /// A signature of another key in it.
    pub(super) embedded: Vec<Self>,
    /// Its own part that it covers.
    own: Vec<u8>,
    /// The numbers that it consists of.
    pub(super) values: Vec<Vec<u8>>,
}

/// No signature has more in it.
const MOST_EMBEDDED: usize = 4;

impl Hash {
    fn of(number: u8) -> Self {
        match number {
            2 => Self::Sha1,
            8 => Self::Sha256,
            9 => Self::Sha384,
            10 => Self::Sha512,
            _ => Self::Other,
        }
    }

    /// Whether it is hard enough to find other bytes with the same hash.
    pub(super) fn is_strong(self) -> bool {
        matches!(self, Self::Sha256 | Self::Sha384 | Self::Sha512)
    }

    pub(super) fn ring(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 | Self::Other => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    pub(super) fn rsa(self) -> &'static RsaParameters {
        match self {
            Self::Sha1 | Self::Other => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        }
    }
}

impl Signature {
    /// Reads the body of a packet. `None` where it is of another version, or says something
    /// critical that is not understood here, so that it must not count.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        Self::nested(body, true)
    }

    fn nested(body: &[u8], may_embed: bool) -> Option<Self> {
        let mut bytes = Bytes(body);
        let &[4, kind, algorithm, hash] = bytes.take(4)? else { return None };
        let length = usize::from(bytes.u16()?);
        let hashed = bytes.take(length)?;
        let own = body.get(..6 + length)?.to_vec();
        let length = usize::from(bytes.u16()?);
        let unhashed = bytes.take(length)?;
        // The first bytes of the hash, to see early that it is another.
        bytes.take(2)?;
        let values = values(algorithm, &mut bytes)?;
        let mut signature = Self {
            kind,
            algorithm,
            hash: Hash::of(hash),
            created: 0,
            lifetime: 0,
            key_lifetime: 0,
            flags: None,
            issuers: Vec::new(),
            embedded: Vec::new(),
            own,
            values,
        };
        let mut has_time = false;
        for (kind, body) in subpackets(hashed)? {
            has_time |= kind & 0x7f == 2;
            signature.learn(kind, body, may_embed)?;
        }
        // What is not covered only helps to find the key, or proves itself.
        for (kind, body) in subpackets(unhashed)? {
            if matches!(kind & 0x7f, 16 | 32 | 33) {
                signature.learn(kind, body, may_embed)?;
            }
        }
        has_time.then_some(signature)
    }

    fn learn(&mut self, kind: u8, body: &[u8], may_embed: bool) -> Option<()> {
        let number = || Bytes(body).u32();
        match kind & 0x7f {
            2 => self.created = number()?,
            3 => self.lifetime = number()?,
            9 => self.key_lifetime = number()?,
            16 => self.issuers.push(body.to_vec()),
            27 => self.flags = Some(body.first().copied().unwrap_or(0)),
            32 if may_embed && self.embedded.len() < MOST_EMBEDDED => {
                self.embedded.extend(Self::nested(body, false));
            }
            // Of version 4.
            33 => self.issuers.extend(body.strip_prefix(&[4]).map(<[u8]>::to_vec)),
            // Whether it may be revoked, and by whom; what its maker prefers, can, or says of it.
            4..=7 | 11 | 12 | 21..=26 | 28..=31 | 34 | 35 | 39 => {}
            _ if kind & 0x80 == 0 => {}
            _ => return None,
        }
        Some(())
    }

    /// What is hashed behind that which is signed.
    pub(super) fn trailer(&self) -> Vec<u8> {
        let length = u32::try_from(self.own.len()).unwrap_or(u32::MAX);
        [self.own.as_slice(), &[4, 0xff], &length.to_be_bytes()].concat()
    }

    /// Whether it counts at this time: it is made, and has not expired. Clocks may differ by five
    /// minutes.
    pub(super) fn counts_at(&self, now: i64) -> bool {
        let created = i64::from(self.created);
        let ends = created + i64::from(self.lifetime);
        created <= now + 300 && (self.lifetime == 0 || now < ends)
    }
}

fn values(algorithm: u8, bytes: &mut Bytes<'_>) -> Option<Vec<Vec<u8>>> {
    let count = match algorithm {
        1 | 3 => 1,
        17 | 19 | 22 => 2,
        27 => {
            let (r, s) = bytes.take(64)?.split_at_checked(32)?;
            return Some(vec![r.to_vec(), s.to_vec()]);
        }
        _ => return Some(Vec::new()),
    };
    (0..count).map(|_| bytes.number().map(<[u8]>::to_vec)).collect()
}
