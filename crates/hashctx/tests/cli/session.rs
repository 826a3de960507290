//! A session with hashctx, whose paths may be any bytes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_tests::Ran;

/// A context, with a store of its own beside it.
pub(crate) struct Session(larder_tests::Session);

impl Session {
    pub(crate) fn new() -> Self {
        Self(larder_tests::Session::of(env!("CARGO_BIN_EXE_hashctx")).env("FROM_ENV", "hunter3"))
    }

    pub(crate) fn root(&self) -> PathBuf {
        // Without a slash at its end.
        self.0.aside("work").into()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.store().into()
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
        larder_tests::write(self.path(name), text);
    }

    pub(crate) fn chmod(&self, name: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// hashctx with these arguments, in the context.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = self.0.command("");
        command.args(args);
        command
    }

    /// Any program, in the context, that has to do well; its output.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        Ran::of(self.0.program("bash").args(["-ec", script])).ok().stdout()
    }

    #[track_caller]
    pub(crate) fn output<A: AsRef<OsStr>>(&self, args: &[A], code: i32) -> String {
        Ran::of(&mut self.command(args)).ends(code).stdout()
    }

    /// What hashctx prints where all goes well.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        self.output(args, 0)
    }

    /// What hashctx says on stderr when it exits 2, having printed nothing.
    #[track_caller]
    pub(crate) fn fails<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        let ran = Ran::of(&mut self.command(args)).ends(2);
        assert!(ran.bytes().is_empty(), "no part of a key: {ran}");
        assert!(!ran.stderr().contains("panicked"), "{ran}");
        ran.stderr()
    }
}
