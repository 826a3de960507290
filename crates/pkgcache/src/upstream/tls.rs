//! TLS to upstreams.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The configuration that trusts these authorities (DER); without any, no upstream is trusted.
#[must_use]
pub(crate) fn client_config(authorities: &[Vec<u8>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().map(|der| CertificateDer::from(der.as_slice())));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.unwrap_or_else(|_| ClientConfig::builder());
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Makes a connection secure.
///
/// # Errors
/// A name that no certificate can have; a certificate that is not trusted; I/O errors.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await.map_err(explained)
}

/// Says what can be done about a certificate that is not trusted.
fn explained(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()).and_then(hint) {
        Some(hint) => io::Error::other(format!("{error}: {hint}")),
        None => error,
    }
}

fn hint(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(error) = error else { return None };
    match error {
        // One that bears the name of a known one and has another key is not a known one either.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some("its authority is neither among the system's nor in the file that `SSL_CERT_FILE` names")
        }
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => Some(
            "the server shows a self-signed certificate that says of itself that it is an authority's; make one for the \
             server with `basicConstraints = CA:false` (`openssl req -x509 -addext basicConstraints=CA:false`), and name \
             the file with it in `SSL_CERT_FILE`",
        ),
        _ => None,
    }
}

/// Whether both sides have agreed on HTTP/2.
#[must_use]
pub(crate) fn speaks_two(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
