//! Requests that meet in one fetch, or change one entry at the same time, and are not the same.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use larder_tests::until;

use crate::support::{Cached, Origin, Proxy, Request, answer, read_answer};

/// An origin whose answer to a request with `hold` waits until it is told to go on; it says when it
/// begins to wait.
fn holding(
    script: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
) -> (Origin, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((told, waits), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let (told, wait) = (Mutex::new(told), Mutex::new(wait));
    let origin = Origin::new(move |seen, stream| {
        if seen.header("hold").is_some() {
            let _ = told.lock().unwrap().send(());
            let _ = wait.lock().unwrap().recv();
        }
        drop(stream.write_all(&script(seen)));
    });
    (origin, waits, go)
}

fn ask(proxy: &Proxy, headers: &str) -> TcpStream {
    let mut stream = proxy.connect();
    let request = format!("GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Waits until so many responses are stored.
#[track_caller]
fn has_responses(proxy: &Proxy, origin: &Origin, count: usize) {
    until(format_args!("{count} responses are stored"), || {
        info(proxy, origin).matches("etag: ").count() >= count
    });
}

fn info(proxy: &Proxy, origin: &Origin) -> String {
    proxy.command(&["info", &format!("{}/a", origin.url())]).stdout()
}

/// Lets a request come to where another one waits.
fn meets(proxy: &Proxy) {
    // A follower is seen nowhere from outside; this only makes it likely that it has come.
    for _ in 0..20 {
        proxy.get("/healthz");
    }
}

#[test]
fn what_holds_for_one_variant_does_not_hold_for_another() {
    let (origin, waits, go) = holding(|seen| {
        let tag = format!("\"{}\"", seen.header("foo").unwrap_or_default());
        let fields = format!("cache-control: max-age=0, stale-if-error=60\nvary: foo\netag: {tag}");
        match (seen.header("if-none-match"), seen.header("fail")) {
            (_, Some(_)) => answer(500, "", b"broken"),
            (Some(known), _) if known == tag => answer(304, &fields, b""),
            _ => answer(200, &fields, tag.as_bytes()),
        }
    });
    let proxy = Proxy::of(&origin);
    for (count, foo) in [(1, "1"), (2, "2")] {
        proxy.ask("GET", "/a", &format!("foo: {foo}")).is(200, "fwd", &format!("\"{foo}\""));
        has_responses(&proxy, &origin, count);
    }
    let mut first = ask(&proxy, "foo: 1\r\nhold: 1");
    waits.recv().unwrap();
    let mut second = ask(&proxy, "foo: 2");
    meets(&proxy);
    go.send(()).unwrap();
    read_answer(&mut first).is(200, "fwd-status=304", "\"1\"");
    let before = origin.seen().len();
    read_answer(&mut second).is(200, "fwd=stale", "\"2\"");
    let asked: Vec<_> =
        origin.seen().iter().skip(before - 1).map(|it| it.header("foo").map(str::to_owned)).collect();
    assert!(asked.contains(&Some("2".to_owned())), "{asked:?}: nobody asked about it");

    // Nor does the failure that one is spared.
    let mut first = ask(&proxy, "foo: 1\r\nhold: 1\r\nfail: 1");
    waits.recv().unwrap();
    let mut third = ask(&proxy, "foo: 3\r\nfail: 1");
    meets(&proxy);
    go.send(()).unwrap();
    read_answer(&mut first).is(200, "detail=upstream-failed", "\"1\"");
    read_answer(&mut third).is(500, "fwd", "broken");
}

#[test]
fn what_one_validation_learns_is_not_lost_to_another() {
    let (origin, waits, go) = holding(|seen| match (seen.header("if-none-match"), seen.header("hold")) {
        (None, _) => answer(200, "cache-control: max-age=0, public\netag: \"v1\"", b"body"),
        (_, None) => answer(304, "cache-control: no-cache, public\netag: \"v1\"", b""),
        (_, Some(_)) => answer(304, "etag: \"v1\"\nmore: 1", b""),
    });
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "stored", "body");
    proxy.kept(1);
    let mut early = ask(&proxy, "authorization: one\r\nhold: 1");
    waits.recv().unwrap();
    proxy.ask("GET", "/a", "authorization: two").is(200, "fwd-status=304", "body");
    go.send(()).unwrap();
    read_answer(&mut early).is(200, "fwd-status=304", "body");
    let info = info(&proxy, &origin);
    assert!(info.contains("cache-control: no-cache, public\n") && info.contains("more: 1\n"), "{info}");
}

#[test]
fn what_a_304_forbids_to_store_is_stored_no_longer() {
    for fields in ["cache-control: no-store", "cache-control: private", "vary: foo", "vary: *"] {
        let origin = Origin::new(move |seen, stream| {
            let (status, fields) = match seen.header("if-none-match") {
                Some(_) => (304, fields),
                None if seen.before == 0 => (200, "cache-control: max-age=0"),
                None => (200, "cache-control: no-store"),
            };
            drop(stream.write_all(&answer(status, &format!("{fields}\netag: \"v1\""), b"")));
        });
        let proxy = Proxy::of(&origin);
        proxy.get("/a").is(200, "stored", "");
        proxy.kept(1);
        assert_eq!(proxy.get("/a").status, 200);
        assert_eq!(proxy.listed(), 0, "{fields}");
    }
}

#[test]
fn two_forms_of_one_answer_are_fetched_apart_though_no_field_says_so() {
    for field in ["accept", "accept-language", "accept-encoding"] {
        let (origin, waits, go) = holding(move |seen| {
            answer(200, "cache-control: max-age=60", seen.header(field).unwrap_or("none").as_bytes())
        });
        let proxy = Proxy::of(&origin);
        let mut first = ask(&proxy, &format!("{field}: one\r\nhold: 1"));
        waits.recv().unwrap();
        proxy.ask("GET", "/a", &format!("{field}: two")).is(200, "fwd=uri-miss", "two");
        // The order of a list of languages or codings means nothing, so both are one.
        let mut same = ask(&proxy, &format!("{field}: one\r\ncache-control: no-cache"));
        meets(&proxy);
        go.send(()).unwrap();
        read_answer(&mut first).is(200, "fwd=uri-miss", "one");
        read_answer(&mut same).is(200, "collapsed", "one");
        assert_eq!(origin.seen().len(), 2, "{field}");
    }
}

#[test]
fn what_is_being_stored_stands_in_for_an_upstream_that_fails_meanwhile() {
    for (method, fields, status, body) in
        [("GET", "", 200, "body"), ("GET", "range: bytes=1-2\r\n", 206, "od"), ("HEAD", "", 200, "")]
    {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let origin = Origin::new(move |seen, stream| {
            if seen.before > 0 {
                return drop(stream.write_all(&answer(500, "", b"down")));
            }
            let stored = answer(200, "cache-control: max-age=0, stale-if-error=60\netag: \"v1\"", b"body");
            let (begun, rest) = stored.split_at(stored.len() - 2);
            let _ = stream.write_all(begun);
            let _ = wait.lock().unwrap().recv();
            drop(stream.write_all(rest));
        });
        let proxy = Proxy::of(&origin);
        let mut first = ask(&proxy, "x: y");
        first.peek(&mut [0]).unwrap();
        proxy.ask("GET", "/a", "cache-control: no-store").is(500, "", "down");
        let mut second = proxy.connect();
        let request = format!("{method} /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n");
        second.write_all(request.as_bytes()).unwrap();
        second.peek(&mut [0]).unwrap();
        go.send(()).unwrap();
        read_answer(&mut first).is(200, "stored", "body");
        let found = read_answer(&mut second);
        assert!(found.cache().contains("detail=upstream-failed"), "{method} {fields}: {found:?}");
        assert_eq!((found.status, found.text()), (status, body));
    }
}
