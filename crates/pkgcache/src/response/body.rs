//! The bodies of responses: bytes at hand, pieces of a stored or a growing file, or what an
//! upstream sends.
//!
//! A body that cannot be given whole ends in an error, which closes the connection: no client takes
//! it for complete.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::{mpsc, watch};
use tokio::time::{Sleep, sleep};

use crate::observe::meter::Meter;
use crate::response::flight::Growing;
use crate::response::overflow::Rest;

/// What is read from a file at once, at most: below the size from which the allocator maps fresh
/// pages for each buffer.
const READ: u64 = 64 << 10;

/// A request that waits looks again after so long whether what it waits for is far ahead by now.
const LOOK: Duration = Duration::from_millis(250);

/// How far a growing file has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes that are in the file.
    pub(crate) written: u64,
    /// Whether more will come.
    pub(crate) end: End,
}

/// Whether a growing file is at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// More may come.
    #[default]
    Growing,
    /// The file is at its end, and the rest comes past it.
    Spilling,
    /// It is whole.
    Whole,
    /// It will never be.
    Broken,
}

/// A file that grows, and what of it comes ahead.
#[derive(Debug)]
struct Growth {
    progress: watch::Receiver<Progress>,
    growing: Arc<Growing>,
    ahead: watch::Receiver<()>,
}

impl Growth {
    /// Up to where there are bytes ahead of what has come. The last one of all is kept until that
    /// is found right.
    fn filled(&self, position: u64) -> Option<u64> {
        let filled = self.growing.segments.filled(position)?;
        let most = self.growing.total.map(|total| total.saturating_sub(u64::from(self.growing.strict)));
        let filled = most.map_or(filled, |most| filled.min(most));
        (position < filled).then_some(filled)
    }

    /// Waits until more is there, or for so long that what was near may be far.
    async fn changed(&mut self) -> io::Result<()> {
        let changed = tokio::select! {
            changed = self.progress.changed() => changed,
            _ = self.ahead.changed() => Ok(()),
            () = sleep(LOOK) => Ok(()),
        };
        changed.map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A file to read from.
#[derive(Debug)]
pub(crate) struct Source {
    /// `None` where there is only a head.
    file: Option<Arc<File>>,
    growth: Option<Growth>,
    rest: Option<mpsc::Receiver<Rest>>,
    /// Bytes that came past the file, and where they begin in the body.
    past: (u64, Bytes),
    /// Whether the last byte at hand is kept until all is there and found right.
    hold_back: bool,
}

impl Source {
    /// A file that is whole.
    #[must_use]
    pub(crate) fn whole(file: Arc<File>) -> Self {
        Self { file: Some(file), ..Self::none() }
    }

    /// No file, for an answer without a body.
    #[must_use]
    pub(crate) fn none() -> Self {
        Self { file: None, growth: None, rest: None, past: (0, Bytes::new()), hold_back: false }
    }

    /// A file that grows. `None` where its beginning cannot be had any more.
    #[must_use]
    pub(crate) fn growing(growing: &Arc<Growing>) -> Option<Self> {
        let rest = growing.readers.attach()?;
        Some(Self {
            growth: Some(Growth {
                progress: growing.progress.clone(),
                growing: Arc::clone(growing),
                ahead: growing.segments.changes(),
            }),
            rest: Some(rest),
            hold_back: growing.strict,
            ..Self::whole(Arc::clone(&growing.file))
        })
    }

    /// Waits until there is something at `position`, and reads it. `None` at the end of the file.
    async fn read(&mut self, position: u64, last: u64) -> io::Result<Option<Bytes>> {
        let Some(growth) = &mut self.growth else { return self.cut(position, last).map(Some) };
        let visible = loop {
            growth.ahead.mark_unchanged();
            let Progress { written, end } = *growth.progress.borrow_and_update();
            let visible = match end {
                End::Broken => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upstream broke off"));
                }
                End::Whole if position >= written => return Ok(None),
                End::Spilling if position >= written => return self.read_past(written, position, last).await,
                End::Whole | End::Spilling => written,
                End::Growing => written.saturating_sub(u64::from(self.hold_back)),
            };
            if position < visible {
                break visible.min(last);
            }
            if end == End::Growing {
                if let Some(filled) = growth.filled(position) {
                    break filled.min(last);
                }
                let last = growth.growing.total.map_or(last, |total| last.min(total));
                growth.growing.segments.wish(position, last, written);
            }
            growth.changed().await?;
        };
        self.cut(position, visible).map(Some)
    }

    /// Reads what comes past the end of the file, which is at `written`.
    async fn read_past(&mut self, written: u64, position: u64, last: u64) -> io::Result<Option<Bytes>> {
        let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (start, bytes) = &mut self.past;
        *start = written.max(*start);
        loop {
            let skip =
                usize::try_from(position.checked_sub(*start).ok_or_else(broken)?).unwrap_or(usize::MAX);
            if skip < bytes.len() {
                let wanted = usize::try_from(last - position).unwrap_or(usize::MAX);
                bytes.advance(skip);
                let taken = bytes.split_to(wanted.min(bytes.len()));
                *start = position + taken.len() as u64;
                return Ok(Some(taken));
            }
            *start += bytes.len() as u64;
            *bytes = match self.rest.as_mut().ok_or_else(broken)?.recv().await {
                Some(Rest::Bytes(bytes)) => bytes,
                Some(Rest::End) => return Ok(None),
                None => return Err(broken()),
            };
        }
    }

    fn cut(&self, position: u64, end: u64) -> io::Result<Bytes> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        read_at(file, position, end.saturating_sub(position).min(READ))
    }
}

/// Reads between 1 and `most` bytes.
fn read_at(file: &File, position: u64, most: u64) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(usize::try_from(most).unwrap_or(0));
    let count = rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), position)?;
    if count == 0 {
        // Somebody has cut it.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from(buffer))
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// These of the file. An end behind that of the file means: up to there.
    Of(Range<u64>),
}

type Reading = Pin<Box<dyn Future<Output = (Source, io::Result<Option<Bytes>>)> + Send>>;

enum Kind {
    Empty,
    Pieces { source: Option<Source>, pieces: VecDeque<Piece>, left: Option<u64>, reading: Option<Reading> },
    Incoming(Passing),
}

/// What an upstream sends, as it comes.
struct Passing {
    incoming: Incoming,
    /// How long the upstream may say nothing.
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// A response's body.
pub(crate) struct Body {
    kind: Kind,
    meter: Option<Meter>,
}

impl Body {
    /// None.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Empty, meter: None }
    }

    /// A body that is a text.
    #[must_use]
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let bytes = text.into();
        let left = Some(bytes.len() as u64);
        let pieces = VecDeque::from([Piece::Bytes(bytes)]);
        Self { kind: Kind::Pieces { source: None, pieces, left, reading: None }, meter: None }
    }

    /// What an upstream sends; it breaks off where the upstream says nothing for so long.
    #[must_use]
    pub(crate) fn incoming(incoming: Incoming, patience: Duration) -> Self {
        Self { kind: Kind::Incoming(Passing { incoming, patience, waiting: None }), meter: None }
    }

    /// Pieces of a file; `size` is their sum where it is known.
    #[must_use]
    pub(crate) fn pieces(source: Source, pieces: impl Into<VecDeque<Piece>>, size: Option<u64>) -> Self {
        let kind = Kind::Pieces { source: Some(source), pieces: pieces.into(), left: size, reading: None };
        Self { kind, meter: None }
    }

    /// Counts what is sent, and notes the end.
    #[must_use]
    pub(crate) fn metered(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }
}

/// The next bytes of the pieces.
fn poll_pieces(
    cx: &mut Context<'_>,
    source: &mut Option<Source>,
    pieces: &mut VecDeque<Piece>,
    reading: &mut Option<Reading>,
) -> Poll<Option<io::Result<Bytes>>> {
    loop {
        if let Some(future) = reading {
            let (back, result) = ready!(future.as_mut().poll(cx));
            *reading = None;
            *source = Some(back);
            match (result, pieces.front_mut()) {
                (Err(error), _) => return Poll::Ready(Some(Err(error))),
                (Ok(Some(bytes)), Some(Piece::Of(range))) => {
                    range.start += bytes.len() as u64;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                // The end of a file whose size was not known.
                (Ok(_), _) => drop(pieces.pop_front()),
            }
        }
        match pieces.front().cloned() {
            None => return Poll::Ready(None),
            Some(Piece::Bytes(bytes)) => {
                pieces.pop_front();
                return Poll::Ready(Some(Ok(bytes)));
            }
            Some(Piece::Of(range)) if range.is_empty() => drop(pieces.pop_front()),
            Some(Piece::Of(range)) => {
                let Some(mut taken) = source.take() else { return Poll::Ready(None) };
                if taken.growth.is_none() {
                    let bytes = taken.cut(range.start, range.end);
                    *source = Some(taken);
                    if let (Ok(bytes), Some(Piece::Of(range))) = (&bytes, pieces.front_mut()) {
                        range.start += bytes.len() as u64;
                    }
                    return Poll::Ready(Some(bytes));
                }
                *reading = Some(Box::pin(async move {
                    let result = taken.read(range.start, range.end).await;
                    (taken, result)
                }));
            }
        }
    }
}

impl Passing {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the upstream says nothing"))))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Empty => None,
            Kind::Pieces { source, pieces, left, reading } => {
                match ready!(poll_pieces(cx, source, pieces, reading)) {
                    Some(Ok(bytes)) => {
                        *left = left.map(|left| left.saturating_sub(bytes.len() as u64));
                        Some(Ok(Frame::data(bytes)))
                    }
                    Some(Err(error)) => Some(Err(error)),
                    None => None,
                }
            }
            Kind::Incoming(passing) => ready!(passing.poll_frame(cx)),
        };
        let at_end = this.is_end_stream();
        if let Some(meter) = &mut this.meter {
            meter.see(frame.as_ref());
            // hyper does not ask again at the end of a body whose size is known.
            if at_end {
                meter.set_whole();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Pieces { pieces, reading, .. } => {
                let nothing = |piece: &Piece| matches!(piece, Piece::Of(range) if range.is_empty());
                reading.is_none() && pieces.iter().all(nothing)
            }
            Kind::Incoming(passing) => passing.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Pieces { left: Some(left), .. } => SizeHint::with_exact(*left),
            Kind::Pieces { left: None, .. } => SizeHint::default(),
            Kind::Incoming(passing) => passing.incoming.size_hint(),
        }
    }
}
