//! As much of HTTP/1.1 as an engine's push needs: requests with a body in one piece or in chunks, one after the other.
//!
//! Deliberately absent: everything else. A request that is not understood ends its connection.
//!
//! Source: RFC 9112.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// The most that a request's head may take.
const HEAD: u64 = 64 << 10;
/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client's connection.
pub(crate) struct Connection {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without what follows a `?`.
    pub(crate) path: String,
    /// What follows it.
    pub(crate) query: String,
    framing: Framing,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { input: BufReader::with_capacity(64 << 10, stream.try_clone()?), output: stream })
    }

    /// The next request; `None` where the client is done.
    pub(crate) fn next(&mut self) -> io::Result<Option<Request>> {
        read_head(&mut self.input)
    }

    /// The request's body.
    pub(crate) fn body(&mut self, request: &Request) -> Body<'_> {
        let left = match request.framing {
            Framing::Length(length) => length,
            Framing::Chunked => 0,
        };
        let chunked = request.framing == Framing::Chunked;
        Body { input: &mut self.input, left, chunked, first: true, done: !chunked && left == 0 }
    }

    /// Answers with no body. `length` is what a HEAD says of one.
    pub(crate) fn answer(&mut self, status: &str, fields: &[(&str, &str)], length: u64) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n");
        let length = length.to_string();
        for (name, value) in fields.iter().chain(&[("Content-Length", length.as_str())]) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        self.output.write_all(head.as_bytes())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The client is told even where somebody else still knows the connection. Fails where it has gone itself.
        let _ = self.output.shutdown(Shutdown::Both);
    }
}

fn read_head(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    // An engine tries TLS first, and waits for an answer to that: it has no line that would end.
    if input.fill_buf()?.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Err(bad("no HTTP"));
    }
    let mut head = input.take(HEAD);
    let Some(line) = read_line(&mut head)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("no request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        framing: Framing::Length(0),
    };
    loop {
        let line = read_line(&mut head)?.ok_or_else(|| bad("the head breaks off"))?;
        if line.is_empty() {
            return Ok(Some(request));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a field without a colon"))?;
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => {
                request.framing = Framing::Chunked;
            }
            "transfer-encoding" => return Err(bad("an unknown transfer encoding")),
            "content-length" if request.framing == Framing::Length(0) => {
                request.framing = Framing::Length(value.trim().parse().map_err(|_| bad("a bad length"))?);
            }
            "content-length" => return Err(bad("a body with two ends")),
            _ => {}
        }
    }
}

/// A line without its end. `None` at the end of all.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| bad("a line without an end"))?;
    String::from_utf8(line.to_vec()).map(Some).map_err(|_| bad("a line that is not UTF-8"))
}

/// A request's body.
pub(crate) struct Body<'a> {
    input: &'a mut BufReader<TcpStream>,
    left: u64,
    chunked: bool,
    first: bool,
    done: bool,
}

impl Body<'_> {
    /// Reads the size of the next chunk, and what ends the last.
    fn next_chunk(&mut self) -> io::Result<()> {
        let mut head = (&mut *self.input).take(1024);
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

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.chunked && !self.done {
            self.next_chunk()?;
        }
        if self.done || self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What a server understands of these bytes: the requests with their bodies.
    fn understood(bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        client.write_all(bytes)?;
        drop(client);
        let mut connection = Connection::new(listener.accept()?.0)?;
        let mut all = Vec::new();
        while let Some(request) = connection.next()? {
            let mut body = String::new();
            connection.body(&request).read_to_string(&mut body)?;
            all.push((format!("{} {}", request.method, request.path), body));
        }
        Ok(all)
    }

    #[test]
    fn requests_follow_one_another() {
        let bytes = b"HEAD /a?b HTTP/1.1\r\nHost: x\r\n\r\nPUT /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
            PATCH /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x\r\nf\r\n0\r\n\r\nGET /e HTTP/1.1\r\n\r\n";
        let wanted = [("HEAD /a", ""), ("PUT /c", "abc"), ("PATCH /d", "def"), ("GET /e", "")];
        let wanted = wanted.map(|(line, body)| (line.to_owned(), body.to_owned()));
        assert_eq!(understood(bytes).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for bytes in [
            &b"\x16\x03\x01 hello"[..],
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: -3\r\n\r\n",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 30\r\n\r\ncut off",
            &[b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 100 << 10]].concat(),
        ] {
            assert!(understood(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
