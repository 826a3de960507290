//! Upstreams in trouble: one request finds out how they are, whatever number of clients asks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use larder_tests::http::free_address;
use larder_tests::until_some;

use crate::support::{Answer, Cached, Origin, Proxy, answer};

const CLIENTS: usize = 20;

/// What the test hears of while the clients ask.
enum Event {
    /// The upstream was asked, and answers when it is told to.
    Asked,
    Answered(Answer),
}

/// The status that makes the upstream wait until it is told to go on.
const WAITS: u16 = 0;

/// An upstream whose answers have the status that is set.
struct Upstream {
    origin: Origin,
    status: Arc<AtomicU16>,
    go: Sender<()>,
}

impl Upstream {
    /// `events` hears of requests that wait.
    fn new(events: Sender<Event>, fields: &'static str) -> Self {
        let (status, (go, wait)) = (Arc::new(AtomicU16::new(200)), channel());
        let (set, events, wait) = (Arc::clone(&status), Mutex::new(events), Mutex::new(wait));
        let origin = Origin::new(move |_, stream| {
            let mut status = set.load(Ordering::SeqCst);
            if status == WAITS {
                events.lock().unwrap().send(Event::Asked).unwrap();
                let _ = wait.lock().unwrap().recv();
                status = 200;
            }
            let fields = if status == 200 { "" } else { fields };
            drop(stream.write_all(&answer(status, fields, RELEASE.as_bytes())));
        });
        Self { origin, status, go }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.origin.seen().len()
    }
}

fn proxy(url: &str) -> Proxy {
    let settings = format!(
        "[pkgcache]\nindex-ttl = \"0s\"\n[pkgcache.upstream]\na = {{ url = \"{url}\", kind = \"apt\" }}\n"
    );
    Proxy::set(&settings, &[])
}

/// What is there: an index of apt's.
const RELEASE: &str = "Suite: stable\n";

/// The index that this client asks for.
fn path(client: usize) -> String {
    format!("/a/dists/{client}/InRelease")
}

/// All clients ask at once, each for an index of its own.
fn all_ask(proxy: &Proxy, events: &Sender<Event>) {
    for client in 0..CLIENTS {
        let (mut stream, events) = (proxy.connect(), events.clone());
        thread::spawn(move || {
            let head = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", path(client));
            stream.write_all(head.as_bytes()).unwrap();
            let _ = events.send(Event::Answered(Answer::read(&mut BufReader::new(stream), "GET")));
        });
    }
}

/// What the clients hear, and how often the upstream was asked, until nobody else can come: each
/// client was answered, or the upstream keeps it waiting.
fn heard(events: &Receiver<Event>) -> (Vec<Answer>, usize) {
    let (mut answers, mut asked) = (Vec::new(), 0);
    while answers.len() + asked < CLIENTS {
        match events.recv().unwrap() {
            Event::Asked => asked += 1,
            Event::Answered(answer) => answers.push(answer),
        }
    }
    (answers, asked)
}

#[track_caller]
fn next_answer(events: &Receiver<Event>) -> Answer {
    match events.recv().unwrap() {
        Event::Answered(answer) => answer,
        Event::Asked => panic!("the upstream is asked once more"),
    }
}

fn stored(proxy: &Proxy) {
    for client in 0..CLIENTS {
        assert_eq!(proxy.get(&path(client)).text(), RELEASE);
    }
}

#[test]
fn an_upstream_that_failed_is_asked_by_one_client_of_all() {
    let (tell, events) = channel();
    let upstream = Upstream::new(tell.clone(), "");
    let proxy = proxy(&upstream.origin.url());
    stored(&proxy);
    for failure in [503, 500] {
        upstream.answers(failure);
        proxy.get(&path(0)).is(200, "detail=upstream-failed", RELEASE);
        let before = upstream.asked();
        upstream.answers(WAITS);
        all_ask(&proxy, &tell);
        let (answers, asked) = heard(&events);
        assert_eq!((asked, upstream.asked() - before), (1, 1), "{failure}");
        for answer in &answers {
            answer.is(200, "detail=upstream-failed", RELEASE);
        }
        upstream.answers(200);
        upstream.go.send(()).unwrap();
        next_answer(&events).is(200, "fwd=stale", RELEASE);
        // It is well again: everybody's question goes there.
        all_ask(&proxy, &tell);
        assert_eq!(heard(&events).0.len(), CLIENTS);
        assert_eq!(upstream.asked() - before, 1 + CLIENTS, "{failure}");
    }
}

#[test]
fn what_has_nothing_to_stand_in_for_it_is_asked_for_all_the_same() {
    let (tell, _events) = channel();
    let upstream = Upstream::new(tell, "");
    let proxy = proxy(&upstream.origin.url());
    upstream.answers(500);
    for client in 0..CLIENTS {
        assert_eq!(proxy.get(&path(client)).status, 500);
    }
    assert_eq!(upstream.asked(), CLIENTS);
}

/// Waits for a connection, and says so; its request is answered when it is told to.
fn listen(address: SocketAddr, events: Sender<Event>) -> Sender<()> {
    let listener = TcpListener::bind(address).unwrap();
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (events, wait) = (events.clone(), Arc::clone(&wait));
            thread::spawn(move || {
                let _ = events.send(Event::Asked);
                let _ = wait.lock().unwrap().recv();
                answered(stream);
            });
        }
    });
    go
}

fn answered(mut stream: TcpStream) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let _ = stream.write_all(&answer(200, "", RELEASE.as_bytes()));
}

#[test]
fn an_upstream_that_could_not_be_reached_is_tried_by_one_client_of_all() {
    let (tell, events) = channel();
    let address = free_address();
    let proxy = proxy(&format!("http://{address}"));
    let refused = proxy.get(&path(0));
    assert!(refused.status == 504 && refused.text().contains("cannot be reached"), "{refused:?}");
    let go = listen(address, tell.clone());
    // It is left alone for a moment first.
    let (answers, asked) = until_some("the upstream is tried", || {
        all_ask(&proxy, &tell);
        Some(heard(&events)).filter(|(_, asked)| *asked > 0)
    });
    assert_eq!((asked, answers.len()), (1, CLIENTS - 1));
    for answer in &answers {
        assert!(answer.status == 504 && answer.text().contains("could not be reached a moment ago"));
    }
    go.send(()).unwrap();
    assert_eq!(next_answer(&events).text(), RELEASE);
    drop(go);
    all_ask(&proxy, &tell);
    let (mut well, mut asked) = (0, 0);
    while well < CLIENTS {
        match events.recv().unwrap() {
            Event::Asked => asked += 1,
            Event::Answered(answer) => well += usize::from(answer.text() == RELEASE),
        }
    }
    assert!(asked > 1, "{asked}");
}

#[test]
fn a_time_that_the_upstream_asks_for_holds_for_all_clients() {
    for status in [429, 503] {
        let (tell, _events) = channel();
        let upstream = Upstream::new(tell, "retry-after: 3600");
        let proxy = proxy(&upstream.origin.url());
        assert_eq!(proxy.get(&path(0)).text(), RELEASE);
        upstream.answers(status);
        let before = upstream.asked();
        assert_eq!(proxy.get(&path(1)).status, status);
        for client in 2..CLIENTS {
            let answer = proxy.get(&path(client));
            let after: u32 = answer.header("retry-after").unwrap_or_default().parse().unwrap();
            assert!(answer.status == status && (3000..=3600).contains(&after), "{answer:?}");
        }
        proxy.get(&path(0)).is(200, "detail=upstream-failed", RELEASE);
        assert_eq!(upstream.asked() - before, 1);
    }
}
