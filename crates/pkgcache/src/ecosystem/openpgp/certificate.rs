//! Certificates: a key with what it says of itself and of its subkeys, and whether one of them may
//! sign now.
//!
//! Limit: revocations by another key (designated revokers) are not looked for.

use std::fmt;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{KeyFlags, Signature, SignatureType};
use pgp::ser::Serialize as _;
use pgp::types::{
    Duration, EcdsaPublicParams, EddsaLegacyPublicParams, Fingerprint, KeyDetails, KeyVersion, PublicParams,
    Tag,
};

use super::sign::{self, counts_at, created, is, is_strong, is_understood};

/// A key of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    certificate: &'a SignedPublicKey,
    /// `None` for the certificate's own.
    subkey: Option<&'a SignedPublicSubKey>,
}

/// Why a key may not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Revoked,
    Expired,
    /// Nothing that it says of itself holds.
    Unproved,
    /// What it says of itself is signed with SHA-1 or weaker.
    Weak,
    NotForSigning,
}

/// RSA keys have at least so many bits.
const LEAST_BITS: u16 = 2048;

/// The keys of a certificate that a signature says made it.
pub(super) fn named<'a>(
    certificate: &'a SignedPublicKey,
    signature: &Signature,
) -> impl Iterator<Item = Key<'a>> {
    let own = sign::names(signature, certificate).then_some(Key { certificate, subkey: None });
    let subkeys = certificate.public_subkeys.iter().filter(|subkey| sign::names(signature, &subkey.key));
    let subkeys = subkeys.map(|subkey| Key { certificate, subkey: Some(subkey) });
    own.into_iter().chain(subkeys.collect::<Vec<_>>())
}

impl Key<'_> {
    fn details(&self) -> &dyn KeyDetails {
        match self.subkey {
            Some(subkey) => &subkey.key,
            None => &self.certificate.primary_key,
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.details().fingerprint()
    }

    /// When it was made, in seconds since 1970.
    pub(super) fn created(&self) -> i64 {
        self.details().created_at().as_secs().into()
    }

    /// Whether the key is of a version and an algorithm that is in use for signing repositories.
    pub(super) fn is_known(&self) -> bool {
        let key = self.details();
        let version = matches!(key.version(), KeyVersion::V4 | KeyVersion::V6);
        version
            && match key.public_params() {
                PublicParams::RSA(rsa) => {
                    // The modulus, behind the number of its bits.
                    let mut numbers = Vec::new();
                    let written = rsa.to_writer(&mut numbers).is_ok();
                    let bits = numbers.first_chunk().map_or(0, |bits| u16::from_be_bytes(*bits));
                    written && bits >= LEAST_BITS
                }
                PublicParams::ECDSA(ecdsa) => matches!(
                    ecdsa,
                    EcdsaPublicParams::P256 { .. }
                        | EcdsaPublicParams::P384 { .. }
                        | EcdsaPublicParams::P521 { .. }
                ),
                PublicParams::EdDSALegacy(key) => matches!(key, EddsaLegacyPublicParams::Ed25519 { .. }),
                PublicParams::Ed25519(_) | PublicParams::Ed448(_) => true,
                _ => false,
            }
    }

    /// Whether it made the signature over these bytes.
    pub(super) fn signed(&self, signature: &Signature, data: &[u8]) -> bool {
        match self.subkey {
            Some(subkey) => signature.verify(&subkey.key, data).is_ok(),
            None => signature.verify(&self.certificate.primary_key, data).is_ok(),
        }
    }

    /// Whether it may sign documents now.
    pub(super) fn may_sign(&self, now: i64) -> Result<(), Unfit> {
        let signs = self.own_word(now)?;
        match self.subkey {
            Some(subkey) => self.subkey_may_sign(subkey, now),
            None => signs.then_some(()).ok_or(Unfit::NotForSigning),
        }
    }

    /// Whether the certificate's own key counts now, by what it says of itself, and is for signing.
    fn own_word(&self, now: i64) -> Result<bool, Unfit> {
        let (key, details) = (&self.certificate.primary_key, &self.certificate.details);
        // A weak hash does here: whoever forges one only takes a key away.
        if details.revocation_signatures.iter().any(|it| self.counts(it) && it.verify_key(key).is_ok()) {
            return Err(Unfit::Revoked);
        }
        let direct = details.direct_signatures.iter().filter(|it| is(it, &[SignatureType::Key]));
        let direct = newest(direct.filter(|it| self.counts(it)), now, |it| it.verify_key(key).is_ok());
        let names =
            details.users.iter().map(|user| self.name_word(Tag::UserId, &user.id, &user.signatures, now));
        let attributes = details.user_attributes.iter();
        let attributes =
            attributes.map(|it| self.name_word(Tag::UserAttribute, &it.attr, &it.signatures, now));
        let of_a_name = names.chain(attributes).reduce(newer).unwrap_or(Err(Unfit::Unproved));
        // What is said of the key itself goes first, for each thing that it says.
        let said = match (direct, of_a_name) {
            (Ok(direct), Ok(of_a_name)) => vec![direct, of_a_name],
            (Ok(word), Err(_)) | (Err(_), Ok(word)) => vec![word],
            (Err(one), Err(other)) => return Err(if one == Unfit::Weak { one } else { other }),
        };
        let lifetime = said.iter().find_map(|it| it.key_expiration_time());
        alive(key, lifetime.map_or(0, Duration::as_secs), now)?;
        Ok(said.iter().find_map(|it| sign::flags(it)).is_none_or(KeyFlags::sign))
    }

    /// The newest thing that the key says of itself with one of its names.
    fn name_word<'a>(
        &self,
        tag: Tag,
        name: &impl pgp::ser::Serialize,
        signatures: &'a [Signature],
        now: i64,
    ) -> Result<&'a Signature, Unfit> {
        let key = &self.certificate.primary_key;
        let holds = |it: &Signature| it.verify_certification(key, tag, name).is_ok();
        let own = || signatures.iter().filter(|it| self.counts(it));
        let revocations = own().filter(|it| is(it, &[SignatureType::CertRevocation]) && holds(it));
        let gone = revocations.map(created).max();
        let said = own().filter(|it| !is(it, &[SignatureType::CertRevocation]));
        newest(said.filter(|it| gone.is_none_or(|gone| gone < created(it))), now, holds)
    }

    fn subkey_may_sign(&self, subkey: &SignedPublicSubKey, now: i64) -> Result<(), Unfit> {
        let primary = &self.certificate.primary_key;
        let holds = |it: &Signature| it.verify_subkey_binding(primary, &subkey.key).is_ok();
        let own = || subkey.signatures.iter().filter(|it| self.counts(it));
        if own().any(|it| is(it, &[SignatureType::SubkeyRevocation]) && holds(it)) {
            return Err(Unfit::Revoked);
        }
        let word = newest(own().filter(|it| is(it, &[SignatureType::SubkeyBinding])), now, holds)?;
        alive(&subkey.key, word.key_expiration_time().map_or(0, Duration::as_secs), now)?;
        if !sign::flags(word).is_some_and(KeyFlags::sign) {
            return Err(Unfit::NotForSigning);
        }
        // The subkey says, too, that it belongs to the key: else anybody could claim it.
        let agrees = |it: &Signature| {
            is_understood(it)
                && is_strong(it)
                && counts_at(it, now)
                && it.verify_primary_key_binding(&subkey.key, primary).is_ok()
        };
        sign::embedded(word).any(agrees).then_some(()).ok_or(Unfit::Unproved)
    }

    /// Whether it is one of the certificate's own, and understood.
    fn counts(&self, signature: &Signature) -> bool {
        is_understood(signature) && sign::may_be_of(signature, &self.certificate.primary_key)
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", self.fingerprint())
    }
}

/// The newest of these signatures that holds.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    now: i64,
    holds: impl Fn(&Signature) -> bool,
) -> Result<&'a Signature, Unfit> {
    let mut weak = false;
    let mut found: Option<&Signature> = None;
    for signature in signatures.filter(|it| counts_at(it, now)) {
        if !is_strong(signature) {
            weak = true;
        } else if found.is_none_or(|found| created(found) < created(signature)) && holds(signature) {
            found = Some(signature);
        }
    }
    found.ok_or(if weak { Unfit::Weak } else { Unfit::Unproved })
}

/// Of two things that were said, the later one; where nothing holds, the reason that says more.
fn newer<'a>(
    one: Result<&'a Signature, Unfit>,
    other: Result<&'a Signature, Unfit>,
) -> Result<&'a Signature, Unfit> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(if created(one) < created(other) { other } else { one }),
        (Ok(word), Err(_)) | (Err(_), Ok(word)) => Ok(word),
        (Err(one), Err(other)) => Err(if one == Unfit::Weak { one } else { other }),
    }
}

/// Whether the key counts at this time, which has this lifetime; 0 for ever.
fn alive(key: &impl KeyDetails, lifetime: u32, now: i64) -> Result<(), Unfit> {
    let ends = i64::from(key.created_at().as_secs()) + i64::from(lifetime);
    if lifetime != 0 && ends <= now { Err(Unfit::Expired) } else { Ok(()) }
}
