//! Whether a proxy stands between here and a host: what `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`
//! and `NO_PROXY` say.
//!
//! This machine is never asked for through a proxy. Deliberately absent: SOCKS 4, which knows
//! neither passwords nor IPv6.
//!
//! Source: curl's manual, "Proxies", whose schemes these are.

use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use super::url::Origin;
use crate::error::registry::Error;

/// What the environment says of proxies; empty where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `https`.
    pub https: Option<Named>,
    /// For `http`.
    pub http: Option<Named>,
    /// The hosts that are reached without one: names (of domains too), addresses, networks, `*`;
    /// with commas.
    pub none: String,
}

/// A proxy, and what names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The environment variable that names the proxy.
    pub variable: String,
    /// What it says: `[SCHEME://][USER:PASSWORD@]HOST[:PORT]`.
    pub url: String,
}

impl Proxies {
    /// The proxy for this host, if one is to be used.
    pub(crate) fn serve(&self, origin: &Origin) -> Option<&Named> {
        let proxy = if origin.tls { &self.https } else { &self.http };
        let direct = origin.is_loopback() || self.none.split(',').any(|entry| covers(entry.trim(), origin));
        proxy.as_ref().filter(|proxy| !direct && !proxy.url.is_empty())
    }
}

impl Named {
    /// The proxy, as the HTTP library takes it.
    ///
    /// # Errors
    /// [`Error::Proxy`], without user and password.
    pub(crate) fn parse(&self) -> Result<Proxy, Error> {
        let proxy = Proxy::new(self.url.trim()).map_err(|_| self.refused("it is not a proxy's address"))?;
        match proxy.protocol() {
            ProxyProtocol::Http | ProxyProtocol::Https | ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => {}
            _ => return Err(self.refused("of the SOCKS versions, only 5 is supported")),
        }
        if proxy.host().is_empty() {
            return Err(self.refused("it names no host"));
        }
        // The library takes the scheme's own port for one that it cannot read.
        if !has_sound_port(&proxy) {
            return Err(self.refused("its port is not a number from 1 to 65535"));
        }
        Ok(proxy)
    }

    /// What the message of a connection that failed adds.
    pub(crate) fn told(&self) -> String {
        format!(" (through the proxy `{}` of {})", self.shown(), self.variable)
    }

    /// Without user and password.
    fn shown(&self) -> String {
        let address = self.url.rsplit('@').next().unwrap_or_default();
        address.chars().filter(|char| !char.is_control()).take(300).collect()
    }

    fn refused(&self, reason: &'static str) -> Error {
        Error::Proxy { proxy: self.shown(), variable: self.variable.clone(), reason }
    }
}

/// Whether the proxy has no port, or one that can be.
fn has_sound_port(proxy: &Proxy) -> bool {
    let authority = proxy.uri().authority().map_or("", |authority| authority.as_str());
    let address = authority.rsplit('@').next().unwrap_or_default();
    match address.strip_prefix(proxy.host()).unwrap_or_default() {
        "" | ":" => true,
        port => {
            port[1..].bytes().all(|byte| byte.is_ascii_digit())
                && port[1..].parse::<u16>().is_ok_and(|port| port > 0)
        }
    }
}

/// Whether an entry of `NO_PROXY` covers the host.
fn covers(entry: &str, origin: &Origin) -> bool {
    let bare = origin.host.trim_start_matches('[').trim_end_matches(']');
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let (network, host) = (network.parse::<IpAddr>(), bare.parse::<IpAddr>());
        let bits = bits.parse().ok();
        return matches!((network, host, bits), (Ok(a), Ok(b), Some(bits)) if within(a, b, bits));
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !name.contains(':') => (name, port.parse::<u16>().ok()),
        _ => (entry.trim_start_matches('[').trim_end_matches(']'), None),
    };
    let name = name.trim_start_matches('*').to_ascii_lowercase();
    if name.is_empty() || port.is_some_and(|port| port != origin.port) {
        return false;
    }
    let domain = name.strip_prefix('.').unwrap_or(&name);
    let below = bare.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    below && bare.parse::<IpAddr>().is_err() || bare == name
}

fn within(network: IpAddr, host: IpAddr, bits: u32) -> bool {
    let same =
        |a: u128, b: u128, width: u32| bits <= width && (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0;
    match (network, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str) -> Named {
        Named { variable: "ALL_PROXY".to_owned(), url: url.to_owned() }
    }

    #[test]
    fn proxies_are_http_and_socks_5() {
        for url in [
            "http://proxy:1",
            "https://proxy",
            "proxy:3128",
            "user:a%40b@proxy:3128",
            "socks5://127.0.0.1:1080",
            "socks5h://user:word@proxy",
            "SOCKS5://[::1]:1080",
            "socks://proxy",
            " http://proxy:1 ",
        ] {
            assert!(named(url).parse().is_ok(), "{url} was refused");
        }
        for url in [
            "socks4://proxy:1",
            "socks4a://proxy:1",
            "ftp://proxy:1",
            "http://",
            "http://:3128",
            ":3128",
            "/proxy",
            "proxy:port",
            "proxy:+1",
            "proxy:0",
            "user:word@",
            "pro xy",
            "socks5://user:%ff@proxy",
            "http://proxy:99999999",
            "\u{e9}",
        ] {
            let error = named(url).parse().map(drop).unwrap_err().to_string();
            assert!(error.contains("ALL_PROXY"), "{url}: {error}");
        }
    }

    #[test]
    fn a_proxys_password_is_in_no_message() {
        let error = named("socks4://user:word@proxy:1").parse().map(drop).unwrap_err().to_string();
        assert!(error.contains("`proxy:1` of ALL_PROXY") && !error.contains("word"), "{error}");
    }

    #[track_caller]
    fn check(none: &str, host: &str, direct: bool) {
        let proxies = Proxies { https: Some(named("http://proxy:1")), http: None, none: none.to_owned() };
        let origin = Origin::parse(host, true).unwrap();
        assert_eq!(proxies.serve(&origin).is_none(), direct, "`{none}` and `{host}`");
    }

    #[test]
    fn no_proxy_names_hosts_domains_and_networks() {
        check("", "a.example", false);
        check("*", "a.example", true);
        check("a.example", "a.example", true);
        check("example", "a.example", true);
        check("ample", "a.example", false);
        check(".example", "a.example", true);
        check(".a.example", "a.example", false);
        check("x, A.Example:443", "a.example", true);
        check("a.example:444", "a.example", false);
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("0.0.0.0/0", "11.1.2.3", true);
        check("10.0.0.0/99,/,:,[,1.2", "10.1.1.2", false);
        check("fd00::/8", "[fd12::1]:5000", true);
        check("fd12::1", "[fd12::1]:5000", true);
    }

    #[test]
    fn this_machine_needs_none() {
        check("", "localhost:5000", true);
        check("", "127.0.0.1:5000", true);
        let proxies = Proxies { https: Some(named("http://proxy:1")), ..Proxies::default() };
        assert!(proxies.serve(&Origin::parse("a.example", false).unwrap()).is_none());
    }
}
