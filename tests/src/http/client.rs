//! Answers as a client sees them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::{PATIENCE, chunked, fields, line, sized};

/// An answer as a client sees it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 0 where the connection ends instead.
    pub status: u16,
    /// In their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came of the body.
    pub body: Vec<u8>,
    /// Whether it came to the end that its head promises.
    pub whole: bool,
}

impl Answer {
    /// Reads the answer to a request with this method, to the end that its head promises or, where
    /// it promises none, to that of the connection.
    #[must_use]
    pub fn read(reader: &mut impl BufRead, method: &str) -> Self {
        let mut answer = Self::head(reader);
        // After `100 Continue` comes the answer.
        while answer.status == 100 {
            answer = Self::head(reader);
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        (answer.body, answer.whole) = match length {
            _ if answer.status == 0 => (Vec::new(), false),
            _ if method == "HEAD" => (Vec::new(), true),
            Some(length) => sized(reader, length),
            None if matches!(answer.status, 204 | 304) => (Vec::new(), true),
            None if answer.header("transfer-encoding").is_some() => chunked(reader),
            None => {
                let mut body = Vec::new();
                let read = reader.read_to_end(&mut body);
                (body, read.is_ok())
            }
        };
        answer
    }

    fn head(reader: &mut impl BufRead) -> Self {
        let first = line(reader).unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Self { status, headers: fields(reader), body: Vec::new(), whole: false }
    }

    /// The first field of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The body as a JSON document.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Asks for a path on a connection of its own, for a server that may go away at any moment.
///
/// # Errors
/// Where it cannot be asked.
pub fn get(authority: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    Ok(Answer::read(&mut BufReader::new(stream), "GET"))
}

/// Reads until the bytes at hand end so, and not a byte more.
#[track_caller]
pub fn read_until(stream: &mut impl Read, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let count = stream.read(&mut byte);
        let text = String::from_utf8_lossy(&bytes);
        assert!(matches!(count, Ok(1)), "{count:?} after {text:?}, before {end:?}");
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).expect("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(bytes: &str, method: &str, status: u16, body: &str, whole: bool) {
        let answer = Answer::read(&mut bytes.as_bytes(), method);
        assert_eq!((answer.status, answer.text(), answer.whole), (status, body, whole), "{bytes:?}");
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        reads("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP", "GET", 200, "body", true);
        reads("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbody", "GET", 200, "body", false);
        reads("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "HEAD", 200, "", true);
        reads("HTTP/1.1 200 OK\r\n\r\nbody", "GET", 200, "body", true);
        reads("HTTP/1.1 304 X\r\n\r\n", "GET", 304, "", true);
        reads("HTTP/1.1 100 X\r\n\r\nHTTP/1.1 201 X\r\ncontent-length: 0\r\n\r\n", "PUT", 201, "", true);
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n";
        reads(&format!("{chunks}0\r\n\r\n"), "GET", 200, "body", true);
        reads(chunks, "GET", 200, "body", false);
        reads("", "GET", 0, "", false);
    }
}
