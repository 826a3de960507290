//! A body on its way from an upstream into the store, beside the requests that read along.
//!
//! One that breaks off is taken up where it ended, if the upstream promises (by a strong validator)
//! that the rest belongs to the same bytes, or a checksum will tell; a large one also by a later
//! process (`fetch::kept`). What cannot be completed, or is not what it was announced as, is not
//! stored. Parts that were fetched ahead of it are read where it comes to them. Where the disk is
//! full, or more comes than is to be stored, the requests that read along get the rest all the
//! same.

use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use storekit::{BodyWriter, Checksum, Digest, Hasher, Notes, PackageEntry, StoredResponse};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::cache::Cache;
use crate::ecosystem::contents::Unlike;
use crate::ecosystem::ruling::{Check, Mismatch};
use crate::error::{Error, Result, explained};
use crate::fetch::ahead::{self, Ahead};
use crate::fetch::ask::{Ask, UNSEEN, follow_from};
use crate::fetch::head::Head;
use crate::fetch::read_ahead::ReadAhead;
use crate::fetch::{commit, kept, unstored};
use crate::observe::meter::add;
use crate::observe::uses::Wanted;
use crate::response::body::{End, Progress};
use crate::response::flight::{Flight, Growing, Stage};
use crate::response::overflow::{Overflow, Readers};
use crate::response::segments::Segments;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::store::positioned::Positioned;

/// A broken answer is asked for again so many times in a row without a byte, after pauses that
/// double: some six seconds for an upstream that starts again.
const RESUMES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// An answer on its way into the store.
pub(crate) struct Download<'a> {
    cache: &'a Arc<Cache>,
    flight: &'a Arc<Flight>,
    ask: &'a Arc<Ask>,
    growing: Arc<Growing>,
    progress: watch::Sender<Progress>,
    sink: Sink,
    tag: Option<HeaderValue>,
    /// The number of the server that it comes from.
    from: usize,
    check: Check,
    /// What fetches ahead, for as long as this is under way.
    ahead: JoinSet<()>,
}

/// What a body is written to from its beginning, and read from by the requests that read along.
struct Opened {
    sink: Sink,
    file: Arc<File>,
    notes: Option<Arc<Notes>>,
}

/// Where the bytes go.
enum Sink {
    /// Into the store.
    File(Box<BodyWriter>),
    /// Nowhere yet: nothing can be stored.
    Unopened,
    /// To the requests that read along.
    Overflow(Box<Overflow>),
    /// Nowhere any more, after so many.
    Nothing(u64),
}

/// Where reading has stopped.
enum Stop {
    /// At the end of the body.
    End,
    /// Where a part begins that was fetched ahead.
    Part,
}

/// Why a body did not come to its end.
enum Broken {
    /// The upstream broke off; it may be taken up.
    Upstream(String),
    /// It is not stored, and no request reads along.
    Deserted,
    /// More than it may have: what it is larger than, in words.
    TooLarge(&'static str),
}

impl<'a> Download<'a> {
    /// An upstream's answer, of which nothing stays for a later fetch unless it `is_kept`.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub(crate) fn new(
        cache: &'a Arc<Cache>,
        flight: &'a Arc<Flight>,
        ask: &'a Arc<Ask>,
        response: &Response<Incoming>,
        times: Times,
        is_kept: bool,
    ) -> Result<Self> {
        let head = Head::of(ask, response, times);
        let writer = match kept::noted(ask, &head).filter(|_| is_kept) {
            Some(noted) => cache.shelf.begin_kept(&ask.key, noted)?,
            None => cache.shelf.begin()?,
        };
        Ok(Self::of(cache, flight, ask, Head { is_kept, ..head }, writer, &[]))
    }

    /// An upstream's answer that has to be compared where nothing can be stored: it goes to the
    /// requests that read along, its last bytes once all are right.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn past_the_store(
        cache: &'a Arc<Cache>,
        flight: &'a Arc<Flight>,
        ask: &'a Arc<Ask>,
        response: &Response<Incoming>,
        times: Times,
    ) -> std::io::Result<Self> {
        let nothing = Arc::new(File::open("/dev/null")?);
        let opened = Opened { sink: Sink::Unopened, file: nothing, notes: None };
        let head = Head { is_kept: false, ..Head::of(ask, response, times) };
        Ok(Self::begun(cache, flight, ask, head, opened, &[]))
    }

    /// What the bucket has that several caches share.
    pub(crate) fn held(
        cache: &'a Arc<Cache>,
        flight: &'a Arc<Flight>,
        ask: &'a Arc<Ask>,
        answer: Answer,
        writer: BodyWriter,
    ) -> Self {
        // The digest of all tells whether a part is of the same bytes.
        let total = ask.held.as_ref().map(|held| held.size);
        let head = Head { answer, total, tag: None, from: 0, cookies: HeaderMap::new(), is_kept: true };
        Self::of(cache, flight, ask, head, writer, &[])
    }

    /// A body of which these ranges are in the file already.
    pub(super) fn of(
        cache: &'a Arc<Cache>,
        flight: &'a Arc<Flight>,
        ask: &'a Arc<Ask>,
        head: Head,
        writer: BodyWriter,
        kept: &[Range<u64>],
    ) -> Self {
        let (file, notes) = (writer.file(), writer.notes());
        let opened = Opened { sink: Sink::File(Box::new(writer)), file, notes };
        Self::begun(cache, flight, ask, head, opened, kept)
    }

    fn begun(
        cache: &'a Arc<Cache>,
        flight: &'a Arc<Flight>,
        ask: &'a Arc<Ask>,
        head: Head,
        opened: Opened,
        kept: &[Range<u64>],
    ) -> Self {
        let Opened { sink, file, notes } = opened;
        let (progress, receiver) = watch::channel(Progress::default());
        let (segments, wishes) = Segments::new(kept);
        let Head { answer, total, tag, from, cookies, is_kept } = head;
        let growing = Arc::new(Growing {
            answer,
            total,
            strict: ask.is_strict(),
            by_remote: ask.held.is_some(),
            is_kept,
            file,
            progress: receiver,
            segments,
            notes,
            readers: Readers::default(),
            cookies,
        });
        let check = ask.check();
        let mut ahead = JoinSet::new();
        let has_file = matches!(sink, Sink::File(_));
        if has_file && growing.may_have_segments(tag.is_some(), ask.route.limits.object) {
            let (cache, ask, growing) = (Arc::clone(cache), Arc::clone(ask), Arc::clone(&growing));
            ahead.spawn(Ahead { cache, ask, growing, tag: tag.clone() }.run(wishes));
        } else {
            growing.segments.close();
        }
        Self { cache, flight, ask, growing, progress, sink, tag, from, check, ahead }
    }

    /// Receives the body, which was asked for at `begun`, and stores it.
    pub(crate) async fn run(mut self, body: Incoming, begun: Instant) {
        self.flight.reach(Stage::Growing(Arc::clone(&self.growing)));
        let is_unopened = matches!(self.sink, Sink::Unopened);
        if is_unopened || self.growing.total.is_some_and(|total| total > self.ask.route.limits.object) {
            self.growing.readers.begun().await;
        }
        if is_unopened {
            self.spill();
        }
        match self.receive(body).await {
            Ok(()) => self.finish(begun).await,
            Err(Broken::Upstream(why)) => self.give_up(&why),
            Err(Broken::Deserted) => {}
            Err(Broken::TooLarge(why)) => {
                self.discard();
                if let (Some(held), Some(remote)) = (self.ask.body_in_bucket(), &self.cache.remote) {
                    remote.refuse(&held.digest, &self.ask.key, why);
                }
                self.give_up(why);
            }
        }
    }

    /// Nobody goes on with what came.
    fn discard(&mut self) {
        let sink = Sink::Nothing(self.sink.size());
        if let Sink::File(writer) = std::mem::replace(&mut self.sink, sink) {
            writer.discard();
        }
    }

    fn give_up(&self, why: &str) {
        self.cache.outside.warning(&format!("{} was not stored: {why}", self.ask.target.url));
        self.end(End::Broken);
    }

    fn end(&self, end: End) {
        self.progress.send_replace(Progress { written: self.sink.size(), end });
    }

    /// The whole body, taken up where it breaks off.
    async fn receive(&mut self, body: Incoming) -> Result<(), Broken> {
        let (mut body, mut fruitless) = (ReadAhead::new(body), 0);
        // What an earlier fetch left ends where this begins.
        if self.part_here().is_some() && self.read_parts().await? {
            return Ok(());
        }
        loop {
            let before = self.sink.size();
            let why = match self.read(&mut body).await {
                Ok(Stop::End) => return Ok(()),
                Ok(Stop::Part) => {
                    // The rest of what this connection has is not needed.
                    drop(body);
                    if self.read_parts().await? {
                        return Ok(());
                    }
                    fruitless = 0;
                    None
                }
                Err(Broken::Upstream(why)) => Some(why),
                Err(broken) => return Err(broken),
            };
            if self.sink.size() > before {
                fruitless = 0;
            }
            body = ReadAhead::new(self.resume(why, &mut fruitless).await?);
        }
    }

    /// The parts that were fetched ahead and begin where the body has come to, one after the other.
    /// Returns whether the last one ends where the body does.
    async fn read_parts(&mut self) -> Result<bool, Broken> {
        let mut changes = self.growing.segments.changes();
        while let Some(start) = self.part_here() {
            loop {
                changes.mark_unchanged();
                let is_open = self.growing.segments.is_open(start);
                let size = self.sink.size();
                if let Some(filled) = self.growing.segments.filled(size) {
                    self.take_in(filled).await?;
                } else if is_open {
                    // It lasts as long as what it is waited for.
                    let _ = changes.changed().await;
                } else {
                    break;
                }
            }
        }
        Ok(self.growing.total == Some(self.sink.size()))
    }

    /// The part that begins where the body has come to, while that goes into the store.
    fn part_here(&self) -> Option<u64> {
        let here = self.sink.size();
        let is_file = matches!(self.sink, Sink::File(_));
        self.growing.segments.next(here).filter(|start| is_file && *start == here)
    }

    /// Reads what is in the file already, up to a place.
    async fn take_in(&mut self, until: u64) -> Result<(), Broken> {
        let Sink::File(writer) = &mut self.sink else { return Ok(()) };
        while writer.size() < until {
            match writer.take_in(until) {
                Ok(data) => self.check.update(&data),
                Err(error) => return Err(Broken::Upstream(explained(&error))),
            }
            self.progress.send_replace(Progress { written: writer.size(), end: End::Growing });
            // Others on this thread have their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Reads to the end of the body, or to where a part begins that was fetched ahead.
    async fn read(&mut self, body: &mut ReadAhead) -> Result<Stop, Broken> {
        loop {
            if self.part_here().is_some() {
                return Ok(Stop::Part);
            }
            let patience = self.ask.patience(self.cache);
            let next = timeout(patience, body.next()).await;
            let next = next.unwrap_or_else(|_| Err(format!("nothing came for {} s", patience.as_secs())));
            match next.map_err(|why| self.broken(why))? {
                None => break,
                Some(data) => {
                    self.is_in_time(data.len() as u64, patience)?;
                    self.take(self.before_part(data)).await?;
                }
            }
        }
        let short = self.growing.total.is_some_and(|total| self.sink.size() < total);
        if short && self.part_here().is_some() {
            return Ok(Stop::Part);
        }
        if short { Err(Broken::Upstream("the body ended too soon".to_owned())) } else { Ok(Stop::End) }
    }

    /// The body broke off. One in the bucket is not asked for there again.
    fn broken(&self, why: String) -> Broken {
        if let (Some(held), Some(remote)) = (self.ask.body_in_bucket(), &self.cache.remote) {
            remote.failed(held, &why);
        }
        Broken::Upstream(why)
    }

    /// What comes from the bucket has to come fast enough; else the upstream is asked for the rest.
    fn is_in_time(&self, bytes: u64, time: Duration) -> Result<(), Broken> {
        match self.ask.body_in_bucket() {
            Some(held) if !held.keeps_up(bytes, time, tokio::time::Instant::now()) => {
                Err(self.broken("it comes too slowly".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// What comes before the next part of these bytes.
    fn before_part(&self, mut data: Bytes) -> Bytes {
        let here = self.sink.size();
        let part = self.growing.segments.next(here).filter(|_| matches!(self.sink, Sink::File(_)));
        if let Some(room) = part.and_then(|start| usize::try_from(start - here).ok()) {
            data.truncate(room);
        }
        data
    }

    async fn take(&mut self, data: Bytes) -> Result<(), Broken> {
        let size = self.sink.size() + data.len() as u64;
        if self.growing.total.is_some_and(|total| size > total) {
            return Err(Broken::TooLarge("it is larger than announced"));
        }
        if let Some(why) = self.ask.is_too_much(size) {
            return Err(Broken::TooLarge(why));
        }
        if size > self.ask.route.limits.object && matches!(self.sink, Sink::File(_)) {
            self.spill();
        }
        add(self.ask.counter(&self.cache.counts), data.len() as u64);
        if let Sink::File(writer) = &mut self.sink {
            match writer.write(&data) {
                Ok(()) => {
                    self.check.update(&data);
                    self.end(End::Growing);
                    return Ok(());
                }
                Err(error) => {
                    unstored(self.cache, self.ask, explained(&error));
                    self.spill();
                }
            }
        }
        let Sink::Overflow(spill) = &mut self.sink else { return Err(Broken::Deserted) };
        if spill.push(data).await { Ok(()) } else { Err(Broken::Deserted) }
    }

    /// From now on the bytes go to the requests that read along, and nowhere else.
    fn spill(&mut self) {
        let size = self.sink.size();
        let sink = std::mem::replace(&mut self.sink, Sink::Nothing(size));
        let hasher = match sink {
            Sink::File(writer) => writer.abandon(),
            Sink::Unopened => Hasher::new(),
            Sink::Overflow(_) | Sink::Nothing(_) => return,
        };
        self.growing.segments.close();
        self.ahead.abort_all();
        let spill = Overflow::new(&self.growing.readers, hasher, size, self.check.clone());
        self.progress.send_replace(Progress { written: size, end: End::Spilling });
        self.sink = Sink::Overflow(Box::new(spill));
    }

    /// Asks for the rest, or for what comes before the next part, if it is sure to be of the same.
    /// `broken` says why there is no more of what came before; nothing where that was not needed.
    async fn resume(&self, broken: Option<String>, fruitless: &mut u32) -> Result<Incoming, Broken> {
        let why = broken.clone().unwrap_or_else(|| "it was fetched in parts".to_owned());
        let from = self.sink.size();
        let total = self.growing.total.filter(|total| from < *total);
        // What has to have a checksum is judged by that.
        let (Some(total), true) = (total, self.tag.is_some() || self.growing.strict) else {
            return Err(Broken::Upstream(why));
        };
        let range = from..self.growing.segments.next(from).unwrap_or(total);
        let conditions = ahead::conditions(&range, total, self.tag.as_ref());
        let mut then = String::new();
        loop {
            if *fruitless >= RESUMES {
                return Err(Broken::Upstream(why + &then));
            }
            if broken.is_some() || *fruitless > 0 {
                sleep(FIRST_PAUSE * 2_u32.pow(*fruitless)).await;
            }
            // The one that broke off first, then the others in their turn.
            let first = self.from + *fruitless as usize;
            *fruitless += 1;
            let others = self.ask.target.sources.mirrors.len();
            match follow_from(self.cache, self.ask, &conditions, first).await {
                Ok(response) if ahead::is_part(&response, &range, total, self.tag.as_ref()) => {
                    return Ok(response.into_body());
                }
                Ok(response) if response.status().is_server_error() => {
                    then = format!("; then it answered {}", response.status());
                }
                Ok(_) if (*fruitless as usize) <= others => {}
                Ok(_) => return Err(Broken::Upstream(format!("{why}; the rest could not be fetched"))),
                Err(error) if error.may_pass() => then = format!("; then {error}"),
                Err(error) => return Err(Broken::Upstream(format!("{why}; then {error}"))),
            }
        }
    }

    async fn finish(self, begun: Instant) {
        let Self { cache, flight, ask, growing, progress, sink, from, check, .. } = self;
        let writer = match sink {
            Sink::Nothing(_) | Sink::Unopened => return,
            Sink::Overflow(_) if ask.ruling.contents.is_some() => {
                return cache.outside.warning(&format!("{} was cut off: {UNSEEN}", ask.target.url));
            }
            Sink::Overflow(spill) => {
                return spill.end().await.err().into_iter().for_each(|it| mismatch(cache, ask, from, &it));
            }
            Sink::File(writer) => writer,
        };
        let (found, size) = (writer.digest(), writer.size());
        if let Err(wrong) = check.verdict(found) {
            writer.discard();
            mismatch(cache, ask, from, &wrong);
            progress.send_replace(Progress { written: size, end: End::Broken });
            return;
        }
        if ask.held.is_none() && growing.is_kept {
            let (wanted, is_new) = (Wanted::of(&ask.key), ask.stored.is_none());
            cache.counts.uses.fetched(&wanted, size, begun.elapsed(), is_new);
        }
        if let Err(unlike) = looked_at(ask, writer.file()).await {
            writer.discard();
            differs(cache, ask, from, unlike);
            progress.send_replace(Progress { written: size, end: End::Broken });
            return;
        }
        // Every byte is there and right: no request has to wait for the store.
        progress.send_replace(Progress { written: size, end: End::Whole });
        if !growing.is_kept || flight.is_doubted() {
            return writer.discard();
        }
        let named = spawn_blocking(move || writer.finish(None)).await;
        let lease = match named {
            Ok(Ok(lease)) => lease,
            Ok(Err(error)) => return unstored(cache, ask, explained(&error)),
            Err(error) => return unstored(cache, ask, error),
        };
        let stored = StoredResponse {
            announced: ask.ruling.expected.map(|it| noted(it.checksum, found)),
            level: ask.ruling.level,
            ..growing.answer.to_stored(lease.digest(), lease.size())
        };
        let generations = ask.ruling.generations;
        let change = move |entry: &mut PackageEntry| keep_newest(entry, stored, generations);
        commit(cache, flight, ask, vec![lease], change).await;
    }
}

/// Puts a response into its entry, before the older ones of which so many stay.
pub(crate) fn keep_newest(entry: &mut PackageEntry, stored: StoredResponse, generations: usize) {
    let same = |it: &StoredResponse| it.selecting == stored.selecting && it.vary == stored.vary;
    if entry.responses.iter().any(|it| same(it) && it.received > stored.received) {
        // A request with other credentials came later, and got it sooner.
        return;
    }
    let mut older = 0;
    entry.responses.retain(|it| {
        older += usize::from(same(it) && it.digest != stored.digest);
        let kept = same(it) && it.digest != stored.digest && older <= generations;
        kept || (!stored.vary.is_empty() && !same(it))
    });
    entry.responses.insert(0, stored);
}

/// The checksum that a body is written down with. Git's name of it holds for its place alone.
fn noted(announced: Checksum, found: Digest) -> Checksum {
    if matches!(announced, Checksum::GitBlob(_)) { found.into() } else { announced }
}

/// Notes that a body is not what it was announced as, with both digests.
fn mismatch(cache: &Cache, ask: &Ask, from: usize, &Mismatch { announced, found }: &Mismatch) {
    differs(cache, ask, from, Unlike { announced: announced.to_string(), found: found.to_string() });
}

/// Notes that a body is not what it has to be. The next request for it goes to the next server.
fn differs(cache: &Cache, ask: &Ask, from: usize, Unlike { announced, found }: Unlike) {
    if let (Some(held), Some(remote)) = (&ask.held, &cache.remote) {
        return remote.refuse(&held.digest, &ask.key, "its bytes are others");
    }
    add(&cache.counts.mismatches, 1);
    if !ask.target.sources.mirrors.is_empty() {
        cache.distrust.note(&ask.target.url, from);
    }
    let error = Error::Mismatch { url: ask.target.url.to_string(), announced, found };
    cache.outside.warning(&error.to_string());
}

/// Looks at the whole file, where it has to have something in it.
pub(super) async fn looked_at(ask: &Ask, file: Arc<File>) -> Result<(), Unlike> {
    let Some(contents) = ask.ruling.contents else { return Ok(()) };
    let looking = spawn_blocking(move || contents.check(&mut BufReader::new(Positioned::new(file))));
    looking
        .await
        .unwrap_or_else(|error| Err(Unlike { announced: contents.to_string(), found: error.to_string() }))
}

impl Sink {
    fn size(&self) -> u64 {
        match self {
            Self::File(writer) => writer.size(),
            Self::Unopened => 0,
            Self::Overflow(spill) => spill.size(),
            Self::Nothing(size) => *size,
        }
    }
}
