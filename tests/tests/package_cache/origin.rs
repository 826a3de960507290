//! An origin whose bodies follow from their names: whoever gets one can tell whether it is right.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// It serves until the test process ends.
pub(crate) struct Origin {
    pub(crate) url: String,
    answered: Arc<AtomicU64>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let count = Arc::clone(&count);
                // A client that goes away is no trouble.
                thread::spawn(move || serve(stream.unwrap(), &count));
            }
        });
        Self { url, answered }
    }

    /// How many requests it answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// The body under a name: up to 600 kB of noise, the same every time.
pub(crate) fn body(name: u64) -> Vec<u8> {
    let mut state = name.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let size = 1 + usize::try_from(next() % 600_000).unwrap() / if name.is_multiple_of(2) { 1 } else { 100 };
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Answers requests for `/NAME`, whole or from a byte on.
fn serve(stream: TcpStream, count: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut lines = (&mut reader).lines();
        let name: u64 = lines.next()?.ok()?.split(' ').nth(1)?.trim_start_matches('/').parse().ok()?;
        let mut from = 0;
        for line in lines {
            let line = line.ok()?.to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let whole = body(name);
        let part = whole.get(from..)?;
        let (status, range) = if from == 0 {
            ("200 OK", String::new())
        } else {
            ("206 Partial", format!("content-range: bytes {from}-{}/{}\r\n", whole.len() - 1, whole.len()))
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{range}etag: \"{name}\"\r\ncache-control: max-age=3600\r\n\r\n",
            part.len()
        )
        .ok()?;
        count.fetch_add(1, Ordering::Relaxed);
        for piece in part.chunks(64 << 10) {
            writer.write_all(piece).ok()?;
            // So that there is a middle to be killed in.
            thread::sleep(Duration::from_millis(2));
        }
    }
}
