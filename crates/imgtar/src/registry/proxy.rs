//! Whether a proxy stands between here and a host: what `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
//!
//! This machine is never asked for through a proxy.

use std::net::IpAddr;

use super::url::Origin;

/// What the environment says of proxies; empty where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `https`.
    pub https: Option<String>,
    /// For `http`.
    pub http: Option<String>,
    /// The hosts that are reached without one: names (of domains too), addresses, networks, `*`; with commas.
    pub none: String,
}

impl Proxies {
    /// The proxy for this host, if one is to be used.
    pub(crate) fn serve(&self, origin: &Origin) -> Option<&str> {
        let proxy = if origin.tls { &self.https } else { &self.http };
        let direct = origin.is_loopback() || self.none.split(',').any(|entry| covers(entry.trim(), origin));
        proxy.as_deref().filter(|proxy| !direct && !proxy.is_empty())
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

    #[track_caller]
    fn check(none: &str, host: &str, direct: bool) {
        let proxies = Proxies { https: Some("http://proxy:1".to_owned()), http: None, none: none.to_owned() };
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
        let proxies = Proxies { https: Some("http://proxy:1".to_owned()), ..Proxies::default() };
        assert!(proxies.serve(&Origin::parse("a.example", false).unwrap()).is_none());
    }
}
