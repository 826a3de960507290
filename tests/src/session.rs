//! A session at the shell, in a folder and with a store of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use tempfile::TempDir;

use crate::{isolate, parts, tools};

static SESSIONS: AtomicU32 = AtomicU32::new(0);

/// The sessions of this process that are open, and what removes the images of those that ended.
///
/// docker 20.10 fails a build whose step has a sister (another child of the same image, `scratch`
/// among them) that is removed at that moment: "unable to find image". So images are removed when
/// no session is open, and none is opened meanwhile.
static OPEN: Mutex<Open> = Mutex::new(Open { sessions: 0, removals: Vec::new() });

struct Open {
    sessions: usize,
    removals: Vec<Command>,
}

impl Open {
    /// Also after a test that failed: it leaves nothing half done here.
    fn lock() -> MutexGuard<'static, Self> {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A working folder with the tools on PATH. Nothing of the user's is read or written but the
/// engine; what is made there under names from [`Session::image`] or on top of [`Session::from`] is
/// removed at the end of the last session that is open.
#[derive(Debug)]
pub struct Session {
    _dir: TempDir,
    root: Utf8PathBuf,
    env: Vec<(String, String)>,
    id: String,
    images: Vec<String>,
    /// The engines that have images of the session.
    engines: BTreeSet<&'static str>,
}

/// What a command line gave.
#[derive(Debug)]
pub struct Ran {
    line: String,
    output: Output,
}

impl Session {
    /// An empty working folder, and a store that is not there yet.
    ///
    /// # Panics
    /// Where they cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a session is an action, not a value")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("larder-test-").tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(dir.path().canonicalize().expect("a folder")).expect("UTF-8");
        for folder in ["work", "home", "tmp"] {
            fs::create_dir(root.join(folder)).expect("a folder");
        }
        Open::lock().sessions += 1;
        let id = format!("{}-{}", std::process::id(), SESSIONS.fetch_add(1, Ordering::Relaxed));
        Self { _dir: dir, root, env: Vec::new(), id, images: Vec::new(), engines: ["docker"].into() }
    }

    /// Writes a file of the working folder.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Self {
        self.write(path, content);
        self
    }

    /// Sets a variable for all commands from now on.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file of the working folder, with the folders above it.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::File::create(path).and_then(|mut file| file.write_all(content.as_ref())).expect("a file");
    }

    /// The working folder's path, or that of something in it.
    #[must_use]
    pub fn path(&self, path: &str) -> Utf8PathBuf {
        self.root.join("work").join(path)
    }

    /// The store's folder.
    #[must_use]
    pub fn store(&self) -> Utf8PathBuf {
        self.root.join("store")
    }

    /// A folder beside the working folder and the store, for what is in neither.
    #[must_use]
    pub fn aside(&self, path: &str) -> Utf8PathBuf {
        self.root.join(path)
    }

    /// A name for an image that no other test uses. The engine's images of that name go when the
    /// session ends.
    #[must_use]
    pub fn image(&mut self, name: &str) -> String {
        let name = format!("larder-test-{}-{name}", self.id);
        self.images.push(name.clone());
        name
    }

    /// The same for an image in another engine than docker.
    #[must_use]
    pub fn image_in(&mut self, engine: &'static str, name: &str) -> String {
        self.engines.insert(engine);
        self.image(name)
    }

    /// The first lines of a Dockerfile on top of `base`. They make the image this session's own, so
    /// that it is removed at the end, and so that no test beside this one makes an image with the
    /// same ID.
    #[must_use]
    pub fn from(&self, base: &str) -> String {
        format!("FROM {base}\nLABEL {}={}\n", Self::LABEL, self.id)
    }

    /// The same for a packed image: a part of its `pack` table.
    #[must_use]
    pub fn labels(&self) -> String {
        format!("labels = {{ {:?} = {:?} }}", Self::LABEL, self.id)
    }

    const LABEL: &str = "larder.test";

    /// Imports the base image into the engine; its name.
    ///
    /// # Panics
    /// Without a base: ask [`crate::have`] first.
    #[must_use]
    pub fn base(&mut self) -> String {
        self.base_of("docker")
    }

    /// The same, for `docker` or `podman`.
    ///
    /// # Panics
    /// As `base`.
    #[must_use]
    pub fn base_of(&mut self, engine: &'static str) -> String {
        let name = format!("{}:latest", self.image_in(engine, "base"));
        let tar = parts::base().expect("a base");
        self.run(&format!("{engine} import -c 'CMD [\"/bin/sh\"]' {tar} {name}")).ok();
        name
    }

    /// Runs the line with `sh` in the working folder.
    ///
    /// # Panics
    /// Where `sh` cannot be run.
    #[must_use]
    pub fn run(&self, line: &str) -> Ran {
        let output = self.command(line).stdin(Stdio::null()).output().expect("sh");
        Ran { line: line.to_owned(), output }
    }

    /// Runs the line with `sh` in the working folder, with a stdout whose reader has gone.
    ///
    /// # Panics
    /// Where `sh` cannot be run.
    #[must_use]
    pub fn run_unread(&self, line: &str) -> Ran {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = self
            .command(line)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh");
        Ran { line: line.to_owned(), output: child.wait_with_output().expect("sh") }
    }

    /// Starts the line with `sh` in the working folder, with pipes for its input and output.
    ///
    /// # Panics
    /// Where `sh` cannot be run.
    #[must_use]
    pub fn start(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh")
    }

    /// What `docker image inspect` says is the image's ID, if the engine has it.
    #[must_use]
    pub fn image_id(&self, name: &str) -> Option<String> {
        let ran = self.run(&format!("docker image inspect --format '{{{{.Id}}}}' {name}"));
        (ran.code() == 0).then(|| ran.stdout().trim().to_owned())
    }

    /// Where all blobs of the store's images are, the largest first.
    ///
    /// # Panics
    /// Where there are none.
    #[must_use]
    pub fn blobs(&self) -> Vec<Utf8PathBuf> {
        let folder = self.store().join("images/blobs/sha256");
        let mut blobs: Vec<_> = folder.read_dir_utf8().expect("blobs").flatten().collect();
        blobs.retain(|entry| entry.file_name().len() == 64);
        let size = |path: &Utf8Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut blobs: Vec<_> = blobs.iter().map(|entry| entry.path().to_owned()).collect();
        blobs.sort_by_key(|path| std::cmp::Reverse(size(path)));
        blobs
    }

    fn command(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.root.join("work"));
        command.env("PATH", format!("{}:{path}", tools::folder()));
        isolate(&mut command, self.root.join("home"))
            .env("LARDER_DIR", self.store())
            .env("TMPDIR", self.root.join("tmp"));
        for (name, value) in [("GIT_AUTHOR_NAME", "t"), ("GIT_AUTHOR_EMAIL", "t@localhost")] {
            command.env(name, value).env(name.replace("AUTHOR", "COMMITTER"), value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let removal = |engine: &&str| {
            let names = self.images.iter().map(|name| format!("{engine} images -q {name};"));
            let list: String = names.collect();
            // An image goes in the second round where one on top of it went in the first.
            format!(
                "for round in 1 2; do \
                 {{ {list} {engine} images -q --filter label={}={}; }} | sort -u | xargs -r {engine} rmi -f; done; ",
                Self::LABEL,
                self.id
            )
        };
        let script: String = self.engines.iter().map(removal).collect();
        let mut removal = self.command(&script);
        // The session's own folders go now.
        removal.stdin(Stdio::null()).current_dir("/").env_remove("HOME").env_remove("TMPDIR");
        let mut open = Open::lock();
        open.removals.push(removal);
        open.sessions -= 1;
        if open.sessions == 0 {
            for mut removal in open.removals.drain(..) {
                let _ = removal.output();
            }
        }
    }
}

// Every check gives the session's result back, to be looked at further or not.
#[expect(
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "checks stand at the end of a line"
)]
impl Ran {
    /// Must have ended with 0.
    ///
    /// # Panics
    /// Where it has not.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    /// Must have ended with this code.
    ///
    /// # Panics
    /// Where it has not.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }

    /// Must not have ended with 0.
    ///
    /// # Panics
    /// Where it has.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code(), 0, "{self}");
        self
    }

    /// Must have said this on stderr.
    ///
    /// # Panics
    /// Where it has not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        // Long lines are broken anywhere.
        let flat = |text: &str| text.split_whitespace().filter(|word| *word != "│").collect::<String>();
        assert!(flat(&self.stderr()).contains(&flat(text)), "`{text}` is not in: {self}");
        self
    }

    /// Must have said nothing on stderr.
    ///
    /// # Panics
    /// Where it has.
    #[track_caller]
    pub fn quiet(self) -> Self {
        assert!(self.output.stderr.is_empty(), "{self}");
        self
    }

    /// The exit code; 128 and the signal's number for a killed process.
    #[must_use]
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.output.status;
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    /// What it wrote.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// What it wrote, as one JSON document.
    ///
    /// # Panics
    /// Where it is not.
    #[must_use]
    #[track_caller]
    pub fn json_whole(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// What it wrote, as NDJSON.
    ///
    /// # Panics
    /// Where it is not.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self}"));
        self.stdout().lines().map(parse).collect()
    }
}

/// For the messages of failed tests.
impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {}", self.line, self.code())?;
        write!(f, "stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr())
    }
}
