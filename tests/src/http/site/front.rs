//! A site in front of another server.

use std::io::{BufReader, Write as _};

use super::Reply;
use crate::http::origin::Request;
use crate::http::{Answer, connect};

/// Fields that are made anew for the site's own client, and those that the server is not sent.
const OWN: [&str; 5] = ["connection", "content-length", "host", "keep-alive", "transfer-encoding"];

/// What the server at this address answers. A HEAD is asked as a GET: the site leaves the body out.
pub(super) fn ask(authority: &str, request: &Request) -> Reply {
    let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
    let fields = lines(request.headers.iter(), "\r\n");
    let head = format!(
        "{method} {} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-length: {}\r\n{fields}\r\n",
        request.path,
        request.body.len()
    );
    let mut stream = connect(authority);
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&request.body));
    sent.unwrap_or_else(|error| panic!("{authority}: {error}"));
    let answer = Answer::read(&mut BufReader::new(stream), method);
    let fields = lines(answer.headers.iter().map(|(name, value)| (name, value)), "\n");
    Reply { status: answer.status, fields, body: answer.body }
}

/// The fields that are passed on, each with an end.
fn lines<'a>(fields: impl Iterator<Item = (&'a String, &'a String)>, end: &str) -> String {
    let fields = fields.filter(|(name, _)| !OWN.contains(&name.as_str()));
    fields.flat_map(|(name, value)| [name, ": ", value, end]).collect()
}
