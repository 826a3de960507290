//! How many bytes of each connection the other side has not taken yet, as the kernel counts them.
//!
//! A socket can be written to again only when a third of its buffer is free, so a client that reads
//! steadily and slowly looks for long as if it read nothing. Code that has to tell the two apart
//! looks here.
//!
//! Limit: without `/proc/net`, nothing is known.

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The kernel is asked no more often than this: its list is one of all connections.
const FRESH: Duration = Duration::from_millis(500);

/// The bytes, by the inode of the socket.
type Queued = HashMap<u64, u64>;

/// What the kernel said last, and when.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<Option<(Instant, Arc<Queued>)>>);

impl Queues {
    /// How many bytes were sent on the socket and not taken; `None` where that is not known.
    pub(crate) fn of(&self, socket: impl AsFd) -> Option<u64> {
        let inode = rustix::fs::fstat(socket).ok()?.st_ino;
        self.now().get(&inode).copied()
    }

    fn now(&self) -> Arc<Queued> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            Some((_, queued)) => Arc::clone(queued),
            None => Arc::clone(&last.insert((Instant::now(), Arc::new(read()))).1),
        }
    }
}

fn read() -> Queued {
    let lists = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    lists.iter().flat_map(|list| list.lines()).filter_map(socket).collect()
}

/// The inode and the queue of a line; the first one, with the names of the columns, has neither.
fn socket(line: &str) -> Option<(u64, u64)> {
    let mut columns = line.split_ascii_whitespace();
    let (sent, _) = columns.nth(4)?.split_once(':')?;
    let queued = u64::from_str_radix(sent, 16).ok()?;
    Some((columns.nth(4)?.parse().ok()?, queued))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_line_has_an_inode_and_a_queue() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        let line = "   1: 0100007F:B211 0100007F:07E8 01 00001A2B:00000001 00:00000000 00000000     0        0 95288 1 0";
        assert_eq!((socket(head), socket(line)), (None, Some((95288, 0x1a2b))));
        assert_eq!(socket("x"), None);
    }

    #[test]
    fn what_is_read_leaves_the_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = server.write(&[0; 8192]) {
            sent += count;
        }
        let full = Queues::default().of(&server).unwrap();
        assert!(full > 0);
        let mut taken = vec![0; sent];
        client.read_exact(&mut taken).unwrap();
        // All of it has come, so all of it is acknowledged, or will be in a moment.
        while Queues::default().of(&server) != Some(0) {}
    }
}
