//! As much of HTTP/1.1 as two parties of one machine need: heads, and bodies with a length, in
//! chunks or up to the end.
//!
//! Deliberately absent: everything else. What is not understood ends its connection.
//!
//! Source: RFC 9112.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

/// The most that a head may take.
pub(crate) const HEAD: u64 = 64 << 10;
/// So much is gathered for a chunk that is sent.
const CHUNK: usize = 256 << 10;

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With an empty chunk.
    Chunked,
    /// With the connection.
    Close,
}

pub(crate) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A line without its end. `None` at the end of all.
pub(crate) fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| bad("a line without an end"))?;
    String::from_utf8(line.to_vec()).map(Some).map_err(|_| bad("a line that is not UTF-8"))
}

/// Reads the fields of a head, up to the empty line. Returns what they say of the body, if they say
/// anything; `each` is given their names in lower case, and their values.
pub(crate) fn read_fields(
    head: &mut impl BufRead,
    mut each: impl FnMut(&str, &str),
) -> io::Result<Option<Framing>> {
    let mut framing = None;
    loop {
        let line = read_line(head)?.ok_or_else(|| bad("the head breaks off"))?;
        if line.is_empty() {
            return Ok(framing);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a field without a colon"))?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        let own = match name.as_str() {
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => Framing::Chunked,
            "transfer-encoding" => return Err(bad("an unknown transfer encoding")),
            "content-length" => Framing::Length(value.parse().map_err(|_| bad("a bad length"))?),
            _ => {
                each(&name, value);
                continue;
            }
        };
        if framing.replace(own).is_some_and(|other| other != own) {
            return Err(bad("conflicting body lengths"));
        }
    }
}

/// The text as a part of a URL. `also`: what stays besides the characters that mean nothing there.
pub(crate) fn escaped(text: &str, also: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // A string takes all that is written.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// A body that comes in.
#[derive(Debug)]
pub(crate) struct IncomingBody<R> {
    input: R,
    left: u64,
    framing: Framing,
    first: bool,
    done: bool,
}

impl<R: BufRead> IncomingBody<R> {
    pub(crate) fn new(input: R, framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked => 0,
            Framing::Close => u64::MAX,
        };
        Self { input, left, framing, first: true, done: framing != Framing::Chunked && left == 0 }
    }

    /// Reads the size of the next chunk, and what ends the last.
    fn next_chunk(&mut self) -> io::Result<()> {
        let mut head = (&mut self.input).take(1024);
        let mut line = || read_line(&mut head)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
        if !std::mem::take(&mut self.first) && !line()?.is_empty() {
            return Err(bad("a chunk is longer than it says"));
        }
        let size = line()?;
        let size = size.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk without a size"))?;
        if self.left == 0 {
            while !line()?.is_empty() {}
            self.done = true;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for IncomingBody<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.framing == Framing::Chunked && !self.done {
            self.next_chunk()?;
        }
        if self.done || self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..wanted])?;
        match self.framing {
            Framing::Close => self.done = count == 0,
            _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => self.left -= count as u64,
        }
        Ok(count)
    }
}

/// A body that goes out in chunks. It is whole after [`Chunked::finish`] alone.
#[derive(Debug)]
pub(crate) struct Chunked<W> {
    output: W,
    waiting: Vec<u8>,
}

impl<W: Write> Chunked<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, waiting: Vec::with_capacity(CHUNK) }
    }

    /// Ends the body.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.output.write_all(b"0\r\n\r\n")
    }
}

impl<W: Write> Write for Chunked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        let count = bytes.len().min(CHUNK);
        self.waiting.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            write!(self.output, "{:x}\r\n", self.waiting.len())?;
            self.waiting.extend_from_slice(b"\r\n");
            // What could not be sent is lost with the connection.
            let sent = self.output.write_all(&self.waiting);
            self.waiting.clear();
            sent?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        IncomingBody::new(bytes, framing).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn what_goes_out_in_chunks_comes_in_as_it_was() {
        let text = "larder ".repeat(100_000);
        let mut sent = Vec::new();
        let mut chunked = Chunked::new(&mut sent);
        text.as_bytes().chunks(999).for_each(|bytes| chunked.write_all(bytes).unwrap());
        chunked.write_all(text.as_bytes()).unwrap();
        chunked.finish().unwrap();
        assert_eq!(read(Framing::Chunked, &sent).unwrap(), text.repeat(2));
        assert!(read(Framing::Chunked, &sent[..sent.len() - 2]).is_err());
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        assert_eq!(read(Framing::Length(3), b"abcdef").unwrap(), "abc");
        assert_eq!(read(Framing::Length(0), b"abcdef").unwrap(), "");
        assert_eq!(read(Framing::Close, b"abcdef").unwrap(), "abcdef");
        assert!(read(Framing::Length(7), b"abcdef").is_err());
    }

    #[test]
    fn what_means_something_in_a_url_is_escaped() {
        assert_eq!(escaped("a/b:c d", "/"), "a/b%3Ac%20d");
        assert_eq!(escaped("a/b:c?ü", ""), "a%2Fb%3Ac%3F%C3%BC");
    }

    #[test]
    fn a_head_says_where_the_body_ends() {
        let framing = |head: &str| read_fields(&mut head.as_bytes(), |_, _| {});
        assert_eq!(framing("A: b\r\n\r\n").unwrap(), None);
        assert_eq!(framing("content-LENGTH: 5 \r\n\r\n").unwrap(), Some(Framing::Length(5)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n\r\n").unwrap(), Some(Framing::Chunked));
        for head in ["A: b\r\n", "A b\r\n\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"] {
            assert!(framing(head).is_err(), "{head}");
        }
    }
}
