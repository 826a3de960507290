//! A random work tree on disk, with its repository.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::patterns::{NAMES, ignore_file};
use crate::random::Random;

/// What a tree may hold.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// A repository around it, with an index.
    pub(crate) repository: bool,
    /// Embedded repositories and submodules.
    pub(crate) nested: bool,
    /// Tracked files.
    pub(crate) tracked: bool,
}

/// A tracked path.
pub(crate) struct Tracked {
    pub(crate) path: Vec<u8>,
    pub(crate) mode: u32,
    /// The bits that only version 3 has.
    pub(crate) extended: u16,
}

/// Writes a tree into an empty folder.
pub(crate) fn write(root: &Path, random: &mut Random, shape: Shape) {
    let mut maker = Maker { root: root.to_owned(), random, shape, tracked: Vec::new(), paths: Vec::new() };
    maker.fill(b"", 0);
    let Maker { mut tracked, .. } = maker;
    if shape.repository {
        repository(&root.join(".git"));
        if random.percent(30) {
            fs::create_dir(root.join(".git/info")).expect("a new folder");
            write_file(&root.join(".git/info/exclude"), &ignore_file(random));
        }
        if shape.tracked {
            fs::write(root.join(".git/index"), index(&mut tracked)).expect("a new file");
        }
    }
}

/// An empty repository, as git takes it for one.
pub(crate) fn repository(git_dir: &Path) {
    for folder in ["objects", "refs"] {
        fs::create_dir_all(git_dir.join(folder)).expect("a new folder");
    }
    write_file(&git_dir.join("HEAD"), b"ref: refs/heads/main\n");
}

/// An index file of version 3 (2 where no entry needs more). git does not look at its checksum.
pub(crate) fn index(tracked: &mut Vec<Tracked>) -> Vec<u8> {
    tracked.sort_by(|a, b| a.path.cmp(&b.path));
    tracked.dedup_by(|a, b| a.path == b.path);
    let version = if tracked.iter().any(|entry| entry.extended != 0) { 3_u32 } else { 2 };
    let count = u32::try_from(tracked.len()).expect("few entries");
    let mut bytes = [&b"DIRC"[..], &version.to_be_bytes(), &count.to_be_bytes()].concat();
    for Tracked { path, mode, extended } in tracked {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 24]);
        bytes.extend_from_slice(&mode.to_be_bytes());
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&[0x55; 20]);
        let len = u16::try_from(path.len()).expect("short names");
        let flag = if *extended == 0 { 0 } else { 0x4000 };
        bytes.extend_from_slice(&(len | flag).to_be_bytes());
        if *extended != 0 {
            bytes.extend_from_slice(&extended.to_be_bytes());
        }
        bytes.extend_from_slice(path);
        bytes.resize(bytes.len() + 8 - (bytes.len() - start) % 8, 0);
    }
    bytes.extend_from_slice(&[0; 20]);
    bytes
}

struct Maker<'r> {
    root: PathBuf,
    random: &'r mut Random,
    shape: Shape,
    tracked: Vec<Tracked>,
    paths: Vec<Vec<u8>>,
}

impl Maker<'_> {
    fn path(&self, relative: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(relative))
    }

    fn fill(&mut self, folder: &[u8], depth: usize) {
        if self.random.percent(if depth == 0 { 90 } else { 35 }) {
            self.ignore_file(folder);
        }
        for _ in 0..=self.random.below(5) {
            let path = join(folder, self.random.pick(NAMES));
            if self.path(&path).symlink_metadata().is_err() {
                self.thing(&path, depth);
            }
        }
    }

    fn thing(&mut self, path: &[u8], depth: usize) {
        match self.random.below(100) {
            0..=44 => write_file(&self.path(path), b""),
            45..=50 => self.link(path),
            51 => rustix::fs::mkfifoat(rustix::fs::CWD, self.path(path), 0o644.into()).expect("a new FIFO"),
            52..=57 if self.shape.nested => return self.nested(path),
            58..=60 => return self.gone(path, depth),
            _ if depth < 4 => return self.folder(path, depth),
            _ => write_file(&self.path(path), b""),
        }
        self.maybe_track(path);
        self.paths.push(path.to_vec());
    }

    fn folder(&mut self, path: &[u8], depth: usize) {
        fs::create_dir(self.path(path)).expect("a new folder");
        if self.random.percent(90) {
            self.fill(path, depth + 1);
        }
    }

    /// Tracked, but not on disk; or a folder in its place.
    fn gone(&mut self, path: &[u8], depth: usize) {
        self.track(path, 0o100_644);
        if self.random.percent(30) {
            self.folder(path, depth + 1);
        }
    }

    fn link(&mut self, path: &[u8]) {
        let target = if self.paths.is_empty() || self.random.percent(30) {
            Path::new(".").to_owned()
        } else {
            let at = self.random.below(self.paths.len());
            self.path(&self.paths[at])
        };
        symlink(target, self.path(path)).expect("a new link");
    }

    /// An embedded repository, or a submodule, checked out or not.
    fn nested(&mut self, path: &[u8]) {
        let root = self.path(path);
        fs::create_dir(&root).expect("a new folder");
        let submodule = self.random.percent(50);
        if submodule {
            self.track(path, 0o160_000);
        }
        let repository = self.random.percent(75);
        if repository || self.random.percent(30) {
            let nested = self.shape.nested && self.random.percent(30);
            write(&root, self.random, Shape { repository, nested, ..self.shape });
        }
        // Tracked by the outer one all the same: then it is not a repository of its own. git never
        // tracks both a submodule and something below it.
        if self.random.percent(10) && !submodule {
            self.track(&join(path, b"foo"), 0o100_644);
        }
    }

    fn maybe_track(&mut self, path: &[u8]) {
        if self.random.percent(20) {
            self.track(path, 0o100_644);
        }
    }

    fn track(&mut self, path: &[u8], mode: u32) {
        // Intent to add; not skip-worktree, for which git may read an ignore file from its objects.
        let extended = if self.random.percent(5) { 0x2000 } else { 0 };
        self.tracked.push(Tracked { path: path.to_vec(), mode, extended });
    }

    fn ignore_file(&mut self, folder: &[u8]) {
        let path = self.path(&join(folder, b".gitignore"));
        match self.random.below(40) {
            0 => fs::create_dir(path).expect("a new folder"),
            1 => {
                let target = join(folder, b"ignore-target");
                write_file(&self.path(&target), &ignore_file(self.random));
                symlink("ignore-target", path).expect("a new link");
            }
            _ => write_file(&path, &ignore_file(self.random)),
        }
        self.maybe_track(&join(folder, b".gitignore"));
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn write_file(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a new file");
}
