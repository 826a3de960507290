//! What asks: a client of our own for times, and what `wrk` says of rates.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    authority: String,
}

/// What an answer took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    /// Until its first byte.
    pub(super) first: Duration,
    /// Until its last.
    pub(super) whole: Duration,
    /// The size of its body.
    pub(super) bytes: u64,
}

impl Client {
    pub(super) fn connect(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::with_capacity(256 << 10, stream), authority: authority.to_owned() })
    }

    /// The connection alone, without the memory to read from it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Asks, and reads the answer to its end. One that is not a 200 with its length is an error.
    pub(super) fn get(&mut self, path: &str) -> io::Result<Got> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.authority);
        let started = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        if self.stream.fill_buf()?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = started.elapsed();
        let bytes = self.head(path)?;
        let read = io::copy(&mut (&mut self.stream).take(bytes), &mut io::sink())?;
        if read < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Got { first, whole: started.elapsed(), bytes })
    }

    /// Asks for a short text.
    pub(super) fn text(&mut self, path: &str) -> io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.authority);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let bytes = self.head(path)?;
        let mut text = String::new();
        (&mut self.stream).take(bytes).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Reads the head; how long the body is.
    fn head(&mut self, path: &str) -> io::Result<u64> {
        let mut lines = (&mut self.stream).lines();
        let status = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut length = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().ok(),
                Some(_) => {}
                None => break,
            }
        }
        let good = status.split(' ').nth(1) == Some("200");
        length.filter(|_| good).ok_or_else(|| io::Error::other(format!("`{status}` for {path}")))
    }
}

/// Requests and bytes per second, from what `wrk` prints; none where an answer was an error.
pub(super) fn wrk(text: &str) -> Option<(f64, f64)> {
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    if value("Non-2xx").is_some() || value("Socket errors:").is_some() {
        return None;
    }
    Some((value("Requests/sec:")?.parse().ok()?, bytes(value("Transfer/sec:")?)?))
}

fn bytes(text: &str) -> Option<f64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(number.len()..)? {
        "B" => 1.0,
        "KB" => f64::from(1 << 10),
        "MB" => f64::from(1 << 20),
        "GB" => f64::from(1 << 30),
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let text = "  123 requests in 3.00s, 1.0MB read\nRequests/sec:  31028.5\nTransfer/sec:      1.50KB\n";
        assert_eq!(wrk(text), Some((31028.5, 1536.0)));
        assert_eq!(wrk(&format!("{text}  Non-2xx or 3xx responses: 4\n")), None);
        assert_eq!(wrk(""), None);
    }
}
