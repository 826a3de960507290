//! Certificates, written and read: RFC 5280.

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use storekit::Digest;
use thiserror::Error;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::{Any, BitString, GeneralizedTime, Ia5String, OctetString, UtcTime};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ID_EC_PUBLIC_KEY, ID_KP_SERVER_AUTH, SECP_256_R_1,
};
use x509_cert::der::{self, Decode, Encode};
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{AsExtension, Extension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

/// An authority lives so long, in seconds: 365 days.
pub(super) const LIFE: i64 = 365 * 86_400;
/// A server's certificate does: 24 hours, with what lies in the past.
pub(super) const LEAF: i64 = 86_400;
/// A clock may be so far behind, in seconds.
pub(super) const BACK: i64 = 3600;
/// No common name is longer. Source: RFC 5280, appendix A.1 (`ub-common-name`).
const COMMON_NAME: usize = 64;

/// Why a certificate could not be made or read.
#[derive(Debug, Error)]
pub(super) enum CertificateError {
    /// It is not one, or has something in it that cannot be.
    #[error("{0}")]
    Der(#[from] der::Error),
    /// What a certificate has to be, and this one is not.
    #[error("{0}")]
    Other(&'static str),
}

impl From<ring::error::Unspecified> for CertificateError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Other("the system gives no random bytes")
    }
}

/// What an authority's certificate says.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) subject: Name,
    pub(super) public_key: Vec<u8>,
    /// The names that it may vouch for, with all below them.
    pub(super) permitted: Vec<String>,
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

impl Facts {
    /// Of a certificate that was made here: any other is refused.
    pub(super) fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let Certificate { tbs_certificate: tbs, signature_algorithm, signature } =
            Certificate::from_der(der)?;
        if signature_algorithm != tbs.signature || signature.unused_bits() != 0 {
            return Err(CertificateError::Other("its certificate is damaged"));
        }
        let public_key = tbs.subject_public_key_info.subject_public_key.raw_bytes().to_vec();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public_key)
            .verify(&tbs.to_der()?, signature.raw_bytes())
            .map_err(|_| CertificateError::Other("its certificate is damaged"))?;
        let is_authority = matches!(tbs.get::<BasicConstraints>()?, Some((true, it)) if it.ca);
        let constraints = tbs.get::<NameConstraints>()?.filter(|(critical, _)| *critical && is_authority);
        let permitted = constraints.and_then(|(_, it)| it.permitted_subtrees).unwrap_or_default();
        let permitted: Vec<_> = permitted.into_iter().filter_map(|it| name_of(it.base)).collect();
        if permitted.is_empty() {
            return Err(CertificateError::Other("it is not an authority's that is limited to names"));
        }
        Ok(Self {
            permitted,
            begins: timestamp(tbs.validity.not_before),
            ends: timestamp(tbs.validity.not_after),
            public_key,
            subject: tbs.subject,
        })
    }
}

fn name_of(name: GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string().to_ascii_lowercase()),
        _ => None,
    }
}

fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The certificate of an authority for these names, signed by itself.
pub(super) fn of_authority(
    names: &[String],
    key: &EcdsaKeyPair,
    now: Timestamp,
) -> Result<Vec<u8>, CertificateError> {
    let id = key_id(key.public_key().as_ref());
    let short: String = Digest::of(key.public_key().as_ref()).hex().chars().take(8).collect();
    // Each has a name of its own: clients may have several at a time.
    let subject: Name = format!("CN=pkgcache interception {short}").parse()?;
    let extensions = extensions(
        &subject,
        &[
            &BasicConstraints { ca: true, path_len_constraint: Some(0) },
            &KeyUsage(KeyUsages::KeyCertSign.into()),
            &ExtendedKeyUsage(vec![ID_KP_SERVER_AUTH]),
            &constraints(names)?,
            &SubjectKeyIdentifier(OctetString::new(id)?),
        ],
    )?;
    let (subject, issuer) = (subject.clone(), subject);
    let validity = validity(now.as_second() - BACK, now.as_second() + LIFE)?;
    signed(Wanted { subject, issuer, validity, public_key: key.public_key().as_ref(), extensions }, key)
}

/// Only these names and those below them, and no address at all: who is permitted names alone may
/// still vouch for addresses. Source: RFC 5280, 4.2.1.10.
fn constraints(names: &[String]) -> Result<NameConstraints, CertificateError> {
    let tree = |base| GeneralSubtree { base, minimum: 0, maximum: None };
    let name = |name: &String| Ok(tree(GeneralName::DnsName(Ia5String::new(name)?)));
    let permitted = names.iter().map(name).collect::<Result<Vec<_>, der::Error>>()?;
    // An address and its mask, all zeros: every address of the one version, and of the other.
    let all = |size| Ok(tree(GeneralName::IpAddress(OctetString::new(vec![0; size])?)));
    let excluded = [8, 32].into_iter().map(all).collect::<Result<Vec<_>, der::Error>>()?;
    Ok(NameConstraints { permitted_subtrees: Some(permitted), excluded_subtrees: Some(excluded) })
}

/// The certificate of a server of this name, for the public key.
pub(super) fn of_server(
    name: &str,
    public_key: &[u8],
    (issuer, key): (&Facts, &EcdsaKeyPair),
    now: Timestamp,
) -> Result<Vec<u8>, CertificateError> {
    let has_room = name.len() <= COMMON_NAME;
    let subject: Name = if has_room { format!("CN={name}").parse()? } else { Name::default() };
    let extensions = extensions(
        &subject,
        &[
            &BasicConstraints { ca: false, path_len_constraint: None },
            &KeyUsage(KeyUsages::DigitalSignature.into()),
            &ExtendedKeyUsage(vec![ID_KP_SERVER_AUTH]),
            &SubjectAltName(vec![GeneralName::DnsName(Ia5String::new(name)?)]),
            &SubjectKeyIdentifier(OctetString::new(key_id(public_key))?),
            &AuthorityKeyIdentifier {
                key_identifier: Some(OctetString::new(key_id(&issuer.public_key))?),
                ..AuthorityKeyIdentifier::default()
            },
        ],
    )?;
    let begins = now.as_second() - BACK;
    let ends = (begins + LEAF).min(issuer.ends.as_second());
    let (issuer, validity) = (issuer.subject.clone(), validity(begins, ends)?);
    signed(Wanted { subject, issuer, validity, public_key, extensions }, key)
}

fn extensions(subject: &Name, all: &[&dyn Written]) -> Result<Vec<Extension>, der::Error> {
    all.iter().map(|it| it.written(subject)).collect()
}

/// An extension of any kind.
trait Written {
    fn written(&self, subject: &Name) -> Result<Extension, der::Error>;
}

impl<T: AsExtension> Written for T {
    fn written(&self, subject: &Name) -> Result<Extension, der::Error> {
        self.to_extension(subject, &[])
    }
}

/// What a certificate is to say.
struct Wanted<'a> {
    subject: Name,
    issuer: Name,
    validity: Validity,
    public_key: &'a [u8],
    extensions: Vec<Extension>,
}

fn signed(wanted: Wanted<'_>, key: &EcdsaKeyPair) -> Result<Vec<u8>, CertificateError> {
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None };
    let curve: &ObjectIdentifier = &SECP_256_R_1;
    let public_key = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: ID_EC_PUBLIC_KEY,
            parameters: Some(Any::encode_from(curve)?),
        },
        subject_public_key: BitString::from_bytes(wanted.public_key)?,
    };
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: serial_number()?,
        signature: algorithm.clone(),
        issuer: wanted.issuer,
        validity: wanted.validity,
        subject: wanted.subject,
        subject_public_key_info: public_key,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(wanted.extensions),
    };
    let signature = key.sign(&SystemRandom::new(), &tbs_certificate.to_der()?)?;
    let signature = BitString::from_bytes(signature.as_ref())?;
    Ok(Certificate { tbs_certificate, signature_algorithm: algorithm, signature }.to_der()?)
}

/// 16 random bytes: positive, and never 0.
fn serial_number() -> Result<SerialNumber, CertificateError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::new(&bytes)?)
}

/// By this a certificate names a key. Source: RFC 7093, section 2, method 1.
fn key_id(public_key: &[u8]) -> Vec<u8> {
    digest(&SHA256, public_key).as_ref().iter().copied().take(20).collect()
}

fn validity(begins: i64, ends: i64) -> Result<Validity, CertificateError> {
    Ok(Validity { not_before: time(begins)?, not_after: time(ends)? })
}

/// Through 2049 it is written with two digits for the year. Source: RFC 5280, 4.1.2.5.
fn time(seconds: i64) -> Result<Time, CertificateError> {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    match UtcTime::from_unix_duration(since) {
        Ok(time) => Ok(time.into()),
        Err(_) => Ok(GeneralizedTime::from_unix_duration(since)?.into()),
    }
}
