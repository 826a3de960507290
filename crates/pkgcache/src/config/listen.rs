//! Where the server listens.

use std::fmt;
use std::net::SocketAddr;

use camino::{Utf8Path, Utf8PathBuf};

/// What comes before the path of a Unix socket.
const UNIX: &str = "unix:";

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Net(SocketAddr),
    /// A socket in the file system.
    Unix(Utf8PathBuf),
}

impl Listen {
    /// Reads `ADDRESS:PORT`, or `unix:PATH`; a relative path is below `folder`. `None` where it is
    /// neither.
    #[must_use]
    pub fn read(text: &str, folder: &Utf8Path) -> Option<Self> {
        match text.strip_prefix(UNIX) {
            Some("") => None,
            Some(path) => Some(Self::Unix(folder.join(path))),
            None => text.parse().ok().map(Self::Net),
        }
    }

    /// The address and port, where it has them.
    #[must_use]
    pub fn net(&self) -> Option<SocketAddr> {
        match self {
            Self::Net(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether other machines can reach it.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.net().is_some_and(|address| !address.ip().is_loopback())
    }

    /// Whether a URL names it by this host and port.
    #[must_use]
    pub(crate) fn is(&self, authority: &str) -> bool {
        self.net().is_some_and(|address| address.to_string() == authority)
    }
}

impl Listen {
    /// This machine alone, at this port.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self::Net(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Net(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_path_is_listened_on() {
        let read = |text| Listen::read(text, "/folder".into()).map(|it| it.to_string());
        for (text, listen) in [
            ("127.0.0.1:3144", Some("127.0.0.1:3144")),
            ("[::1]:0", Some("[::1]:0")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("unix:a.sock", Some("unix:/folder/a.sock")),
            ("unix:", None),
            ("/run/a.sock", None),
            ("3144", None),
        ] {
            assert_eq!(read(text).as_deref(), listen, "{text}");
        }
        let is_remote = |text| Listen::read(text, "/".into()).unwrap().is_remote();
        assert_eq!(["0.0.0.0:1", "127.0.0.1:1", "unix:a"].map(is_remote), [true, false, false]);
    }
}
