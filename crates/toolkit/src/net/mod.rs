//! What a tool that speaks HTTP needs around its connections: authorities, secrets, networks;
//! `bucket`: where buckets are.
//!
//! Deliberately absent: connections, and TLS itself.

pub mod bucket;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine};
use miette::Diagnostic;
use storekit::Digest;
use thiserror::Error;

/// The authorities that servers with TLS are checked against.
#[derive(Debug)]
pub struct Authorities {
    /// Their certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// What could not be read. The others hold all the same.
    pub problems: Vec<String>,
}

/// The system's authorities, or those in the file or folder that `SSL_CERT_FILE` or `SSL_CERT_DIR`
/// names.
#[must_use]
pub fn authorities() -> Authorities {
    let found = rustls_native_certs::load_native_certs();
    Authorities {
        certificates: found.certs.iter().map(|certificate| certificate.to_vec()).collect(),
        problems: found.errors.iter().map(ToString::to_string).collect(),
    }
}

/// The digest of the secret in the value of an `Authorization` or `Proxy-Authorization` header:
/// what follows `Bearer`, or the password that follows `Basic`.
///
/// Compare digests, never secrets: then the time that it takes tells nothing.
#[must_use]
pub fn secret(header: &[u8]) -> Option<Digest> {
    let (scheme, rest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Digest::of(rest.as_bytes()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(Digest::of(pair.get(colon + 1..)?))
}

/// A URL as it may be shown: a name and a password before the host are left out.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(start);
    // A password that was not encoded may have any character: the last `@` counts.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}…@{host}"),
        None => url.to_owned(),
    }
}

/// Whom a URL belongs to. Credentials for one are never sent to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// In lower case, an IPv6 address with its brackets.
    pub host: String,
    /// 1 or more.
    pub port: u16,
}

impl Origin {
    /// Reads `host`, `host:port` and `[address]:port`.
    #[must_use]
    pub fn parse(text: &str, tls: bool) -> Option<Self> {
        let default = if tls { 443 } else { 80 };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, number(port)?),
            _ => (text, default),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let sound = match address {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(plain),
        };
        sound.then(|| Self { tls, host: host.to_ascii_lowercase(), port })
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// `host`, and the port where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == (if self.tls { 443 } else { 80 }) {
            return self.host.clone();
        }
        format!("{}:{}", self.host, self.port)
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// Addresses with a common beginning: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Text that is not a network.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("{text:?} is not a network")]
#[diagnostic(code(toolkit::not_a_network), help("write `10.0.0.0/8`, `fd00::/8` or one address"))]
pub struct NotANetwork {
    text: String,
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork { text: text.to_owned() };
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("http://host:3128/x", "http://host:3128/x"),
            ("http://user:word@host/x", "http://…@host/x"),
            ("user:w/o?rd@host", "…@host"),
            ("http://u:p@w@host", "http://…@host"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn a_secret_is_a_bearers_or_a_password() {
        let expected = Some(Digest::of(b"secret:1"));
        for header in ["Bearer secret:1", "bearer  secret:1 ", "Basic YW55Ym9keTpzZWNyZXQ6MQ=="] {
            assert_eq!(secret(header.as_bytes()), expected, "{header}");
        }
        for header in ["bearer secret", "Basic secret:1", "Basic !!", "secret:1", "Basic ", "Digest secret:1"]
        {
            assert_ne!(secret(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(
            network.contains("10.1.255.1".parse().unwrap()) && !network.contains("10.2.0.1".parse().unwrap())
        );
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("8.8.8.8".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "x", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
