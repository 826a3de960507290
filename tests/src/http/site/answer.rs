//! What a site answers to a request.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;
use std::thread;

use super::{Content, Exchange, Fault, File, Guard, Reply, Script, Shared, State, front, hash};
use crate::http::origin::{Connection, Request};

/// The day on which all files are from; a change makes one a second younger.
const DAY: &str = "Sun, 01 Nov 2026";

/// Answers the next request of a connection; nothing where the connection ends.
pub(super) fn serve(connection: &mut Connection, shared: &Shared) -> Option<()> {
    let mut request = connection.head()?;
    connection.body(&mut request, None)?;
    let request = connection.note(request);
    let (fault, found) = prepared(shared, &request);
    let reply = match &fault {
        Some(Fault::Hangup) => {
            note(shared, request, 0, 0);
            return None;
        }
        Some(Fault::Status(status)) => plain(*status, "", "out of order\n"),
        Some(Fault::TooManyRequests(after)) => plain(429, &format!("retry-after: {after}"), "later\n"),
        Some(Fault::Redirect(status, to)) => plain(*status, &format!("location: {to}"), ""),
        Some(Fault::Delay(time)) => {
            // The delay is what the test asked for.
            thread::sleep(*time);
            found.reply(&request)
        }
        Some(Fault::CutAfter(_)) | None => found.reply(&request),
    };
    let cut = match fault {
        Some(Fault::CutAfter(bytes)) => Some(bytes),
        _ => None,
    };
    send(connection, shared, request, &reply, cut)
}

/// What goes wrong with the request, and what there is for it, as of the moment at which its answer
/// is no longer held back.
fn prepared(shared: &Shared, request: &Request) -> (Option<Fault>, Found) {
    let path = decoded(&request.path);
    let mut state = shared.state();
    while state.held.iter().any(|held| decoded(held) == path) {
        state = shared.released.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let fault = state.fault(&path);
    let found = match state.guard.clone() {
        Some(guard) => Found::Guarded(guard, Box::new(state.found(&path))),
        None => state.found(&path),
    };
    (fault, found)
}

impl State {
    fn fault(&mut self, path: &str) -> Option<Fault> {
        let lasting = self.faults.iter().find(|(beginning, _)| path.starts_with(&decoded(beginning)));
        let lasting = lasting.map(|(_, fault)| fault.clone());
        lasting.or_else(|| {
            let mut next = self.next_faults.iter_mut();
            next.find(|(of, _)| decoded(of) == path).and_then(|(_, faults)| faults.pop_front())
        })
    }

    /// What there is under the path, or under it without its query.
    fn found(&self, path: &str) -> Found {
        let bare = path.split('?').next().unwrap_or_default();
        let file = [path, bare].into_iter().find_map(|path| by_spelling(&self.files, path));
        let file = file.cloned().or_else(|| {
            let path = self.folder.as_ref()?.join(bare.trim_start_matches('/'));
            let content = Content::Bytes(Arc::new(fs::read(path).ok()?));
            Some(File { content, fields: String::new(), changes: 0 })
        });
        let Some(file) = file else {
            return self.behind.clone().map_or(Found::Nothing, Found::Behind);
        };
        match file.content {
            Content::Script(script) => Found::Script(script),
            Content::Bytes(bytes) => {
                let fields = if file.fields.is_empty() { self.fields.clone() } else { file.fields };
                Found::Bytes { fields: self.validated(fields, &bytes, file.changes), bytes }
            }
        }
    }

    /// The fields with the validators that they lack.
    fn validated(&self, fields: String, bytes: &[u8], changes: u32) -> String {
        if self.no_validators {
            return fields;
        }
        let date = format!("{DAY} 00:{:02}:{:02} GMT", changes / 60, changes % 60);
        with(with(fields, "etag", &etag(bytes)), "last-modified", &date)
    }
}

fn by_spelling<'a>(files: &'a BTreeMap<String, File>, path: &str) -> Option<&'a File> {
    files.get(path).or_else(|| files.iter().find(|(name, _)| decoded(name) == path).map(|(_, file)| file))
}

/// What there is under a path.
enum Found {
    Nothing,
    /// Another server has it.
    Behind(String),
    /// This, where the test does not answer first.
    Guarded(Guard, Box<Found>),
    Script(Script),
    Bytes {
        fields: String,
        bytes: Arc<Vec<u8>>,
    },
}

impl Found {
    fn reply(self, request: &Request) -> Reply {
        match self {
            Self::Nothing => plain(404, "", "not here\n"),
            Self::Behind(authority) => front::ask(&authority, request),
            Self::Guarded(guard, found) => guard(request).unwrap_or_else(|| found.reply(request)),
            Self::Script(script) => script(request),
            Self::Bytes { fields, bytes } => file(request, fields, &bytes),
        }
    }
}

fn plain(status: u16, fields: &str, body: &str) -> Reply {
    Reply { status, fields: fields.to_owned(), body: body.as_bytes().to_vec() }
}

/// A file, a part of it, or that it has not changed.
fn file(request: &Request, fields: String, bytes: &[u8]) -> Reply {
    if is_current(request, &fields) {
        return Reply { status: 304, fields, body: Vec::new() };
    }
    let fields = format!("accept-ranges: bytes\n{fields}");
    let whole = bytes.len();
    match range(request, &fields, whole) {
        None => Reply { status: 200, fields, body: bytes.to_vec() },
        Some(Range { start, end }) if start < end => {
            let fields = format!("content-range: bytes {start}-{}/{whole}\n{fields}", end - 1);
            Reply { status: 206, fields, body: bytes.get(start..end).unwrap_or_default().to_vec() }
        }
        Some(_) => Reply { status: 416, fields: format!("content-range: bytes */{whole}"), body: Vec::new() },
    }
}

/// Dates are compared by their text: clients send back what they were given.
fn is_current(request: &Request, fields: &str) -> bool {
    let etag = value(fields, "etag");
    if let Some(tags) = request.header("if-none-match") {
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        return etag.is_some_and(|etag| tags.split(',').any(|tag| tag == "*" || strong(tag) == strong(etag)));
    }
    let since = request.header("if-modified-since");
    since.is_some() && since == value(fields, "last-modified")
}

/// The one part that is wanted; an empty one where there is none such. `None` for the whole.
fn range(request: &Request, fields: &str, whole: usize) -> Option<Range<usize>> {
    let wanted = request.header("range")?.strip_prefix("bytes=")?;
    if let Some(condition) = request.header("if-range")
        && ![value(fields, "etag"), value(fields, "last-modified")].contains(&Some(condition))
    {
        return None;
    }
    let (first, last) = wanted.split_once('-').filter(|(_, last)| !last.contains(','))?;
    match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
        (Ok(first), Ok(last)) => Some(first..whole.min(last + 1)),
        (Ok(first), Err(_)) => Some(first..whole),
        (Err(_), Ok(count)) => Some(whole.saturating_sub(count)..whole),
        (Err(_), Err(_)) => None,
    }
}

fn send(
    connection: &mut Connection,
    shared: &Shared,
    request: Request,
    reply: &Reply,
    cut: Option<usize>,
) -> Option<()> {
    let Reply { status, fields, body } = reply;
    let lines: String = fields.lines().filter(|it| !it.is_empty()).flat_map(|it| [it, "\r\n"]).collect();
    let length = if *status == 304 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let closes = request.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
    let mut bytes = format!("HTTP/1.1 {status} X\r\n{lines}{length}\r\n").into_bytes();
    let sent = if request.method == "HEAD" { 0 } else { cut.unwrap_or(body.len()).min(body.len()) };
    bytes.extend_from_slice(body.get(..sent).unwrap_or_default());
    // It is counted before the client can know that it is answered.
    note(shared, request, *status, sent);
    connection.write(&bytes)?;
    (cut.is_none() && !closes).then_some(())
}

fn note(shared: &Shared, request: Request, status: u16, bytes: usize) {
    shared.state().log.push(Exchange { request, status, bytes });
}

/// The tag of a file with these bytes.
pub(super) fn etag(bytes: &[u8]) -> String {
    format!("\"{:016x}\"", hash(bytes))
}

/// The fields with one more, unless they have it already.
pub(super) fn with(fields: String, name: &str, text: &str) -> String {
    match value(&fields, name) {
        Some(_) => fields,
        None => format!("{fields}\n{name}: {text}"),
    }
}

fn value<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = fields.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A path with its escapes decoded, so that each file has one name.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = more.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
