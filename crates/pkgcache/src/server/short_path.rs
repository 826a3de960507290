//! The short way: hits on plain connections are answered from the socket to the socket, without the
//! parser.
//!
//! Where a request is anything else, or its answer is not at hand, the bytes read go to the parser,
//! and the ordinary way does what it always does. Answers are the same on both, byte for byte. A
//! connection that waits here costs nothing but itself: its bytes are read into memory that all
//! connections of a thread share.

use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::fs::sendfile;
use rustix::net::SendFlags;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use crate::config::Limits;
use crate::observe::meter::Meter;
use crate::server::client::Client;
use crate::server::simple_request::SimpleRequest;
use crate::wire::guard::{Guard, Step, Wire};

/// What is read from a socket at once, at most.
const READ: usize = 16 << 10;
/// A body up to this size goes out with its head in one piece: one system call less, and a copy
/// more.
const TOGETHER: u64 = 64 << 10;
/// How often it is looked whether a client takes anything while the server ends.
const LOOK: Duration = Duration::from_millis(250);
/// What is sent at once, at most, so that other connections have their turn.
const TURN: u64 = 1 << 20;

/// What a thread reads into and writes from.
struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { read: vec![0; READ], write: Vec::new() });
}

/// What became of the bytes that were at hand.
enum Round {
    /// All were answered.
    Done,
    /// An answer is under way; the socket takes no more of it now.
    Sending(ShortAnswer),
    /// The guard has them, for the parser.
    Ordinary,
    /// The connection is over.
    Over,
}

/// An answer to be sent.
pub(crate) struct ShortAnswer {
    /// What is left of its head.
    pub(crate) head: Bytes,
    /// Its body, of which `at..end` is left.
    pub(crate) file: Arc<File>,
    pub(crate) at: u64,
    pub(crate) end: u64,
    /// Counts it.
    pub(crate) meter: Meter,
}

/// Answers what can be answered here. Returns whether something came that is the parser's; else the
/// connection is over.
pub(crate) async fn run(
    client: &Client,
    guard: &mut Guard,
    limits: Limits,
    stopped: &mut watch::Receiver<bool>,
) -> bool {
    let (idle, stops) = (limits.idle, stopped.clone());
    let wire = guard.wire();
    let mut used = Instant::now();
    let mut stop = pin!(stopped.wait_for(|stop| *stop));
    let mut clock = pin!(sleep_until(used + idle));
    loop {
        let readable = poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if let Poll::Ready(ready) = wire.poll_readable(cx) {
                return Poll::Ready(ready.is_ok());
            }
            while clock.as_mut().poll(cx).is_ready() {
                if used.elapsed() >= idle {
                    return Poll::Ready(false);
                }
                clock.as_mut().reset(used + idle);
            }
            Poll::Pending
        });
        if !readable.await {
            return false;
        }
        used = Instant::now();
        match SCRATCH.with_borrow_mut(|scratch| round(client, guard, &wire, scratch)) {
            Round::Done => consume_budget().await,
            Round::Ordinary => return true,
            Round::Over => return false,
            Round::Sending(answer) => match send(client, &wire, answer, idle, stops.clone()).await {
                Ok(()) if guard.has_input() => return true,
                Ok(()) => {}
                Err(_) => {
                    // What it did not take is not kept for it.
                    wire.reset_when_closed(true);
                    return false;
                }
            },
        }
    }
}

/// Reads once, and answers the requests that came.
fn round(client: &Client, guard: &mut Guard, wire: &Wire, scratch: &mut Scratch) -> Round {
    let Scratch { read, write } = scratch;
    let count = match wire.receive(read) {
        Ok(0) => return Round::Over,
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Round::Done,
        Err(_) => return Round::Over,
    };
    let mut rest = read.get(..count).unwrap_or_default();
    while !rest.is_empty() {
        let passed = match guard.step(rest) {
            Step::Bodiless(passed) => passed,
            Step::Other(passed) => {
                guard.keep(rest, passed);
                return Round::Ordinary;
            }
        };
        let (head, behind) = rest.split_at(passed);
        let Some(mut answer) = SimpleRequest::read(head).and_then(|plain| client.quick(&plain)) else {
            guard.keep(rest, passed);
            return Round::Ordinary;
        };
        rest = behind;
        match answer.begin(wire, write) {
            Ok(true) => answer.meter.set_whole(),
            Ok(false) => {
                guard.keep(rest, 0);
                return Round::Sending(answer);
            }
            Err(_) => return Round::Over,
        }
    }
    Round::Done
}

/// Sends the rest of an answer.
async fn send(
    client: &Client,
    wire: &Wire,
    mut answer: ShortAnswer,
    idle: Duration,
    mut stops: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        match answer.go_on(wire) {
            Ok(true) => break,
            Ok(false) => consume_budget().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                writable(client, wire, idle, &mut stops).await?;
            }
            Err(error) => return Err(error),
        }
    }
    answer.meter.set_whole();
    Ok(())
}

/// Waits until the socket takes more, or the client was waited for so long in vain.
async fn writable(
    client: &Client,
    wire: &Wire,
    idle: Duration,
    stops: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let until = Instant::now() + idle;
    let mut draining = None;
    loop {
        if *stops.borrow_and_update() {
            draining.get_or_insert_with(|| client.draining());
        }
        let look = if draining.is_some() { Instant::now() + LOOK } else { until };
        tokio::select! {
            biased;
            ready = poll_fn(|cx| wire.poll_writable(cx)) => return ready,
            Ok(()) = stops.changed() => {}
            () = sleep_until(look) => {}
        }
        let drained = draining.as_mut().is_some_and(|draining| client.is_drained(draining));
        if drained || Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

impl ShortAnswer {
    /// Sends what the socket takes at once. Returns whether that was all.
    fn begin(&mut self, wire: &Wire, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let small = self.end - self.at <= TOGETHER;
        let sent = if small { self.together(wire, buffer) } else { self.go_on(wire) };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            sent => sent,
        }
    }

    /// Head and body as one piece.
    fn together(&mut self, wire: &Wire, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.clear();
        buffer.extend_from_slice(&self.head);
        let whole = self.head.len() + usize::try_from(self.end - self.at).unwrap_or(0);
        buffer.reserve(whole - buffer.len());
        while buffer.len() < whole {
            let place = self.at + (buffer.len() - self.head.len()) as u64;
            let most = whole - buffer.len();
            let read = rustix::io::pread(&self.file, rustix::buffer::spare_capacity(buffer), place)?;
            if read == 0 {
                // Somebody has cut it.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if read > most {
                // Somebody has added to it.
                buffer.truncate(whole);
            }
        }
        let sent = wire.send(buffer, SendFlags::NOSIGNAL)?;
        let of_head = sent.min(self.head.len());
        self.head.advance(of_head);
        self.note((sent - of_head) as u64);
        Ok(sent == whole)
    }

    /// A turn's worth of what is left. Returns whether that was all.
    fn go_on(&mut self, wire: &Wire) -> io::Result<bool> {
        while !self.head.is_empty() {
            let more = if self.at < self.end { SendFlags::MORE } else { SendFlags::empty() };
            let sent = wire.send(&self.head, SendFlags::NOSIGNAL | more)?;
            self.head.advance(sent);
        }
        if self.at < self.end {
            let count = usize::try_from((self.end - self.at).min(TURN)).unwrap_or(usize::MAX);
            let mut at = self.at;
            let sent = wire.write_with(|stream| Ok(sendfile(stream, &self.file, Some(&mut at), count)?))?;
            if sent == 0 {
                // Somebody has cut it.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.note(sent as u64);
        }
        Ok(self.at == self.end)
    }

    fn note(&mut self, sent: u64) {
        self.at += sent;
        self.meter.count(sent);
    }
}
