use std::io::{BufReader, Write};
use std::thread;

use super::*;
use crate::http::{Answer, connect};

fn ask(site: &Site, method: &str, path: &str, fields: &str) -> Answer {
    let fields: String = fields.lines().flat_map(|line| [line, "\r\n"]).collect();
    let mut stream = connect(&site.authority());
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n").unwrap();
    Answer::read(&mut BufReader::new(stream), method)
}

#[track_caller]
fn gives(site: &Site, fields: &str, status: u16, body: &str) {
    let answer = ask(site, "GET", "/a", fields);
    assert_eq!((answer.status, answer.text(), answer.whole), (status, body, true), "{fields}");
}

fn with_file() -> Site {
    let site = Site::new();
    site.put("/a", "0123456789");
    site
}

#[test]
fn files_have_validators_and_parts() {
    let site = with_file();
    gives(&site, "", 200, "0123456789");
    let head = ask(&site, "HEAD", "/a", "");
    assert_eq!(head.header("content-length"), Some("10"));
    let etag = head.header("etag").unwrap().to_owned();
    let date = head.header("last-modified").unwrap().to_owned();
    gives(&site, &format!("if-none-match: \"x\", {etag}"), 304, "");
    gives(&site, &format!("if-modified-since: {date}"), 304, "");
    gives(&site, "range: bytes=2-4", 206, "234");
    gives(&site, "range: bytes=7-", 206, "789");
    gives(&site, "range: bytes=-2", 206, "89");
    gives(&site, "range: bytes=20-", 416, "");
    gives(&site, &format!("range: bytes=7-\nif-range: {etag}"), 206, "789");
    gives(&site, &format!("range: bytes=7-\nif-range: {date}"), 206, "789");
    site.put("/a", "new");
    gives(&site, &format!("range: bytes=1-\nif-range: {date}"), 200, "new");
    gives(&site, &format!("if-none-match: {etag}"), 200, "new");
    gives(&site, &format!("if-modified-since: {date}"), 200, "new");
    site.without_validators();
    assert_eq!(ask(&site, "GET", "/a", "").header("etag"), None);
    site.remove("/a");
    gives(&site, "", 404, "not here\n");
}

#[test]
fn a_file_has_one_name_and_its_own_fields() {
    let site = Site::new();
    site.fields("cache-control: no-store");
    site.put_with("/l+x?y", "content-type: text/plain\netag: \"1\"", "query");
    site.put("/l+x", "plain");
    let found = ask(&site, "GET", "/l%2bx?y", "");
    assert_eq!((found.text(), found.header("etag")), ("query", Some("\"1\"")));
    let found = ask(&site, "GET", "/l%2Bx?z", "");
    assert_eq!((found.text(), found.header("cache-control")), ("plain", Some("no-store")));
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    crate::write(folder.join("a"), "disk");
    let site = Site::of(folder);
    gives(&site, "", 200, "disk");
}

#[test]
fn what_was_asked_is_counted() {
    let site = with_file();
    gives(&site, "", 200, "0123456789");
    gives(&site, "range: bytes=-2", 206, "89");
    assert_eq!((site.count("/a"), site.answered("/a", 206), site.bytes("/")), (2, 1, 12));
    ask(&site, "GET", "/b", "x-y: z");
    assert_eq!(site.log().last().unwrap().request.header("x-y"), Some("z"));
    site.forget();
    assert_eq!((site.requests(), site.bytes("")), (0, 0));
}

#[test]
fn damage_has_the_validators_of_what_was_sound() {
    let site = with_file();
    let before = ask(&site, "GET", "/a", "");
    site.flip("/a", 1);
    let after = ask(&site, "GET", "/a", "");
    assert_eq!(before.header("etag"), after.header("etag"));
    assert_eq!(before.header("last-modified"), after.header("last-modified"));
    assert_eq!((before.body[1], after.body[1], after.body.len()), (b'1', !b'1', 10));
    site.flip("/a", 1);
    gives(&site, "", 200, "0123456789");
}

#[test]
fn faults_last_until_they_are_healed() {
    let site = with_file();
    site.fail_once("/a", Fault::Status(500));
    site.fail_once("/a", Fault::TooManyRequests("3".to_owned()));
    gives(&site, "", 500, "out of order\n");
    assert_eq!(ask(&site, "GET", "/a", "").header("retry-after"), Some("3"));
    gives(&site, "", 200, "0123456789");
    site.fail("/a", Fault::CutAfter(4));
    let cut = ask(&site, "GET", "/a", "");
    assert_eq!((cut.status, cut.text(), cut.whole), (200, "0123", false));
    site.heal();
    site.fail("/", Fault::Redirect(302, "/b".to_owned()));
    assert_eq!(ask(&site, "GET", "/a", "").header("location"), Some("/b"));
    site.heal();
    site.unplug();
    assert_eq!(ask(&site, "GET", "/a", "").status, 0);
    site.heal();
    site.fail_once("/a", Fault::Delay(Duration::from_millis(1)));
    gives(&site, "", 200, "0123456789");
}

#[test]
fn answers_are_held_and_worked_out() {
    let site = Arc::new(with_file());
    let held = site.hold("/a");
    let asking = Arc::clone(&site);
    let asked = thread::spawn(move || ask(&asking, "GET", "/a", "").body);
    crate::until("it is asked for", || site.asked("/a") == 1);
    assert_eq!(site.count("/a"), 0);
    site.put("/a", "later");
    drop(held);
    assert_eq!(asked.join().unwrap(), b"later");
    site.script("/s", |request| Reply {
        status: 201,
        fields: "x: y".to_owned(),
        body: request.header("accept").unwrap_or_default().as_bytes().to_vec(),
    });
    let answer = ask(&site, "GET", "/s", "accept: b");
    assert_eq!((answer.status, answer.text(), answer.header("x")), (201, "b", Some("y")));
}

#[test]
fn another_server_is_asked_for_what_is_not_here() {
    let behind = with_file();
    let site = Site::before(&behind.authority());
    gives(&site, "range: bytes=2-4", 206, "234");
    let head = ask(&site, "HEAD", "/a", "");
    assert_eq!((head.header("content-length"), head.header("accept-ranges")), (Some("10"), Some("bytes")));
    site.put("/a", "own");
    gives(&site, "", 200, "own");
    assert_eq!((site.count("/a"), behind.count("/a")), (3, 2));
    site.guard(|request| {
        let closed = request.header("authorization").is_none();
        closed.then(|| Reply { status: 401, ..Reply::default() })
    });
    gives(&site, "", 401, "");
    gives(&site, "authorization: x", 200, "own");
}

#[test]
fn a_connection_is_kept() {
    let site = with_file();
    let mut stream = connect(&site.authority());
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..3 {
        stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut reader, "GET").text(), "0123456789");
    }
}
