//! A scratch folder, and hashctx run in it as at the shell.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A context, with a store of its own beside it.
pub(crate) struct Session {
    dir: tempfile::TempDir,
}

impl Session {
    pub(crate) fn new() -> Self {
        let session = Self { dir: tempfile::tempdir().expect("a folder") };
        fs::create_dir(session.root()).expect("a context");
        session
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("ctx")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn file(self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Self {
        self.write(name, text);
        self
    }

    pub(crate) fn executable(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self.chmod(name, 0o755);
        self
    }

    pub(crate) fn folder(self, name: impl AsRef<Path>) -> Self {
        fs::create_dir_all(self.path(name)).expect("a folder");
        self
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        symlink(target, self.path(name)).expect("a link");
        self
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn chmod(&self, name: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// hashctx with these arguments, in the context.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hashctx"));
        larder_tests::isolate(&mut command, self.dir.path()).env("LARDER_DIR", self.store());
        command.args(args).current_dir(self.root()).env("FROM_ENV", "hunter3");
        command
    }

    /// Any program, in the context, that has to do well; its output.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let folder = Path::new(env!("CARGO_BIN_EXE_hashctx")).parent().expect("a folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("PATH"));
        let mut command = Command::new("bash");
        larder_tests::isolate(&mut command, self.dir.path()).env("LARDER_DIR", self.store());
        command.args(["-ec", script]).current_dir(self.root()).env("PATH", path);
        text(&command.output().expect("bash"), 0)
    }

    #[track_caller]
    pub(crate) fn output<A: AsRef<OsStr>>(&self, args: &[A], code: i32) -> String {
        text(&self.command(args).output().expect("hashctx"), code)
    }

    /// What hashctx prints where all goes well.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        self.output(args, 0)
    }

    /// What hashctx says on stderr when it exits 2, having printed nothing.
    #[track_caller]
    pub(crate) fn fails<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        let output = self.command(args).output().expect("hashctx");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(output.stdout.is_empty(), "no part of a key: {}", String::from_utf8_lossy(&output.stdout));
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }
}

#[track_caller]
fn text(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    String::from_utf8(output.stdout.clone()).expect("text")
}
