//! What can go wrong with a store, each with its path and a remedy.

use std::fmt;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use thiserror::Error;

use crate::{Digest, Key};

/// The result of a store's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {doing} `{path}`")]
    #[diagnostic(code(storekit::io), help("{}", io_help(.source, .path)))]
    Io {
        /// What was tried, as a verb: `read`, `write`.
        doing: &'static str,
        path: Utf8PathBuf,
        source: io::Error,
    },
    /// The store does not exist.
    #[error("`{path}` is not a larder store")]
    #[diagnostic(
        code(storekit::not_a_store),
        help("a store is made by the first save into it: see whether the right folder is named")
    )]
    NotAStore { path: Utf8PathBuf },
    /// A folder with something else in it was named as a store.
    #[error("`{path}` holds something that is not a larder store")]
    #[diagnostic(
        code(storekit::foreign_folder),
        help("name a new or an empty folder with `--store` or LARDER_DIR")
    )]
    ForeignFolder { path: Utf8PathBuf },
    /// A part of the store lies where nothing of it can be moved into the trash.
    #[error("`{path}` lies on another file system than the store's trash, `{trash}`")]
    #[diagnostic(
        code(storekit::other_file_system),
        help(
            "nothing can be moved between the two: make `{trash}` a link to a folder beside the real `{path}`, keep the whole store there, or delete at once with `--trash-grace 0s`"
        )
    )]
    OtherFileSystem {
        /// What was to be removed, or the folder of it.
        path: Utf8PathBuf,
        trash: Utf8PathBuf,
    },
    /// A file of a later format version.
    #[error("`{path}` has format version {found}, and this program reads versions up to {known}")]
    #[diagnostic(code(storekit::newer_format), help("update the larder tools, or use another store"))]
    Newer {
        path: Utf8PathBuf,
        found: u64,
        /// The newest version that is known here.
        known: u64,
    },
    /// A lock was not to be had in time.
    #[error("`{path}` stayed locked by another process for {seconds} s")]
    #[diagnostic(
        code(storekit::locked),
        help("`fuser -v {path}` shows which process holds it; then try again")
    )]
    Locked {
        path: Utf8PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// Stored bytes that do not match their digest.
    #[error("the blob `{digest}` is damaged: its bytes hash to `{found}`")]
    #[diagnostic(
        code(storekit::blob::corrupt),
        help("it was moved aside, so that saving the image anew mends the store")
    )]
    Damaged {
        /// The digest that names the blob.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// A blob of a store in a repository whose content Git LFS has not fetched yet. That is no
    /// damage.
    #[error("the blob `{digest}` was not fetched: Git LFS's pointer stands in its place")]
    #[diagnostic(code(storekit::lfs::not_fetched), help("`{command}` in the repository fetches it"))]
    NotFetched {
        /// The digest that names the blob.
        digest: Digest,
        command: String,
    },
    /// A blob that an entry needs and that is not there.
    #[error("the blob `{digest}` is missing from `{path}`")]
    #[diagnostic(
        code(storekit::missing::corrupt),
        help("save the image anew to mend the store (with `--force` where another entry says it is whole)")
    )]
    Missing {
        /// The digest that names the blob.
        digest: Digest,
        /// The folder where it should be.
        path: Utf8PathBuf,
    },
    /// A stored file that cannot be understood.
    #[error("`{path}` cannot be understood: {reason}")]
    #[diagnostic(code(storekit::entry::corrupt), help("remove the key, and save the image anew"))]
    BadFile { path: Utf8PathBuf, reason: String },
    /// An entry of a package download that cannot be understood.
    #[error("`{path}` cannot be understood: {reason}")]
    #[diagnostic(
        code(storekit::package::corrupt),
        help("delete the file: what it named is fetched again when it is asked for")
    )]
    BadPackage { path: Utf8PathBuf, reason: String },
    /// A stored document that cannot be understood.
    #[error("the document `{digest}` cannot be understood: {reason}")]
    #[diagnostic(code(storekit::document::corrupt), help("remove the image, and save it anew"))]
    BadDocument {
        /// The digest that names the document.
        digest: Digest,
        reason: String,
    },
    /// New bytes that do not have the digest that was announced for them.
    #[error("the bytes hash to `{found}`, not to `{announced}` as announced")]
    #[diagnostic(code(storekit::mismatch), help("nothing was stored; fetch or make them again"))]
    Mismatch { announced: Digest, found: Digest },
    /// The beginning of several keys, where one is to be named.
    #[error("`{text}` is the beginning of {count} keys{}", listed(*.count, .candidates))]
    #[diagnostic(code(storekit::ambiguous), help("write more of the key, or a name of the image"))]
    Ambiguous { text: String, count: usize, candidates: Vec<String> },
    /// A key that is not stored.
    #[error("nothing is stored under `{key}`")]
    #[diagnostic(code(storekit::no_such_key), help("see which keys there are"))]
    NoSuchKey { key: Key },
}

impl Error {
    /// Wraps an I/O error with its path. A storekit error that travelled inside (from a verifying
    /// reader) comes out as it went in.
    pub fn io(doing: &'static str, path: impl Into<Utf8PathBuf>, source: io::Error) -> Self {
        match source.downcast::<Error>() {
            Ok(inner) => inner,
            Err(source) => Self::Io { doing, path: path.into(), source },
        }
    }

    /// Whether this one file cannot be read, whoever tries again: it is another user's, no regular
    /// file, in a circle of links, or the disk does not give it back.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, InvalidInput, IsADirectory, PermissionDenied};
        let Self::Io { source, .. } = self else { return false };
        let of_disk = [rustix::io::Errno::IO, rustix::io::Errno::LOOP].map(rustix::io::Errno::raw_os_error);
        matches!(source.kind(), FileTooLarge | InvalidInput | IsADirectory | PermissionDenied)
            || source.raw_os_error().is_some_and(|code| of_disk.contains(&code))
    }

    /// Whether stored bytes are damaged or missing.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.code().is_some_and(|code| code.to_string().ends_with("::corrupt"))
    }
}

impl From<Error> for io::Error {
    /// Carries the error through `Read` and `Write`; `Error::io` takes it out again.
    fn from(error: Error) -> Self {
        match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Adds the path to I/O errors.
pub trait At<T> {
    /// Names what was tried and on what.
    ///
    /// # Errors
    /// The error itself, with the path.
    fn at(self, doing: &'static str, path: &Utf8Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Utf8Path) -> Result<T> {
        self.map_err(|source| Error::io(doing, path, source))
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, doing: &'static str, path: &Utf8Path) -> Result<T> {
        self.map_err(|source| Error::io(doing, path, source.into()))
    }
}

/// Whether the process has too many open files. The word of the system may be wrapped.
fn is_out_of_files(error: &io::Error) -> bool {
    let wrapped = || std::error::Error::source(error)?.downcast_ref::<io::Error>();
    let number = error.raw_os_error().or_else(|| wrapped()?.raw_os_error());
    number == Some(rustix::io::Errno::MFILE.raw_os_error())
}

/// So many things, of which some are told, a line each.
fn listed(count: usize, told: &[String]) -> String {
    let more = count.saturating_sub(told.len());
    let more = (more > 0).then(|| format!("and {more} more"));
    told.iter().chain(&more).fold(String::new(), |lines, line| lines + "\n  " + line)
}

fn io_help(source: &io::Error, path: &Utf8Path) -> impl fmt::Display {
    match source.kind() {
        _ if is_out_of_files(source) => {
            "it has as many files open as it may, one for each blob that it needs: `ulimit -n 65536` allows more, or `--ulimit nofile=65536` for a container"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "the owner or the mode forbids it: see `ls -ld {path}`; `sudo chown -R $(id -u):$(id -g)` on the store takes it over"
            )
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is mounted read-only: name another store with `--store` or LARDER_DIR".to_owned()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: make room on it, or in the store".to_owned()
        }
        io::ErrorKind::NotFound => format!("check that `{path}` exists"),
        _ => format!("see whether `{path}` is what it should be"),
    }
}
