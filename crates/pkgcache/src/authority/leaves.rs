//! Certificates of intercepted servers, as long as the process lives.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_ecdsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::certificate::{BACK, CertificateError, LEAF, of_server};
use crate::authority::{Authority, key_of};

/// So many are kept: names below one that is listed are the client's to choose.
const MOST: usize = 1024;
/// One is made anew when half of its time is over, in seconds.
const FRESH: i64 = (LEAF - BACK) / 2;

/// What clients of intercepted servers are shown.
#[derive(Default)]
pub(crate) struct Leaves(Mutex<HashMap<String, Leaf>>);

/// One server's.
struct Leaf {
    made: Timestamp,
    /// The certificate of the authority that signed it.
    by: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaves").finish_non_exhaustive()
    }
}

/// Shows the certificate to clients that ask for the host by its name, and to no others.
#[derive(Debug)]
struct ForOne {
    host: String,
    shown: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ForOne {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name()?;
        asked.eq_ignore_ascii_case(&self.host).then(|| Arc::clone(&self.shown))
    }
}

impl Leaves {
    /// How TLS is spoken with a client that wants this host, in lower case.
    ///
    /// # Errors
    /// Why there is no certificate for it.
    pub(crate) fn config(
        &self,
        authority: &Authority,
        host: &str,
        now: Timestamp,
    ) -> Result<Arc<ServerConfig>, String> {
        if now >= authority.ends() {
            return Err(format!(
                "the authority ended {:.0}: `pkgcache ca rotate` makes another",
                authority.ends()
            ));
        }
        let mut leaves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host)
            && leaf.holds(authority, now)
        {
            return Ok(Arc::clone(&leaf.config));
        }
        let config = made(authority, host, now).map_err(|error| error.to_string())?;
        if leaves.len() >= MOST {
            leaves.retain(|_, leaf| leaf.holds(authority, now));
        }
        if leaves.len() >= MOST {
            leaves.clear();
        }
        let (by, kept) = (authority.der().to_vec(), Arc::clone(&config));
        leaves.insert(host.to_owned(), Leaf { made: now, by, config: kept });
        Ok(config)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Leaf {
    fn holds(&self, authority: &Authority, now: Timestamp) -> bool {
        let age = now.as_second() - self.made.as_second();
        (0..FRESH).contains(&age) && self.by == authority.der()
    }
}

fn made(authority: &Authority, host: &str, now: Timestamp) -> Result<Arc<ServerConfig>, CertificateError> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())?;
    let public_key = key_of(document.as_ref())?.public_key().as_ref().to_vec();
    let der = of_server(host, &public_key, (&authority.facts, &authority.key), now)?;
    let own = PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into();
    let signs = any_ecdsa_type(&own).map_err(|_| CertificateError::Other("its key cannot be used"))?;
    let shown = Arc::new(CertifiedKey::new(vec![CertificateDer::from(der)], signs));
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|_| CertificateError::Other("there is no version of TLS"))?;
    let resolver = Arc::new(ForOne { host: host.to_owned(), shown });
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    // Requests are read as those of plain connections are.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
