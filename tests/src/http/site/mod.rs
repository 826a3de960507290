//! An upstream of files: it answers as a plain web server does, counts, and fails where a test
//! tells it to.
//!
//! It knows ranges, conditions and validators, keeps connections, and serves a path whatever its
//! spelling (`%2b` and `+`). What is asked with a query is the file without it, unless a file has
//! that very name.
//!
//! Deliberately absent: formats of packages. A test puts documents there, or a folder.

mod answer;
mod front;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Origin, Request};

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer comes so much later.
    Delay(Duration),
    /// The connection ends behind so many bytes of the body, whose head promises all.
    CutAfter(usize),
    /// The connection ends without an answer.
    Hangup,
    /// A status, and nothing of use behind it.
    Status(u16),
    /// 429, with what `Retry-After` says.
    TooManyRequests(String),
    /// A redirect to this place.
    Redirect(u16, String),
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// The status of its answer; 0 where there was none.
    pub status: u16,
    /// The bytes of the answer's body that were sent.
    pub bytes: usize,
}

/// An answer that a test works out for itself.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// A field on each line.
    pub fields: String,
    /// The body.
    pub body: Vec<u8>,
}

type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;
type Guard = Arc<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

#[derive(Clone)]
enum Content {
    Bytes(Arc<Vec<u8>>),
    Script(Script),
}

#[derive(Clone)]
struct File {
    content: Content,
    fields: String,
    /// How often it has changed.
    changes: u32,
}

#[derive(Default)]
struct State {
    folder: Option<Utf8PathBuf>,
    /// The host and port of the server that is asked for what is not here.
    behind: Option<String>,
    guard: Option<Guard>,
    files: BTreeMap<String, File>,
    /// Fields of all files that have none of their own.
    fields: String,
    no_validators: bool,
    /// By the beginning of paths: what goes wrong until it is healed.
    faults: Vec<(String, Fault)>,
    /// By path: what goes wrong with the next requests.
    next_faults: BTreeMap<String, VecDeque<Fault>>,
    held: Vec<String>,
    log: Vec<Exchange>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

/// The handle of an upstream of files. It serves until the test's process ends.
pub struct Site {
    origin: Origin,
    shared: Arc<Shared>,
}

/// Answers to requests for a path, held back until this is dropped.
#[must_use = "the answers are given when this is dropped"]
pub struct Held {
    path: String,
    shared: Arc<Shared>,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// One without files.
    #[must_use]
    pub fn new() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    /// The same at a port of the caller's.
    #[must_use]
    pub fn on(listener: TcpListener) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let serving = Arc::clone(&shared);
        let origin = Origin::serving_on(listener, move |connection| {
            loop {
                answer::serve(connection, &serving)?;
            }
        });
        Self { origin, shared }
    }

    /// One with the files of a folder, as they are when they are asked for.
    #[must_use]
    pub fn of(folder: &Utf8Path) -> Self {
        let site = Self::new();
        site.folder(folder);
        site
    }

    /// Has the files of a folder from now on, beside those that are put there.
    pub fn folder(&self, folder: &Utf8Path) {
        self.state().folder = Some(folder.to_owned());
    }

    /// One that asks another server, by its host and port, for what it has no file for.
    #[must_use]
    pub fn before(authority: &str) -> Self {
        let site = Self::new();
        site.state().behind = Some(authority.to_owned());
        site
    }

    /// Its address, as URLs begin.
    #[must_use]
    pub fn url(&self) -> String {
        self.origin.url()
    }

    /// Its host and port.
    #[must_use]
    pub fn authority(&self) -> String {
        self.origin.address.to_string()
    }

    /// Adds a file, or puts it in the place of another. It gets validators of its own.
    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.set(path, Content::Bytes(Arc::new(body.into())), None);
    }

    /// The same with fields, one on each line. An `etag` and a `last-modified` among them take the
    /// place of its own.
    pub fn put_with(&self, path: &str, fields: &str, body: impl Into<Vec<u8>>) {
        self.set(path, Content::Bytes(Arc::new(body.into())), Some(fields));
    }

    /// Has the test answer all requests for a path.
    pub fn script(&self, path: &str, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.set(path, Content::Script(Arc::new(script)), None);
    }

    /// Has the test answer any request first; where it gives nothing, the request is answered as
    /// ever.
    pub fn guard(&self, guard: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        self.state().guard = Some(Arc::new(guard));
    }

    fn set(&self, path: &str, content: Content, fields: Option<&str>) {
        let mut state = self.state();
        let old = state.files.remove(path);
        let changes = old.as_ref().map_or(0, |old| old.changes + 1);
        let fields = fields.map(str::to_owned).or(old.map(|old| old.fields)).unwrap_or_default();
        state.files.insert(path.to_owned(), File { content, fields, changes });
    }

    /// Takes a file away: 404.
    #[track_caller]
    pub fn remove(&self, path: &str) {
        assert!(self.state().files.remove(path).is_some(), "{path} is not there");
    }

    /// Sends these fields, one on each line, with files that have none of their own.
    pub fn fields(&self, fields: &str) {
        fields.clone_into(&mut self.state().fields);
    }

    /// Sends neither `ETag` nor `Last-Modified` from now on, and answers no condition.
    pub fn without_validators(&self) {
        self.state().no_validators = true;
    }

    /// Turns all bits of a byte of a file around, validators and length unchanged: damage, not a
    /// new version.
    #[track_caller]
    pub fn flip(&self, path: &str, byte: usize) {
        let mut state = self.state();
        let file = state.files.get_mut(path).unwrap_or_else(|| panic!("{path} is not there"));
        let Content::Bytes(bytes) = &mut file.content else { panic!("{path} is a script") };
        let etag = answer::etag(bytes);
        let at = Arc::make_mut(bytes).get_mut(byte).unwrap_or_else(|| panic!("{path} is shorter"));
        *at = !*at;
        file.fields = answer::with(std::mem::take(&mut file.fields), "etag", &etag);
    }

    /// Lets this go wrong with every request for a path that begins so, until it is healed.
    pub fn fail(&self, beginning: &str, fault: Fault) {
        self.state().faults.push((beginning.to_owned(), fault));
    }

    /// Lets this go wrong with the next request for the path that nothing else goes wrong with.
    pub fn fail_once(&self, path: &str, fault: Fault) {
        self.state().next_faults.entry(path.to_owned()).or_default().push_back(fault);
    }

    /// Lets nothing go wrong any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.next_faults.clear();
    }

    /// Ends every connection without an answer, as if the network were unplugged, until it is
    /// healed.
    pub fn unplug(&self) {
        self.fail("", Fault::Hangup);
    }

    /// Holds the answers to requests for the path back.
    pub fn hold(&self, path: &str) -> Held {
        self.state().held.push(path.to_owned());
        Held { path: path.to_owned(), shared: Arc::clone(&self.shared) }
    }

    /// All that was asked and is answered, in the order of the answers' ends.
    #[must_use]
    pub fn log(&self) -> Vec<Exchange> {
        self.state().log.clone()
    }

    /// Forgets what was asked: counts begin anew.
    pub fn forget(&self) {
        self.state().log.clear();
    }

    /// How many requests for this path were answered, with whatever method and status.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.state().log.iter().filter(|it| it.request.path == path).count()
    }

    /// The same, and those whose answers are still held back.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        self.origin.seen().iter().filter(|request| request.path == path).count()
    }

    /// How many answers for this path had this status.
    #[must_use]
    pub fn answered(&self, path: &str, status: u16) -> usize {
        self.state().log.iter().filter(|it| it.request.path == path && it.status == status).count()
    }

    /// How many requests came in all.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.state().log.len()
    }

    /// The bytes of bodies that were sent for paths that contain this.
    #[must_use]
    pub fn bytes(&self, part: &str) -> usize {
        let state = self.state();
        state.log.iter().filter(|it| it.request.path.contains(part)).map(|it| it.bytes).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    /// Also after a test that failed: it leaves nothing half done here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(at) = state.held.iter().position(|path| *path == self.path) {
            state.held.remove(at);
        }
        self.shared.released.notify_all();
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("url", &self.url()).field("log", &self.log()).finish()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held {}", self.path)
    }
}

/// A number that is another for other bytes.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
