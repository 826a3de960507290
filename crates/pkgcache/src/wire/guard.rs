//! A client's connection as the HTTP parser sees it: only bytes that [`Framer`] has passed, and
//! interim responses in between.
//!
//! A request that is refused reaches the parser as a request for a host that no client can name, so
//! that the refusal is answered in its turn, behind the answers to the requests before it. A body
//! that is refused breaks off for the parser, whose request is answered with the reason.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::HeaderMap;
use http::header::HOST;
use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;

use crate::wire::framing::{Advance, Framer, HeadLimits, Refusal};
use crate::wire::queues::Queues;
use crate::wire::stream::Stream;

/// What is read from the socket at once, at most.
const READ: usize = 16 << 10;
/// How long, and for how many bytes, a refused client is listened to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;
/// So many bytes are kept of a refused request's first line.
const LINE: usize = 1024;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Guard {
    wire: Arc<Wire>,
    framer: Framer,
    inbox: BytesMut,
    /// How many bytes of the inbox may be read.
    passed: usize,
    refused: bool,
    /// Why the rest of a body is not handed on.
    broken: Option<&'static str>,
    lingering: Option<Lingering>,
}

/// What bytes from a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many are a request's head, and nothing else belongs to that request.
    Bodiless(usize),
    /// Something else. So many have passed.
    Other(usize),
}

/// A refused client's last words, which are read so that it gets ours: a connection that is closed
/// with bytes unread is reset.
#[derive(Debug)]
struct Lingering {
    until: Pin<Box<tokio::time::Sleep>>,
    left: usize,
}

/// The part of a connection that others than the parser may use.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Whether bytes of a response may be under way that only the parser knows of.
    writing: AtomicBool,
    /// Whether all that came belongs to requests that the parser has.
    between: AtomicBool,
    /// How many bytes have moved, in both directions.
    moved: AtomicU64,
    /// Whether the client is waited for: to send the rest of a body, to take what is sent.
    sends: AtomicBool,
    takes: AtomicBool,
    /// Whether an end of the connection would be taken for that of the answer.
    unsized_answer: AtomicBool,
    /// Whether the connection stays with the parser: a request had a body, of which it may have a
    /// part, or it has begun to end the connection.
    parsers: AtomicBool,
    /// What must be written before all else.
    pending: Mutex<Vec<u8>>,
    /// The request for which another stands, the last one of the connection.
    refused: Mutex<Option<Refused>>,
}

impl Guard {
    /// With these limits.
    #[must_use]
    pub(crate) fn new(stream: impl Into<Stream>, limits: HeadLimits) -> Self {
        let wire = Wire {
            stream: stream.into(),
            writing: AtomicBool::new(false),
            between: AtomicBool::new(true),
            moved: AtomicU64::new(0),
            sends: AtomicBool::new(false),
            takes: AtomicBool::new(false),
            unsized_answer: AtomicBool::new(false),
            parsers: AtomicBool::new(false),
            pending: Mutex::default(),
            refused: Mutex::default(),
        };
        Self {
            wire: Arc::new(wire),
            framer: Framer::new(limits),
            inbox: BytesMut::new(),
            passed: 0,
            refused: false,
            broken: None,
            lingering: None,
        }
    }

    /// The part that others may use.
    #[must_use]
    pub(crate) fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    /// Whether there are bytes at hand.
    #[must_use]
    pub(crate) fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The connection, with what the parser has read of it and not used.
    #[must_use]
    pub(crate) fn taken_back(mut self, unused: &[u8]) -> Self {
        if !unused.is_empty() {
            let mut inbox = BytesMut::from(unused);
            inbox.extend_from_slice(&self.inbox);
            self.inbox = inbox;
            self.passed += unused.len();
        }
        self
    }

    /// Looks at bytes that nothing else has seen, where a request begins.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Step {
        match self.framer.advance(bytes) {
            Ok(Advance::Pass(count)) if self.framer.is_between_requests() => Step::Bodiless(count),
            Ok(Advance::Pass(count)) => {
                self.wire.parsers.store(true, Ordering::Release);
                Step::Other(count)
            }
            // A second look sees the same.
            Ok(Advance::More) | Err(_) => Step::Other(0),
        }
    }

    /// Keeps the bytes for the parser. So many of them have passed.
    pub(crate) fn keep(&mut self, bytes: &[u8], passed: usize) {
        self.inbox.extend_from_slice(bytes);
        self.passed = passed;
        self.advance();
    }

    /// Lets as much of the inbox pass as can.
    fn advance(&mut self) {
        while !self.refused {
            let in_head = self.framer.is_in_head();
            match self.framer.advance(self.inbox.get(self.passed..).unwrap_or_default()) {
                Ok(Advance::Pass(count)) => {
                    self.passed += count;
                    if !self.framer.is_in_head() {
                        self.wire.parsers.store(true, Ordering::Release);
                    }
                }
                Ok(Advance::More) => return,
                Err(refusal) => self.refuse(refusal, in_head),
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal, in_head: bool) {
        self.refused = true;
        if !in_head {
            self.inbox.truncate(self.passed);
            self.broken = Some(refusal.reason);
            return;
        }
        let refused = Refused::new(refusal, self.inbox.get(self.passed..).unwrap_or_default());
        *self.wire.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        self.inbox.truncate(self.passed);
        self.inbox.extend_from_slice(STAND_IN);
        self.passed = self.inbox.len();
    }

    /// Hands on what has passed. Returns whether there was any.
    fn hand_on(&mut self, buf: &mut ReadBufCursor<'_>) -> bool {
        let count = self.passed.min(buf.remaining());
        if count == 0 {
            return false;
        }
        buf.put_slice(&self.inbox.split_to(count));
        self.passed -= count;
        if self.inbox.is_empty() {
            // An idle connection holds no memory here.
            self.inbox = BytesMut::new();
        }
        true
    }
}

/// The request that stands for a refused one. Its host is one that no client can name: [`Framer`]
/// refuses it.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: @\r\nconnection: close\r\n\r\n";

/// Whether these are the fields of the request that stands for a refused one.
#[must_use]
pub(crate) fn stands_in(headers: &HeaderMap) -> bool {
    headers.get(HOST).is_some_and(|host| host.as_bytes() == b"@")
}

/// A request that was refused before it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The status code and what is wrong with it.
    pub(crate) refusal: Refusal,
    /// Its first line, or the beginning of that, as bytes that show: others are escaped.
    pub(crate) line: String,
}

impl Refused {
    fn new(refusal: Refusal, head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = line.get(..LINE).map_or_else(
            || line.escape_ascii().to_string(),
            |beginning| format!("{}\u{2026}", beginning.escape_ascii()),
        );
        Self { refusal, line: shown }
    }
}

impl Read for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_passed(cx, buf);
        let between = self.inbox.is_empty() && self.framer.is_between_requests() && !self.refused;
        self.wire.between.store(between, Ordering::Release);
        read
    }
}

impl Guard {
    fn poll_passed(&mut self, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self;
        loop {
            if this.hand_on(&mut buf) || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(reason) = this.broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
            if this.refused {
                // An end here would take the answer away; the answer itself ends the connection.
                return Poll::Pending;
            }
            this.wire.sends.store(!this.framer.is_in_head(), Ordering::Relaxed);
            ready!(this.wire.stream.poll_read_ready(cx))?;
            this.inbox.reserve(READ.min(buf.remaining().max(1024)));
            match this.wire.stream.try_read_buf(&mut this.inbox) {
                Ok(0) if this.inbox.is_empty() => return Poll::Ready(Ok(())),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    this.wire.sends.store(false, Ordering::Relaxed);
                    this.wire.note(count);
                    this.advance();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if this.inbox.is_empty() {
                        this.inbox = BytesMut::new();
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Wire {
    /// Sends an interim response, unless one that is not interim may be under way: then it is left
    /// out.
    pub(crate) fn interim(&self, bytes: &[u8]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if self.writing.load(Ordering::Acquire) {
            return;
        }
        let sent = if pending.is_empty() { self.stream.try_write(bytes).unwrap_or(0) } else { 0 };
        pending.extend_from_slice(bytes.get(sent..).unwrap_or_default());
    }

    /// Waits until bytes come, or the end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    /// Waits until bytes can be sent.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Reads what is there.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut received = None;
        let result = self.stream.try_io(Interest::READABLE, || {
            let (count, _) = rustix::net::recv(&self.stream, &mut *buffer, RecvFlags::empty())?;
            received = Some(count);
            // Less than was asked for: the next call would say that there is no more.
            if count > 0 && count < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        });
        received.map_or(result, Ok)
    }

    /// Sends what the socket takes.
    pub(crate) fn send(&self, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        self.write_with(|stream| Ok(rustix::net::send(stream, bytes, flags)?))
    }

    /// Writes with a call that sends what the socket takes.
    pub(crate) fn write_with(&self, write: impl FnOnce(&Stream) -> io::Result<usize>) -> io::Result<usize> {
        self.stream.try_io(Interest::WRITABLE, || write(&self.stream))
    }

    /// Whether no part of a request is with the guard, nor can the parser have one that is not
    /// answered.
    #[must_use]
    pub(crate) fn is_between_requests(&self) -> bool {
        self.between.load(Ordering::Acquire) && !self.parsers.load(Ordering::Acquire)
    }

    /// The request that was refused before it was read.
    #[must_use]
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether bytes of a response may be under way.
    #[must_use]
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Acquire)
    }

    fn poll_pending(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match self.stream.try_write(&pending) {
                Ok(count) => drop(pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&Stream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.writing.store(true, Ordering::Release);
        self.takes.store(true, Ordering::Relaxed);
        ready!(self.poll_pending(cx))?;
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.takes.store(false, Ordering::Relaxed);
                    self.note(*result.as_ref().unwrap_or(&0));
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn note(&self, count: usize) {
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many bytes have moved, in both directions.
    #[must_use]
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether it is the client that has to do something.
    fn awaits_client(&self) -> bool {
        self.sends.load(Ordering::Relaxed) || self.takes.load(Ordering::Relaxed)
    }

    /// Says that the answer ends where the connection does. However this process ends before that,
    /// the connection is then reset, so that no client takes the answer for complete. A Unix socket
    /// knows no reset.
    pub(crate) fn end_marks_the_answer(&self) {
        self.unsized_answer.store(true, Ordering::Relaxed);
        self.reset_when_closed(true);
    }

    /// Whether an answer has begun that only the end of the connection would end, and that did not
    /// come to its end.
    #[must_use]
    pub(crate) fn ends_within_an_answer(&self) -> bool {
        self.unsized_answer.load(Ordering::Relaxed)
    }

    /// Whether closing the connection throws away what was not sent.
    pub(crate) fn reset_when_closed(&self, reset: bool) {
        // Fails only for a connection that is broken already.
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, reset.then_some(Duration::ZERO));
    }
}

impl Write for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.poll_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_pending(cx))?;
        self.wire.writing.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.wire.unsized_answer.swap(false, Ordering::Relaxed) {
            this.wire.reset_when_closed(false);
        }
        // It is the parser's to the end.
        this.wire.parsers.store(true, Ordering::Release);
        if this.lingering.is_none() {
            rustix::net::shutdown(&this.wire.stream, rustix::net::Shutdown::Write)?;
        }
        if !this.refused {
            return Poll::Ready(Ok(()));
        }
        let until = || Box::pin(tokio::time::sleep(LINGER));
        let lingering =
            this.lingering.get_or_insert_with(|| Lingering { until: until(), left: LINGER_BYTES });
        lingering.poll(cx, &this.wire.stream)
    }
}

/// Watches whether a connection moves.
#[derive(Debug)]
pub(crate) struct Watch {
    moved: u64,
    since: Instant,
}

impl Watch {
    pub(crate) fn new(wire: &Wire) -> Self {
        Self { moved: wire.moved(), since: Instant::now() }
    }

    /// For how long nothing has moved.
    pub(crate) fn still_for(&mut self, wire: &Wire) -> Duration {
        if wire.moved() != self.moved {
            *self = Self::new(wire);
        }
        self.since.elapsed()
    }

    /// Whether the client was waited for so long in vain.
    pub(crate) fn is_given_up(&mut self, wire: &Wire, idle: Duration) -> bool {
        self.still_for(wire) >= idle && wire.awaits_client()
    }
}

/// Watches a connection from the moment when the server is to end.
#[derive(Debug)]
pub(crate) struct Draining {
    watch: Watch,
    queued: Option<u64>,
}

impl Draining {
    pub(crate) fn new(wire: &Wire, queues: &Queues) -> Self {
        Self { watch: Watch::new(wire), queued: queues.of(&wire.stream) }
    }

    /// Whether nothing has moved for so long: neither here nor on the way to the client.
    pub(crate) fn is_over(&mut self, wire: &Wire, queues: &Queues, patience: Duration) -> bool {
        if self.watch.still_for(wire) < patience {
            return false;
        }
        let before = std::mem::replace(&mut self.queued, queues.of(&wire.stream));
        let moved = before != self.queued;
        if moved {
            self.watch = Watch::new(wire);
        }
        !moved
    }
}

impl Lingering {
    fn poll(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<io::Result<()>> {
        let mut scrap = [0; 4096];
        while self.left > 0 && self.until.as_mut().poll(cx).is_pending() {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read(&mut scrap) {
                Ok(0) => break,
                Ok(count) => self.left = self.left.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_ask_for_what_stands_for_a_refused_request() {
        let mut framer = Framer::new(HeadLimits { head: 1000, fields: 5 });
        assert!(framer.advance(STAND_IN).is_err());
    }

    #[test]
    fn a_client_that_takes_a_little_moves() {
        use std::io::{Read, Write};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 8192]).is_ok() {}
        let wire =
            Guard::new(tokio::net::TcpStream::from_std(stream).unwrap(), HeadLimits { head: 1, fields: 1 })
                .wire();
        let is_over = |draining: &mut Draining| draining.is_over(&wire, &Queues::default(), Duration::ZERO);
        let mut draining = Draining::new(&wire, &Queues::default());
        // What was on its way may have come meanwhile.
        while !(0..20).all(|_| is_over(&mut draining)) {}
        let mut taken = vec![0; 1 << 20];
        while is_over(&mut draining) {
            client.read_exact(&mut taken).unwrap();
        }
        assert_eq!(wire.moved(), 0, "nothing was written here");
    }

    #[test]
    fn the_first_line_is_kept_as_bytes_that_show() {
        let refusal = Refusal { status: 400, reason: "x" };
        let line = |head: &[u8]| Refused::new(refusal, head).line;
        assert_eq!(line(b"GET /a\x1b[2J\xc2\x9b HTTP/1.1\r\nHost: b\r\n"), r"GET /a\x1b[2J\xc2\x9b HTTP/1.1");
        assert_eq!(line(&[b'a'; 2 * LINE]), format!("{}\u{2026}", "a".repeat(LINE)));
    }
}
