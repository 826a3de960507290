//! Who is at the other end of a client's connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An address and a port.
    Net(SocketAddr),
    /// A process of this machine, at a Unix socket.
    Unix {
        /// The user whose process it is.
        user: u32,
        /// By which its connection is told from others.
        number: u64,
    },
}

/// A client as far as it can be told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// An address; of IPv6, the network of 64 bits, of which one machine has all.
    Net(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl Peer {
    /// Its address, where it has one.
    #[must_use]
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Net(address) => Some(address.ip().to_canonical()),
            Self::Unix { .. } => None,
        }
    }

    /// The client that it is of.
    #[must_use]
    pub(crate) fn host(&self) -> Host {
        match self {
            Self::Net(address) => Host::Net(network(address.ip().to_canonical())),
            Self::Unix { user, .. } => Host::User(*user),
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_one_client_whatever_address_of_its_network_it_has() {
        let host = |text: &str| Peer::Net(text.parse().unwrap()).host();
        assert_eq!(host("[2001:db8::1]:1"), host("[2001:db8::ffff:2]:2"));
        assert_ne!(host("[2001:db8::1]:1"), host("[2001:db8:0:1::1]:1"));
        assert_eq!(host("10.0.0.1:1"), host("[::ffff:10.0.0.1]:2"));
        assert_ne!(host("10.0.0.1:1"), host("10.0.0.2:1"));
        assert_eq!(host("[::1]:1"), Host::Net(Ipv6Addr::LOCALHOST.into()));
        let user = |user, number| Peer::Unix { user, number }.host();
        assert_eq!(user(0, 1), user(0, 2));
        assert_ne!(user(0, 1), user(1, 1));
    }
}
