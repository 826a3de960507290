//! What a signature says of itself, as far as it is understood here.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, Signature, SignatureType, SignatureVersion, SubpacketData};
use pgp::types::{Duration, KeyDetails};

/// Clocks may differ by so many seconds.
const DRIFT: i64 = 300;

/// Whether all that it says, and wants to be understood, is understood here: else it must not
/// count.
pub(super) fn is_understood(signature: &Signature) -> bool {
    let known = matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6);
    let Some(config) = signature.config().filter(|_| known) else { return false };
    let mut critical = config.hashed_subpackets().filter(|it| it.is_critical);
    config.created().is_some() && critical.all(|it| is_known(&it.data))
}

fn is_known(said: &SubpacketData) -> bool {
    match said {
        // When it was made, until when it and the key count, who made it, for what the key is.
        SubpacketData::SignatureCreationTime(_)
        | SubpacketData::SignatureExpirationTime(_)
        | SubpacketData::KeyExpirationTime(_)
        | SubpacketData::IssuerKeyId(_)
        | SubpacketData::IssuerFingerprint(_)
        | SubpacketData::KeyFlags(_)
        | SubpacketData::EmbeddedSignature(_)
        // Whether it may be revoked, and for whom it is; what its maker prefers, can, or says of
        // it.
        | SubpacketData::PreferredSymmetricAlgorithms(_)
        | SubpacketData::PreferredHashAlgorithms(_)
        | SubpacketData::PreferredCompressionAlgorithms(_)
        | SubpacketData::PreferredAeadAlgorithms(_)
        | SubpacketData::PreferredEncryptionModes(_)
        | SubpacketData::KeyServerPreferences(_)
        | SubpacketData::PreferredKeyServer(_)
        | SubpacketData::Features(_)
        | SubpacketData::RevocationReason(..)
        | SubpacketData::IsPrimary(_)
        | SubpacketData::Revocable(_)
        | SubpacketData::SignersUserID(_)
        | SubpacketData::PolicyURI(_)
        | SubpacketData::TrustSignature(..)
        | SubpacketData::RegularExpression(_)
        | SubpacketData::ExportableCertification(_)
        | SubpacketData::SignatureTarget(..)
        | SubpacketData::IntendedRecipientFingerprint(_)
        | SubpacketData::RevocationKey(_) => true,
        SubpacketData::Notation(_) | SubpacketData::Experimental(..) | SubpacketData::Other(..) => false,
    }
}

/// Whether its hash is one for which nobody finds other bytes.
pub(super) fn is_strong(signature: &Signature) -> bool {
    let strong = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ];
    signature.hash_alg().is_some_and(|hash| strong.contains(&hash))
}

/// Whether it is one of this kind.
pub(super) fn is(signature: &Signature, kinds: &[SignatureType]) -> bool {
    signature.typ().is_some_and(|kind| kinds.contains(&kind))
}

/// When it was made, in seconds since 1970.
pub(super) fn created(signature: &Signature) -> i64 {
    signature.created().map_or(0, |time| time.as_secs().into())
}

/// Whether it counts at this time: it is made, and has not expired.
pub(super) fn counts_at(signature: &Signature, now: i64) -> bool {
    let created = created(signature);
    let lifetime = signature.signature_expiration_time().map_or(0, Duration::as_secs);
    created <= now + DRIFT && (lifetime == 0 || now < created + i64::from(lifetime))
}

/// For what the key is that it speaks of, where it says so.
pub(super) fn flags(signature: &Signature) -> Option<&KeyFlags> {
    signature.config()?.hashed_subpackets().find_map(|it| match &it.data {
        SubpacketData::KeyFlags(flags) => Some(flags),
        _ => None,
    })
}

/// The signatures in it: of the subkey that it speaks of.
pub(super) fn embedded(signature: &Signature) -> impl Iterator<Item = &Signature> {
    let said =
        signature.config().into_iter().flat_map(|it| it.hashed_subpackets().chain(it.unhashed_subpackets()));
    said.filter_map(|it| match &it.data {
        SubpacketData::EmbeddedSignature(signature) => Some(&**signature),
        _ => None,
    })
}

/// Whether it says that this key made it.
pub(super) fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    signature.issuer_key_id().contains(&&id) || signature.issuer_fingerprint().contains(&&fingerprint)
}

/// Whether it does not say that another key made it.
pub(super) fn may_be_of(signature: &Signature, key: &impl KeyDetails) -> bool {
    let is_silent = signature.issuer_key_id().is_empty() && signature.issuer_fingerprint().is_empty();
    is_silent || names(signature, key)
}

/// What it calls its key by.
pub(super) fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|it| format!("{it:X}"));
    fingerprint
        .or_else(|| signature.issuer_key_id().first().map(|it| it.to_string().to_uppercase()))
        .unwrap_or_else(|| "that it does not name".to_owned())
}
