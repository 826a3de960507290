//! A small file system of its own, to be filled up or made read-only.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

/// A tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct Mount(Utf8PathBuf);

impl Mount {
    /// Mounts a tmpfs of `size` (such as `4m`) on the folder, which is made.
    ///
    /// # Panics
    /// Without the right to: ask [`crate::have`] first.
    #[must_use]
    pub fn new(folder: &Utf8Path, size: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none", folder.as_str()]);
        Self(folder.to_owned())
    }

    /// From now on nothing can be written there, not even by root.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn make_read_only(&self) {
        mount(&["-o", "remount,ro", self.0.as_str()]);
    }

    /// It can be written to again.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn make_writable(&self) {
        mount(&["-o", "remount,rw", self.0.as_str()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that still looks at it must not keep the test's folder from being
        // removed.
        let _ = Command::new("umount").args(["-l", self.0.as_str()]).status();
    }
}

fn mount(args: &[&str]) {
    let status = Command::new("mount").args(args).status().expect("mount");
    assert!(status.success(), "mount {args:?}");
}
