//! An upstream behind a link of 1 Gbit/s.
//!
//! It goes by the time since the answer began, as a link does: bytes that are not taken for a
//! moment follow as soon as they are. nginx's `limit_rate` waits anew after each piece that was
//! taken, so that it measures how soon the machine wakes nginx.

use std::time::{Duration, Instant};

use larder_tests::http::Origin;

/// Bytes a second.
const RATE: u64 = 125_000_000;
/// What is sent at once.
const PIECE: usize = 64 << 10;

/// Starts one that answers any request with so many bytes, for this process's life.
pub(super) fn start(bytes: usize) -> Origin {
    Origin::serving(move |connection| {
        let piece = vec![b'.'; PIECE];
        loop {
            connection.head()?;
            let head =
                format!("HTTP/1.1 200 OK\r\ncache-control: max-age=86400\r\ncontent-length: {bytes}\r\n\r\n");
            connection.write(head.as_bytes())?;
            let begun = Instant::now();
            for sent in (0..bytes).step_by(PIECE) {
                let size = PIECE.min(bytes - sent);
                std::thread::sleep(arrival(sent + size).saturating_sub(begun.elapsed()));
                connection.write(piece.get(..size).unwrap_or_default())?;
            }
        }
    })
}

/// When so many bytes have come.
fn arrival(bytes: usize) -> Duration {
    Duration::from_nanos(bytes as u64 * 1_000_000_000 / RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_tests::http::get;

    #[test]
    fn a_gigabit_takes_a_second() {
        assert_eq!(arrival(125_000_000), Duration::from_secs(1));
    }

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let origin = start(PIECE + 1);
        let answer = get(&origin.address.to_string(), "/any").expect("an answer");
        assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, PIECE + 1));
    }
}
