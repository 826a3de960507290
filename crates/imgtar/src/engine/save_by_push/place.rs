//! Where a save's registry listens, and the name that an image has there: the same for the same
//! store each time, since docker notes for each layer in which registry it is.
//!
//! The holder of a place's port may use its name. A name that an engine has while the port is free
//! was left by a save that was killed, and the next save takes it away.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use camino::Utf8Path;
use storekit::Digest;

use crate::engine::Engine;
use crate::error::Result;

/// So many saves of one store may push at the same time.
const PLACES: u16 = 8;

/// The name of an image in the registry on that port.
pub(crate) fn name(port: u16) -> String {
    format!("127.0.0.1:{port}/larder/save:latest")
}

/// A store's first place whose port is free.
pub(crate) fn take(root: &Utf8Path) -> Option<TcpListener> {
    ports(root).find_map(hold)
}

/// Takes away the names that killed saves left in the engine.
///
/// # Errors
/// No engine; an engine that cannot be asked.
pub(crate) fn clean(engine: &Engine, root: &Utf8Path) -> Result<()> {
    let names: Vec<_> = ports(root).map(name).collect();
    let seen = engine.look(&names)?;
    let left = ports(root).filter(|port| seen.iter().any(|image| image.names.contains(&name(*port))));
    for port in left {
        if let Some(_held) = hold(port) {
            // Where it fails, it is there for the next save to take away.
            let _ = engine.untag(&name(port));
        }
    }
    Ok(())
}

fn hold(port: u16) -> Option<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()
}

fn ports(root: &Utf8Path) -> impl Iterator<Item = u16> {
    let digest = Digest::of(root.as_str().as_bytes()).hex();
    let spread = digest.get(..3).and_then(|start| u16::from_str_radix(start, 16).ok()).unwrap_or(0);
    (0..PLACES).map(move |place| 49_152 + spread + place * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_places_of_its_own() {
        let of = |root: &str| ports(Utf8Path::new(root)).collect::<Vec<_>>();
        assert_eq!(of("/a"), of("/a"));
        assert_ne!(of("/a"), of("/b"));
        assert!(of("/a").iter().all(|port| *port >= 49_152) && of("/a").len() == 8);
    }
}
