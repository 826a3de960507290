//! What every command that talks to other machines needs of this one.

/// The certificates of the authorities that this system trusts, in DER form: those of
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set. `warn` is told of each that cannot be
/// read; without any, no server is trusted.
pub fn certificates(mut warn: impl FnMut(&str)) -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn(&format!("certificates of authorities cannot be read: {error}"));
    }
    found.certs.iter().map(|certificate| certificate.to_vec()).collect()
}
