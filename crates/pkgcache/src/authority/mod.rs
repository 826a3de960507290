//! The authority that stands for intercepted servers: made once, limited to the names that it was
//! made for, and what it vouches for while the server runs.
//!
//! Its certificate and its key lie in one file (`folder`). Certificates of servers are made when
//! they are wanted (`leaves`), and are in memory alone.
//!
//! Deliberately absent: which hosts are intercepted (`config`), connections (`server`).

mod certificate;
mod folder;
pub(crate) mod leaves;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use storekit::Digest;

use crate::authority::certificate::{CertificateError, Facts};
pub use crate::authority::folder::{Folder, pem};

/// An authority, with its key.
pub struct Authority {
    key: EcdsaKeyPair,
    /// Its certificate, in DER.
    der: Vec<u8>,
    facts: Facts,
}

/// Tells nothing of the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Authority {
    /// A new one for these names, and its key as PKCS #8.
    fn new(names: &[String], now: Timestamp) -> Result<(Self, Vec<u8>), CertificateError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
        let key = key_of(document.as_ref())?;
        let der = certificate::of_authority(names, &key, now)?;
        Ok((Self::of(key, der)?, document.as_ref().to_vec()))
    }

    /// One that was made before.
    fn read(key: &PrivatePkcs8KeyDer<'_>, der: Vec<u8>) -> Result<Self, CertificateError> {
        Self::of(key_of(key.secret_pkcs8_der())?, der)
    }

    fn of(key: EcdsaKeyPair, der: Vec<u8>) -> Result<Self, CertificateError> {
        let facts = Facts::read(&der)?;
        if facts.public_key != key.public_key().as_ref() {
            return Err(CertificateError::Other("the key is not that of the certificate"));
        }
        Ok(Self { key, der, facts })
    }

    /// Its certificate, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The names that it may vouch for: these, and all below them.
    #[must_use]
    pub fn permitted(&self) -> &[String] {
        &self.facts.permitted
    }

    /// Whether it may vouch for the name, which is in lower case.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        let below = |permitted: &String| {
            let rest = name.strip_suffix(permitted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.facts.permitted.iter().any(below)
    }

    /// What it is called in certificates.
    #[must_use]
    pub fn name(&self) -> String {
        self.facts.subject.to_string()
    }

    /// From when on it counts.
    #[must_use]
    pub fn begins(&self) -> Timestamp {
        self.facts.begins
    }

    /// When it ends.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        self.facts.ends
    }

    /// The SHA-256 of its certificate, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Digest::of(&self.der).hex()
    }
}

fn key_of(document: &[u8]) -> Result<EcdsaKeyPair, CertificateError> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document, &SystemRandom::new())
        .map_err(|_| CertificateError::Other("the key is not one of P-256"))
}

/// When the certificate ends, where it is one that was made here.
#[must_use]
fn end_of(der: &[u8]) -> Option<Timestamp> {
    Facts::read(der).ok().map(|facts| facts.ends)
}
