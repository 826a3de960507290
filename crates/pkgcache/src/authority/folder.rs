//! The folder of an authority: `authority.pem` with its key and its certificate (0600), and
//! `earlier.pem` with the certificates of those that it took the place of and that have not ended.
//!
//! One file has both, so that a process that is killed leaves no key without its certificate.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use storekit::files::replace::{self, Durability, Publication, Staged};
use x509_cert::der::pem::{LineEnding, encode_string};

use crate::authority::certificate::CertificateError;
use crate::authority::{Authority, end_of};
use crate::error::{Error, Result};

/// The key and the certificate.
const OWN: &str = "authority.pem";
/// The certificates of before.
const EARLIER: &str = "earlier.pem";
/// No such file is larger.
const CAP: u64 = 1 << 20;

/// Where an authority lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(Utf8PathBuf);

impl Folder {
    /// At this path, which need not be there yet.
    #[must_use]
    pub fn at(path: Utf8PathBuf) -> Self {
        Self(path)
    }

    /// The file with the key and the certificate.
    #[must_use]
    pub fn file(&self) -> Utf8PathBuf {
        self.0.join(OWN)
    }

    /// Makes an authority that can vouch for these names and those below them, and for nothing
    /// else.
    ///
    /// # Errors
    /// [`Error::AuthorityIsThere`]; a folder or a file that cannot be written.
    pub fn init(&self, names: &[String]) -> Result<Authority> {
        self.make()?;
        let (authority, text) = self.made(names)?;
        match self.staged(&text)?.publish_new(&self.file(), Durability::Synced)? {
            Publication::Named(_) => Ok(authority),
            Publication::Taken(_) => Err(Error::AuthorityIsThere { path: self.file() }),
        }
    }

    /// Puts a new authority in the place of the one that is there, whose key is gone then. Its
    /// certificate is kept until it ends: certificates that it signed are still under way.
    ///
    /// # Errors
    /// [`Error::NoAuthority`]; files that cannot be read or written.
    pub fn rotate(&self, names: &[String]) -> Result<Authority> {
        // Killed from here on, it has both, or the old one in both files.
        let known: String = self.certificates(Timestamp::now())?.iter().map(|der| pem(der)).collect();
        replace::replace(&self.0.join(EARLIER), known.as_bytes(), Durability::Synced)?;
        let (authority, text) = self.made(names)?;
        self.staged(&text)?.publish(&self.file(), Durability::Synced)?;
        Ok(authority)
    }

    /// The authority that is there.
    ///
    /// # Errors
    /// [`Error::NoAuthority`]; [`Error::BadAuthority`] for a file that cannot be used, or that
    /// other users can read.
    pub fn load(&self) -> Result<Authority> {
        let path = self.file();
        let bad = |reason: String| Error::BadAuthority { path: path.clone(), reason };
        let Some((text, metadata)) = replace::read_with_metadata(&path, CAP)? else {
            return Err(Error::NoAuthority { path });
        };
        if metadata.mode() & 0o077 != 0 {
            return Err(bad(format!("other users can read it (mode {:o})", metadata.mode() & 0o777)));
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|error| bad(error.to_string()))?;
        let der = CertificateDer::from_pem_slice(&text).map_err(|error| bad(error.to_string()))?;
        Authority::read(&key, der.to_vec()).map_err(|error| bad(error.to_string()))
    }

    /// The certificates that clients have to trust, in DER: of the authority, and of those before
    /// it that have not ended.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn certificates(&self, now: Timestamp) -> Result<Vec<Vec<u8>>> {
        let mut all = vec![self.load()?.der().to_vec()];
        let text = replace::read_capped(&self.0.join(EARLIER), CAP)?.unwrap_or_default();
        for der in CertificateDer::pem_slice_iter(&text).flatten().map(|der| der.to_vec()) {
            if !all.contains(&der) && end_of(&der).is_some_and(|end| end > now) {
                all.push(der);
            }
        }
        Ok(all)
    }

    fn make(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| Error::BadAuthority { path: self.0.clone(), reason: error.to_string() })
    }

    /// An authority, and the text of its file.
    fn made(&self, names: &[String]) -> Result<(Authority, String)> {
        let bad = |error: CertificateError| Error::BadAuthority {
            path: self.file(),
            reason: format!("none can be made: {error}"),
        };
        let (authority, key) = Authority::new(names, Timestamp::now()).map_err(bad)?;
        let text = block("PRIVATE KEY", &key) + &pem(authority.der());
        Ok((authority, text))
    }

    fn staged(&self, text: &str) -> Result<Staged> {
        let bad =
            |error: std::io::Error| Error::BadAuthority { path: self.file(), reason: error.to_string() };
        let mut staged = Staged::new(folder(&self.0))?;
        // Before there is anything in it.
        staged.file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(bad)?;
        staged.file().write_all(text.as_bytes()).map_err(bad)?;
        Ok(staged)
    }
}

fn folder(path: &Utf8Path) -> &Utf8Path {
    if path.as_str().is_empty() { Utf8Path::new(".") } else { path }
}

/// A certificate as text.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    block("CERTIFICATE", der)
}

fn block(label: &str, der: &[u8]) -> String {
    // Fails for a label that is not one.
    encode_string(label, LineEnding::LF, der).unwrap_or_default()
}
