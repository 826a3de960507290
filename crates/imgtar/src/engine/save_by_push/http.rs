//! The server of an engine's push: requests with a body in one piece or in chunks, one after the
//! other.
//!
//! A request that is not understood ends its connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::engine::http1::{self, Framing, IncomingBody, bad};

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
    pub(crate) fn body(&mut self, request: &Request) -> IncomingBody<&mut BufReader<TcpStream>> {
        IncomingBody::new(&mut self.input, request.framing)
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
        // Ends the connection also where another thread has a handle of it. Fails where the client
        // has gone.
        let _ = self.output.shutdown(Shutdown::Both);
    }
}

fn read_head(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    // An engine tries TLS first, and waits for an answer to that: it has no line that would end.
    if input.fill_buf()?.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Err(bad("no HTTP"));
    }
    let mut head = input.take(http1::HEAD);
    let Some(line) = http1::read_line(&mut head)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("no request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let framing = http1::read_fields(&mut head, |_, _| {})?.unwrap_or(Framing::Length(0));
    Ok(Some(Request { method, path, query, framing }))
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
