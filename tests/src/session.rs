//! A session at the shell, in a folder and with a store of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use crate::{Ran, isolate, parts, tools};

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
    tool: Option<Utf8PathBuf>,
    env: Vec<(String, String)>,
    id: String,
    images: Vec<String>,
    /// The engines that may have images of the session.
    engines: BTreeSet<&'static str>,
    /// Whether they may have one with its label.
    labelled: AtomicBool,
}

impl Session {
    /// An empty working folder, and a store that is not there yet. Lines are the shell's.
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
        let (engines, labelled) = (["docker"].into(), AtomicBool::new(false));
        Self { _dir: dir, root, tool: None, env: Vec::new(), id, images: Vec::new(), engines, labelled }
    }

    /// One for a tool's own tests: lines are the words that come after the tool's name, and the
    /// tool is this program.
    #[must_use]
    pub fn of(program: impl Into<Utf8PathBuf>) -> Self {
        let mut session = Self::new();
        session.tool = Some(program.into());
        session
    }

    /// Writes a file of the working folder.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Self {
        self.write(path, content);
        self
    }

    /// Makes `podman`, as `LARDER_PODMAN` names it, one with storage of its own, so that nothing is
    /// left behind. `PODMAN_STORAGE` names the folder of another one. It goes by the
    /// `registries.conf` beside that, where there is one.
    #[must_use]
    pub fn with_podman(self) -> Self {
        // Layers on top of one another: with vfs each would be a copy of all below it.
        let script = format!(
            "at=${{PODMAN_STORAGE:-{}}}; conf=$at/../registries.conf\n\
             [ -e \"$conf\" ] && export CONTAINERS_REGISTRIES_CONF=\"$conf\"\n\
             case $(stat -f -c %T \"$at\") in\n\
             overlayfs) set -- --storage-driver vfs \"$@\" ;;\n\
             *) set -- --storage-driver overlay --storage-opt overlay.skip_mount_home=true \"$@\" ;;\n\
             esac\n\
             exec podman --root \"$at/podman\" --runroot \"$at/run\" \"$@\"",
            self.root.join("tmp")
        );
        let podman = self.script("../bin/podman", &script);
        self.env("LARDER_PODMAN", podman.as_str())
    }

    /// Makes `../bin/docker` the real one, but for what this script does first.
    pub fn wrap_docker(&self, first: &str) {
        self.script("../bin/docker", &format!("{first}\nPATH=${{PATH#*:}} exec docker \"$@\""));
    }

    /// Sets a variable for all commands from now on.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file of the working folder, with the folders above it. Returns its path.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path(path);
        crate::write(&path, content);
        path
    }

    /// Writes a program of the working folder: this script for `sh`. Returns its path.
    pub fn script(&self, path: &str, script: &str) -> Utf8PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        crate::stand_in(&path, script);
        path
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
        self.labelled.store(true, Ordering::Relaxed);
        format!("FROM {base}\nLABEL {}={}\n", Self::LABEL, self.id)
    }

    /// The same for a packed image: a part of its `pack` table.
    #[must_use]
    pub fn labels(&self) -> String {
        self.labelled.store(true, Ordering::Relaxed);
        format!("labels = {{ {:?} = {:?} }}", Self::LABEL, self.id)
    }

    const LABEL: &str = "larder.test";

    /// Imports the base image into the engine; its name. Ask [`crate::have`] first whether there is
    /// one.
    #[must_use]
    pub fn base(&mut self) -> String {
        self.base_of("docker")
    }

    /// The same, for `docker` or `podman`.
    #[must_use]
    pub fn base_of(&mut self, engine: &'static str) -> String {
        self.import(engine, &parts::base().expect("a base"))
    }

    /// The same of the root with clients of packages.
    #[must_use]
    pub fn client_base_of(&mut self, engine: &'static str) -> String {
        self.import(engine, &parts::client_base().expect("a base"))
    }

    /// The same of the root with dnf.
    #[must_use]
    pub fn dnf_base_of(&mut self, engine: &'static str) -> String {
        self.import(engine, &parts::dnf_base().expect("a base"))
    }

    fn import(&mut self, engine: &'static str, tar: &Utf8Path) -> String {
        let name = format!("{}:latest", self.image_in(engine, "base"));
        self.run(&format!("{engine} import -c 'CMD [\"/bin/sh\"]' {tar} {name}")).ok();
        name
    }

    /// Runs the line in the working folder.
    #[must_use]
    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    /// Runs the line in the working folder, with these bytes on a pipe as its stdin.
    #[must_use]
    #[track_caller]
    pub fn feed(&self, line: &str, input: &[u8]) -> Ran {
        Ran::fed(&mut self.command(line), input)
    }

    /// Runs the line in the working folder, with a stdout whose reader has gone.
    #[must_use]
    pub fn run_unread(&self, line: &str) -> Ran {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = self.command(line);
        let unread = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        Ran::after(line, unread.spawn().expect("sh"))
    }

    /// Starts the line in the working folder, with pipes for its input and output.
    #[must_use]
    pub fn start(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh")
    }

    /// The line as a command, to be changed before it is run.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let Some(tool) = &self.tool else {
            let mut shell = self.program("sh");
            shell.args(["-c", line]);
            return shell;
        };
        let mut command = self.program(tool);
        command.args(line.split_whitespace());
        command
    }

    /// A program in the working folder, with nothing of the user's to see.
    #[must_use]
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let tools = self.tool.as_ref().and_then(|tool| tool.parent()).unwrap_or_else(|| tools::folder());
        let mut command = Command::new(program);
        isolate(&mut command, self.root.join("home"))
            .current_dir(self.root.join("work"))
            .env("PATH", format!("{tools}:{}", tools::path()))
            .env("LARDER_DIR", self.store())
            // How full this machine is decides no test, and nothing goes on behind one's back.
            .env("LARDER_MIN_FREE", "none")
            .env("LARDER_BACKGROUND", "no")
            .env("TMPDIR", self.root.join("tmp"));
        for (name, value) in [("GIT_AUTHOR_NAME", "t"), ("GIT_AUTHOR_EMAIL", "t@localhost")] {
            command.env(name, value).env(name.replace("AUTHOR", "COMMITTER"), value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What `docker image inspect` says is the image's ID, if the engine has it.
    #[must_use]
    pub fn image_id(&self, name: &str) -> Option<String> {
        let ran = self.run(&format!("docker image inspect --format '{{{{.Id}}}}' {name}"));
        (ran.code() == 0).then(|| ran.stdout().trim().to_owned())
    }

    /// What is in a file of an engine's image. No program of the image runs.
    #[must_use]
    pub fn file_of(&self, engine: &str, image: &str, file: &str) -> String {
        let line = format!(
            "c=$({engine} create {image} none) && {engine} cp $c:{file} - | tar -xO; {engine} rm $c >/dev/null"
        );
        self.run(&line).ok().stdout()
    }

    /// Where all blobs of the store's images are, the largest first.
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
}

impl Drop for Session {
    fn drop(&mut self) {
        self.unmount();
        let removal = self.removal();
        let mut open = Open::lock();
        open.removals.extend(removal);
        open.sessions -= 1;
        if open.sessions == 0 {
            for mut removal in open.removals.drain(..) {
                let _ = removal.output();
            }
        }
    }
}

impl Session {
    /// Takes away what a killed podman has left mounted: its folder could not be removed.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = |line: &str| {
            let path = Utf8PathBuf::from(line.split(' ').nth(1)?);
            path.starts_with(&self.root).then_some(path)
        };
        for path in mounts.lines().rev().filter_map(below) {
            let _ = Command::new("umount").arg("-l").arg(path).stdin(Stdio::null()).status();
        }
    }

    /// What removes the images that it may have made.
    fn removal(&self) -> Option<Command> {
        if self.images.is_empty() && !self.labelled.load(Ordering::Relaxed) {
            return None;
        }
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
        let mut removal = self.program("sh");
        // The session's own folders go now.
        removal.args(["-c", &script]).stdin(Stdio::null()).current_dir("/");
        removal.env_remove("HOME").env_remove("TMPDIR");
        Some(removal)
    }
}
