//! A server that a test plays.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{chunked, fields, line, listen_on};

/// What a client asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// As it was sent.
    pub method: String,
    /// Path and query, or the whole URL where the client sent that.
    pub path: String,
    /// Names in lower case; the values of fields with the same name in one list.
    pub headers: HashMap<String, String>,
    /// What was taken of it.
    pub body: Vec<u8>,
    /// How many requests for this path came before.
    pub before: usize,
}

impl Request {
    /// Whether it is one with this method, for a path that contains this.
    #[must_use]
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    /// The value of a field, its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A server that answers with whatever bytes its script writes, and notes what it was asked. It
/// serves until the test's process ends.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A client's connection, for a script that serves more than one request on it.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Origin {
    /// One whose script answers a connection's first request, and leaves its body unread.
    pub fn new(script: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::serving(move |connection| {
            let request = connection.head()?;
            let request = connection.note(request);
            let stream = connection.reader.get_mut();
            script(&request, stream);
            let _ = stream.shutdown(Shutdown::Write);
            // Lets the other side read to the end.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 1024]);
            Some(())
        })
    }

    /// One that gives every request the same answer.
    #[must_use]
    pub fn fixed(headers: &str, body: &str) -> Self {
        let answer = answer(200, headers, body.as_bytes());
        Self::new(move |_, stream| drop(stream.write_all(&answer)))
    }

    /// One whose script has the connection, and gives nothing where that ends early.
    pub fn serving(script: impl Fn(&mut Connection) -> Option<()> + Send + Sync + 'static) -> Self {
        Self::serving_on(TcpListener::bind("127.0.0.1:0").expect("a port"), script)
    }

    /// The same at a port of the caller's.
    pub fn serving_on(
        listener: TcpListener,
        script: impl Fn(&mut Connection) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::default());
        let noted = Arc::clone(&seen);
        let address = listen_on(listener, move |stream| {
            let mut connection = Connection { reader: BufReader::new(stream), seen: Arc::clone(&noted) };
            let _ = script(&mut connection);
        });
        Self { address, seen }
    }

    /// All that was asked.
    #[must_use]
    pub fn seen(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }

    /// How many were asked with this method for a path that contains this.
    #[must_use]
    pub fn count(&self, method: &str, part: &str) -> usize {
        lock(&self.seen).iter().filter(|request| request.is(method, part)).count()
    }

    /// Its address, as URLs begin.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Connection {
    /// Reads the head of the next request; nothing at the end of the connection.
    pub fn head(&mut self) -> Option<Request> {
        let first = line(&mut self.reader)?;
        let mut words = first.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = HashMap::<String, String>::new();
        for (name, value) in fields(&mut self.reader) {
            let known = headers.entry(name).or_default();
            *known = if known.is_empty() { value } else { format!("{known}, {value}") };
        }
        Some(Request { method, path, headers, ..Request::default() })
    }

    /// Takes the request's body, or so much of it. Gives whether that is all of it; nothing where
    /// it breaks off.
    pub fn body(&mut self, request: &mut Request, most: Option<usize>) -> Option<bool> {
        if request.header("transfer-encoding").is_some() {
            let (body, whole) = chunked(&mut self.reader);
            request.body = body;
            return whole.then_some(true);
        }
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let wanted = most.map_or(length, |most| length.min(most as u64));
        self.reader.by_ref().take(wanted).read_to_end(&mut request.body).ok()?;
        Some(wanted == length)
    }

    /// Puts the request on the list of what was asked, with how many came before it.
    #[expect(clippy::must_use_candidate, reason = "the number is not always of interest")]
    pub fn note(&self, mut request: Request) -> Request {
        let mut seen = lock(&self.seen);
        request.before = seen.iter().filter(|it| it.path == request.path).count();
        seen.push(request.clone());
        request
    }

    /// Writes these bytes; nothing where nobody takes them.
    pub fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.reader.get_mut().write_all(bytes).ok()
    }
}

/// The bytes of an answer with a length, at whose end the connection ends.
#[must_use]
pub fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let fields: String = headers.lines().flat_map(|line| [line, "\r\n"]).collect();
    let head =
        format!("HTTP/1.1 {status} X\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Also after a script that failed: it leaves nothing half done here.
fn lock(seen: &Mutex<Vec<Request>>) -> MutexGuard<'_, Vec<Request>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
