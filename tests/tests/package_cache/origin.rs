//! An origin whose bodies follow from their names: whoever gets one can tell whether it is right.

use std::thread;
use std::time::Duration;

use larder_tests::http::{Connection, Origin};

/// One that serves requests for `/NAME`, whole or from a byte on.
pub(crate) fn start() -> Origin {
    Origin::serving(|connection| {
        loop {
            serve(connection)?;
        }
    })
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

fn serve(connection: &mut Connection) -> Option<()> {
    let request = connection.head()?;
    let name: u64 = request.path.trim_start_matches('/').parse().ok()?;
    let from = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let from = from.map_or(Some(0), |from| from.parse().ok())?;
    let whole = body(name);
    let part = whole.get(from..)?;
    let (status, range) = if from == 0 {
        ("200 OK", String::new())
    } else {
        ("206 Partial", format!("content-range: bytes {from}-{}/{}\r\n", whole.len() - 1, whole.len()))
    };
    let fields = format!("{range}etag: \"{name}\"\r\ncache-control: max-age=3600");
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n\r\n", part.len());
    connection.write(head.as_bytes())?;
    connection.note(request);
    for piece in part.chunks(64 << 10) {
        connection.write(piece)?;
        // A slow network, so that there is a middle to be killed in.
        thread::sleep(Duration::from_millis(2));
    }
    Some(())
}
