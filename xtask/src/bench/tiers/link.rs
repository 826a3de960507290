//! The way to a registry, on which all bytes are counted.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use larder_tests::http::listen;

/// Leads to a server for this process's life.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Link {
    /// Starts one to the server at this authority.
    pub(super) fn to(server: String) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let address = listen(move |inside| {
            let Ok(outside) = TcpStream::connect(&server) else { return };
            let (Ok(inside_again), Ok(outside_again)) = (inside.try_clone(), outside.try_clone()) else {
                return;
            };
            let other = Arc::clone(&counter);
            let back = thread::spawn(move || copy(outside_again, inside_again, &other));
            copy(inside, outside, &counter);
            // It has nothing to say.
            let _ = back.join();
        });
        Self { address, bytes }
    }

    /// What has gone both ways until now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Copies until one side has ended, which the other then learns.
fn copy(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        counter.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(piece.get(..read).unwrap_or_default()).is_err() {
            break;
        }
    }
    let _: io::Result<()> = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_tests::http::{Origin, get};

    #[test]
    fn both_ways_are_counted() {
        let link = Link::to(Origin::fixed("", "twelve bytes").address.to_string());
        let answer = get(&link.address.to_string(), "/").expect("an answer");
        assert_eq!(answer.text(), "twelve bytes");
        assert!(link.bytes() > 12 + "GET / HTTP/1.1\r\n".len() as u64, "{}", link.bytes());
    }
}
