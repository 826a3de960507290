//! Where the bench works, and where the programs of other caches are.

use std::error::Error as _;
use std::fs::{self, File};
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use larder::process::runner::{RunError, Runner};
use larder::process::tools::Tools;

use super::super::basics::sh;

/// What installs the other caches.
const INSTALLER: &str = "xtask/bench-peers";
/// Where that puts programs, below its folder.
const FOLDERS: [&str; 2] = ["python/bin", "node/node_modules/.bin"];

/// What all races share.
#[derive(Clone, Debug)]
pub(super) struct Ground<'a> {
    pub(super) tools: &'a Tools,
    pub(super) runner: &'a Runner,
    /// Where files are made.
    pub(super) folder: Utf8PathBuf,
    /// Where the programs of other caches are, beside PATH.
    pub(super) peers: &'a Utf8Path,
}

impl Ground<'_> {
    /// The same in a folder below.
    pub(super) fn below(&self, name: &str) -> io::Result<Self> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, ..self.clone() })
    }

    /// The time as HTTP writes it, for upstreams whose clients work out an age.
    ///
    /// # Errors
    /// A signal that ends the bench.
    pub(super) fn date(&self) -> Result<String, RunError> {
        let date = sh("LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT'".to_owned());
        Ok(String::from_utf8_lossy(&self.runner.ask(&date)?.1).trim().to_owned())
    }

    /// Writes a file, with the folders above it; its path.
    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> io::Result<Utf8PathBuf> {
        write(&self.folder.join(path), content).map(|()| self.folder.join(path))
    }

    /// The path of a peer's program, or why there is none.
    ///
    /// # Errors
    /// A signal that ends the bench.
    pub(super) fn find(&self, program: &str) -> Result<Result<String, String>, RunError> {
        let installed = FOLDERS.iter().map(|folder| self.peers.join(folder).join(program));
        if let Some(path) = installed.into_iter().find(|path| path.is_file()) {
            return Ok(Ok(path.into_string()));
        }
        let (status, path) = self.runner.ask(&sh(format!("PATH=$PATH:/usr/sbin; command -v {program}")))?;
        let path = String::from_utf8_lossy(&path).trim().to_owned();
        Ok(if status.success() { Ok(path) } else { Err(absent(program, self.peers)) })
    }

    /// The same of several: the first that is missing is the reason.
    ///
    /// # Errors
    /// A signal that ends the bench.
    pub(super) fn find_all<const N: usize>(
        &self,
        programs: [&str; N],
    ) -> Result<Result<[String; N], String>, RunError> {
        let mut paths = [const { String::new() }; N];
        for (path, program) in paths.iter_mut().zip(programs) {
            match self.find(program)? {
                Ok(found) => *path = found,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(paths))
    }
}

fn absent(program: &str, peers: &Utf8Path) -> String {
    format!("`{program}` is not on PATH or in {peers}; `{INSTALLER}` installs it")
}

/// An error with what caused it, in one line; a signal stays an error.
///
/// # Errors
/// A signal that ends the bench.
pub(super) fn reason(error: RunError) -> Result<String, RunError> {
    if error.is_interruption() {
        return Err(error);
    }
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Ok(format!("{error}{cause}"))
}

/// Writes a file, with the folders above it.
pub(super) fn write(path: &Utf8Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(path)?.write_all(content.as_ref())
}
