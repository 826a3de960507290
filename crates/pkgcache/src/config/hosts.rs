//! Which servers may be asked, by name and by address.
//!
//! Names are checked when a request comes, addresses when the connection is made: a name that was
//! looked up twice can have changed in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use miette::Diagnostic;
use thiserror::Error;

/// Servers by name and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(pub Vec<HostRule>);

/// `example.org`, `*.example.org` (and all below), `*`; with `:PORT`, else the ports 80 and 443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// The name in lower case, without `*.`; empty for every name.
    name: String,
    /// Whether names below count, too.
    below: bool,
    port: Option<u16>,
}

/// Text that is not a host.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("{text:?} is not a host")]
#[diagnostic(
    code(pkgcache::not_a_host),
    help("write `example.org`, `*.example.org`, `example.org:8080`, `[::1]:8080` or `*`")
)]
pub struct NotAHost {
    text: String,
}

impl FromStr for HostRule {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let wrong = || NotAHost { text: text.to_owned() };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| wrong())?)),
            _ => (text, None),
        };
        let (name, below) = match host.strip_prefix('*') {
            Some("") => ("", true),
            Some(rest) => (rest.strip_prefix('.').ok_or_else(wrong)?, true),
            None => (host, false),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let good = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if !name.chars().all(good) || (name.is_empty() && !below) {
            return Err(wrong());
        }
        Ok(Self { name, below, port })
    }
}

/// The ports that a rule means that names none, for what is asked for and tunnelled to.
const USUAL: &[u16] = &[80, 443];
/// The same for what is intercepted.
const SECURE: &[u16] = &[443];

impl HostRule {
    /// The name, in lower case; empty for every name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether names below it count, too.
    #[must_use]
    pub(crate) fn is_below(&self) -> bool {
        self.below
    }

    fn allows(&self, host: &str, port: u16, usual: &[u16]) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let under = || host.strip_suffix(self.name.as_str()).is_some_and(|rest| rest.ends_with('.'));
        let name = self.name == host || (self.below && (self.name.is_empty() || under()));
        name && self.port.map_or(usual.contains(&port), |own| own == port)
    }
}

impl Hosts {
    /// Whether the server may be asked.
    #[must_use]
    pub(crate) fn allow(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.0.iter().any(|rule| rule.allows(host, port, USUAL))
    }

    /// Whether a tunnel to the server may end here.
    #[must_use]
    pub(crate) fn cover(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|rule| rule.allows(host, port, SECURE))
    }
}

impl Hosts {
    /// Whether a rule names this address itself, so that its author knows where it is.
    #[must_use]
    pub(crate) fn name_address(&self, host: &str, port: u16) -> bool {
        let exact = |rule: &&HostRule| !rule.below && rule.allows(host.trim_matches(['[', ']']), port, USUAL);
        is_address(host) && self.0.iter().any(|rule| exact(&rule))
    }
}

/// Whether the host is an address, or this machine, rather than a name, which its owner could point
/// anywhere.
#[must_use]
pub(crate) fn is_address(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// What kind of network an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The public internet's.
    Public,
    /// This machine's or this network's.
    Private,
    /// Never a server of packages: link-local, with it the machines' own metadata, multicast,
    /// unspecified.
    Never,
}

/// Where an address is. Source: the IANA registries of special-purpose addresses.
#[must_use]
pub(crate) fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0 | 224..=255, ..] | [169, 254, ..] | [100, 100, 100, 200] | [168, 63, 129, 16] => Reach::Never,
        [10 | 127, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    /// Where one cloud answers questions about its machines.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let [first, second, third, ..] = address.segments();
    match first {
        _ if address.is_unspecified() || address.is_multicast() || address == METADATA => Reach::Never,
        0xfe80..=0xfebf => Reach::Never,
        _ if address.is_loopback() => Reach::Private,
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Reach::Private,
        // These carry an address of version 4 inside.
        0x64 if second == 0xff9b && third == 0 => embedded(address.to_bits()),
        // A network's own translation: where the address is in it, only that network knows.
        0x64 if second == 0xff9b => Reach::Private,
        0x2002 => embedded(address.to_bits() >> 80),
        0 => embedded(address.to_bits()),
        0x2001 if second == 0xdb8 || second < 0x200 => Reach::Private,
        _ => Reach::Public,
    }
}

fn embedded(bits: u128) -> Reach {
    reach_v4(Ipv4Addr::from_bits(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn allows(rule: &str, host: &str, port: u16, expected: bool) {
        let hosts = Hosts(vec![rule.parse().unwrap()]);
        assert_eq!(hosts.allow(host, port), expected, "{rule} {host}:{port}");
    }

    #[test]
    fn names_and_ports_have_to_fit() {
        allows("example.org", "EXAMPLE.org.", 443, true);
        allows("example.org", "example.org", 8080, false);
        allows("example.org:8080", "example.org", 8080, true);
        allows("example.org:8080", "example.org", 80, false);
        allows("example.org", "a.example.org", 80, false);
        allows("*.example.org", "a.b.example.org", 80, true);
        allows("*.example.org", "evilexample.org", 80, false);
        allows("*.example.org", "example.org", 80, true);
        allows("*", "anything", 80, true);
        allows("*", "anything", 22, false);
        allows("[::1]:8080", "[::1]", 8080, true);
        for wrong in ["", "*x", "a b", "a/b", "a:x"] {
            assert!(wrong.parse::<HostRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_that_are_nobodys_server_are_known_in_every_disguise() {
        for (address, expected) in [
            ("8.8.8.8", Reach::Public),
            ("2606:4700::1", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("10.0.0.1", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("192.168.0.1", Reach::Private),
            ("::1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("64:ff9b::a00:1", Reach::Private),
            ("2002:a00:1::", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("64:ff9b:1:808:8:800::", Reach::Private),
            ("2002:a9fe:a9fe::", Reach::Never),
            ("fe80::1", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("ff02::1", Reach::Never),
        ] {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }
}
