//! What stands between a node and its bucket: it passes all on, and lies, stalls or fails as it is
//! told.

use std::io::{BufReader, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use larder_tests::http::{Answer, Connection, Origin, Request, connect};

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// This status, and nothing of use behind it.
    Status(u16),
    /// Bodies have another byte in their middle, entries are as they are.
    Flipped,
    /// Bodies end after their half, the connection with them.
    CutShort,
    /// Bodies do not end, and do not say how long they are.
    Endless,
    /// Bodies come byte by byte.
    Trickles,
    /// It says nothing.
    Silent,
    /// The connection ends.
    Down,
    /// Entries are this text.
    Entry(String),
}

/// The way to a bucket.
pub(crate) struct Between {
    pub(crate) origin: Origin,
    fault: Arc<Mutex<Fault>>,
}

impl Between {
    /// Before the object store at this address.
    pub(crate) fn of(host: &str) -> Self {
        let (host, fault) = (host.to_owned(), Arc::new(Mutex::new(Fault::None)));
        let set = Arc::clone(&fault);
        let origin = Origin::serving(move |connection| {
            let mut request = connection.head()?;
            connection.body(&mut request, None)?;
            let request = connection.note(request);
            let fault = set.lock().unwrap().clone();
            pass(connection, &request, &host, &fault)
        });
        Self { origin, fault }
    }

    /// The bucket's URL.
    pub(crate) fn url(&self) -> String {
        format!("{}/larder", self.origin.url())
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

fn pass(connection: &mut Connection, request: &Request, host: &str, fault: &Fault) -> Option<()> {
    let (is_body, is_entry) = (request.is("GET", "/blobs/"), request.is("GET", "/entries/"));
    match fault {
        Fault::Status(status) => {
            let words = "<Error><Code>SlowDown</Code></Error>";
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{words}", words.len());
            return connection.write(head.as_bytes());
        }
        Fault::Silent => {
            // Longer than any node waits here.
            thread::sleep(Duration::from_secs(10));
            return None;
        }
        Fault::Down => return None,
        _ => {}
    }
    let mut answer = ask(host, request);
    match fault {
        Fault::Entry(text) if is_entry => (answer.status, answer.body) = (200, text.clone().into_bytes()),
        Fault::Flipped if is_body => {
            let middle = answer.body.len() / 2;
            answer.body[middle] ^= 1;
        }
        _ => {}
    }
    let length = match answer.header("content-length").filter(|_| request.method == "HEAD") {
        Some(length) => length.to_owned(),
        None => answer.body.len().to_string(),
    };
    let is_endless = *fault == Fault::Endless && is_body;
    let kept = |name: &str| !["content-length", "connection", "transfer-encoding"].contains(&name);
    let fields =
        lines(answer.headers.iter().map(|(name, value)| (name, value)).filter(|(name, _)| kept(name)));
    let length = if is_endless { String::new() } else { format!("content-length: {length}\r\n") };
    let head = format!("HTTP/1.1 {} X\r\n{fields}{length}connection: close\r\n\r\n", answer.status);
    connection.write(head.as_bytes())?;
    match fault {
        Fault::Endless if is_body => loop {
            connection.write(&vec![0; 65_536])?;
        },
        Fault::CutShort if is_body => connection.write(&answer.body[..answer.body.len() / 2]),
        Fault::Trickles if is_body => answer.body.chunks(64).try_for_each(|piece| {
            connection.write(piece)?;
            // That it comes slowly is what is tested.
            thread::sleep(Duration::from_millis(100));
            Some(())
        }),
        _ if request.method == "HEAD" => Some(()),
        _ => connection.write(&answer.body),
    }
}

/// What the store answers; the fields that were signed are as they came.
fn ask(host: &str, request: &Request) -> Answer {
    let mut stream = connect(host);
    let fields = lines(request.headers.iter().filter(|(name, _)| *name != "connection"));
    let head = format!("{} {} HTTP/1.1\r\n{fields}connection: close\r\n\r\n", request.method, request.path);
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&request.body));
    sent.unwrap_or_else(|error| panic!("{host}: {error}"));
    Answer::read(&mut BufReader::new(stream), &request.method)
}

/// The fields, each with its end.
fn lines<'a>(fields: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    fields.flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect()
}
