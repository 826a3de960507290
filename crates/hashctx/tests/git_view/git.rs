//! The installed git, asked without any setting of this machine.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_tests::{Part, have};

/// Every git on PATH, each once.
pub(crate) fn all() -> Vec<PathBuf> {
    let found = env::split_paths(larder_tests::tools::path())
        .filter_map(|folder| folder.join("git").canonicalize().ok());
    let mut gits: Vec<PathBuf> = Vec::new();
    for git in found {
        if !gits.contains(&git) {
            gits.push(git);
        }
    }
    let _ = have(&[Part::Git]);
    gits
}

/// A git command in a folder, blind to the settings of user and system.
pub(crate) fn command(git: &Path, folder: &Path) -> Command {
    let mut command = Command::new(git);
    larder_tests::isolate(&mut command, "/nonexistent").current_dir(folder);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    for (key, value) in
        [("user.name", "t"), ("user.email", "t@example.org"), ("protocol.file.allow", "always")]
    {
        command.args(["-c", &format!("{key}={value}")]);
    }
    command.args(["-c", "core.excludesFile=/dev/null", "-c", "init.defaultBranch=main"]);
    command
}

/// Runs a git command that must succeed; its output.
#[track_caller]
pub(crate) fn run(git: &Path, folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = command(git, folder).args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The files that git sees below the top of a work tree, nested repositories entered. `blank` is an
/// empty repository: what is in none is listed by its means.
pub(crate) fn files(git: &Path, blank: &Path, top: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for path in listed(git, blank, top) {
        let (gitlink, path) = path;
        let name = path.strip_suffix(b"/").unwrap_or(&path);
        match on_disk(top, name) {
            // A submodule, or an embedded repository; or a folder where a file is tracked.
            Some(meta) if meta.is_dir() => {
                let folder = top.join(OsStr::from_bytes(name));
                if path.ends_with(b"/") || gitlink {
                    let below = files(git, blank, &folder);
                    found.extend(below.into_iter().map(|file| [name, b"/", &file].concat()));
                }
            }
            Some(_) => {
                found.insert(path);
            }
            None => {}
        }
    }
    found
}

/// The lines of `check-ignore --verbose --non-matching` for some paths: file, line, pattern.
pub(crate) fn check(git: &Path, top: &Path, paths: &[Vec<u8>]) -> Vec<[Vec<u8>; 3]> {
    let mut command = command(git, top);
    command.args(["check-ignore", "-v", "-n", "-z", "--no-index", "--stdin"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("git runs");
    let input: Vec<u8> = paths.iter().flat_map(|path| [path, &b"\0"[..]].concat()).collect();
    child.stdin.take().expect("a pipe").write_all(&input).expect("git reads");
    let output = child.wait_with_output().expect("git ends").stdout;
    let fields: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
    let lines: Vec<_> =
        fields.chunks_exact(4).map(|line| [line[0], line[1], line[2]].map(<[u8]>::to_vec)).collect();
    assert_eq!(lines.len(), paths.len(), "git answered for every path in {}", top.display());
    lines
}

/// What git lists, and whether each is a submodule. A tracked path is `TAG MODE OBJECT STAGE TAB
/// PATH`, another `? PATH`.
fn listed(git: &Path, blank: &Path, top: &Path) -> Vec<(bool, Vec<u8>)> {
    let output = if top.join(".git/HEAD").is_file() || top.join(".git").is_file() {
        run(git, top, &["ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard"])
    } else {
        let blank = format!("--git-dir={}", blank.display());
        let rules = "--exclude-per-directory=.gitignore";
        run(git, top, &[&blank, "--work-tree=.", "ls-files", "-z", "-t", "--others", rules])
    };
    let lines = output.split(|&byte| byte == 0).filter(|line| !line.is_empty());
    lines.map(|line| (line[2..].starts_with(b"160000 ") && line[0] != b'?', path_of(line))).collect()
}

fn path_of(line: &[u8]) -> Vec<u8> {
    let tab = line.iter().position(|&byte| byte == b'\t').filter(|_| line[0] != b'?');
    line[tab.map_or(2, |tab| tab + 1)..].to_vec()
}

/// What stands at a path, unless a link is on the way.
fn on_disk(top: &Path, name: &[u8]) -> Option<std::fs::Metadata> {
    let path = top.join(OsStr::from_bytes(name));
    let folders = path.parent()?.ancestors().take_while(|folder| *folder != top);
    let real = folders.into_iter().all(|folder| folder.symlink_metadata().is_ok_and(|meta| meta.is_dir()));
    path.symlink_metadata().ok().filter(|_| real)
}
