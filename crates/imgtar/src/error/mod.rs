//! What can go wrong with images, each with a remedy.
//!
//! Deliberately absent: what a client of `imgtar serve` is told (`serve::fault`), exit codes.

pub(crate) mod registry;
pub(crate) mod tier;

use std::io;

use camino::Utf8PathBuf;
use miette::Diagnostic;
use storekit::files::lfs::quoted;
use storekit::{Digest, Key};
use thiserror::Error;
use toolkit::words::count;

/// The result of what is done with images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Error {
    /// The store's own errors.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] storekit::Error),
    /// A registry's errors.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] registry::Error),
    /// Those of a place that images stand in.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tier(#[from] tier::Error),
    /// Text that is not a reference to an image.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Reference(#[from] storekit::NotAReference),
    /// The archive cannot be read.
    #[error("cannot read the archive `{name}`")]
    #[diagnostic(code(imgtar::read), help("see whether it is whole, and a tar (plain, gzip or zstd)"))]
    Read {
        /// Its file name, or `-`.
        name: String,
        source: io::Error,
    },
    /// An output cannot be written.
    #[error("cannot write `{name}`")]
    #[diagnostic(code(imgtar::write), help("see whether there is room, and whether you may write there"))]
    Write {
        /// The file, or `-`.
        name: String,
        source: io::Error,
    },
    /// A file of the user's cannot be read.
    #[error("cannot read `{path}`")]
    #[diagnostic(code(imgtar::input), help("check that it exists and that you may read it"))]
    Input { path: Utf8PathBuf, source: io::Error },
    /// An archive entry that no image tool writes.
    #[error("the archive's entry `{entry}` is refused: {reason}")]
    #[diagnostic(
        code(imgtar::hostile),
        help("nothing was saved; make the archive anew with `docker save` or a like tool")
    )]
    Hostile {
        /// The entry's name, cleaned.
        entry: String,
        reason: String,
    },
    /// The archive ends too early, or goes on where it should end.
    #[error("the archive is damaged: {reason}")]
    #[diagnostic(code(imgtar::damaged_archive), help("nothing was saved; fetch or make it anew"))]
    Damaged { reason: String },
    /// The archive is not an image archive, or lacks parts.
    #[error("the archive holds no complete image: {reason}")]
    #[diagnostic(
        code(imgtar::no_image),
        help(
            "it must come from `docker save`, `podman save`, `skopeo copy` or `imgtar export`, and be whole; a raw disk is stored with `--type raw`"
        )
    )]
    NoImage { reason: String },
    /// A file in a compression that is not read here.
    #[error("`{name}` is compressed with {form}, which is not read")]
    #[diagnostic(code(imgtar::compressed), help("nothing was saved; decompress it on the way: `{remedy}`"))]
    Compressed {
        /// The file, or `-`.
        name: String,
        form: &'static str,
        /// The command that does it.
        remedy: String,
    },
    /// A disk in a format that is not stored.
    #[error("`{name}` is a disk in the format {format}; only raw and qcow2 are stored")]
    #[diagnostic(
        code(imgtar::foreign_disk),
        help("nothing was saved; convert it: `{remedy}`; `--type raw` stores any bytes as they are")
    )]
    ForeignDisk {
        /// The file, or `-`.
        name: String,
        format: &'static str,
        /// The command that does it.
        remedy: String,
    },
    /// Bytes in an archive that are not what their name or a document announces.
    #[error("{what} should hash to `{announced}` and hashes to `{found}`")]
    #[diagnostic(code(imgtar::mismatch), help("nothing was saved; fetch or make the archive anew"))]
    Mismatch {
        what: String,
        announced: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// A document that cannot be understood.
    #[error("{what} cannot be understood: {reason}")]
    #[diagnostic(
        code(imgtar::bad_document),
        help("it should follow the OCI image-spec, or Docker's formats")
    )]
    BadDocument { what: String, reason: String },
    /// A record of what an image's builds fetched that cannot be understood.
    #[error("the record of what `{key}` fetched is damaged: {reason}")]
    #[diagnostic(
        code(imgtar::record::corrupt),
        help("a build from scratch (`larder bake --rebuild`) begins it anew; the image is not concerned")
    )]
    BadRecord { key: Key, reason: String },
    /// One of a later version of the format.
    #[error("the record of what `{key}` fetched cannot be read: {reason}")]
    #[diagnostic(code(imgtar::newer_record), help("a newer imgtar reads it"))]
    NewerRecord { key: Key, reason: String },
    /// A stored image that contradicts itself.
    #[error("the stored image `{key}` is damaged: {reason}")]
    #[diagnostic(code(imgtar::stored::corrupt), help("save it anew, or remove it with `imgtar rm {key}`"))]
    Corrupt { key: Key, reason: String },
    /// A key that must exist does not.
    #[error("nothing is stored under `{key}`")]
    #[diagnostic(code(imgtar::no_such_key), help("`imgtar ls` lists the keys"))]
    NoSuchKey { key: String },
    /// Text that is not an image name.
    #[error("`{text}` is not an image name: {reason}")]
    #[diagnostic(code(imgtar::bad_name), help("write NAME or NAME:TAG, such as `app:latest`"))]
    BadName { text: String, reason: &'static str },
    /// Several images or artifacts where one is needed.
    #[error("`{key}` holds {what}, which keep their own names")]
    #[diagnostic(
        code(imgtar::several_images),
        help("save them under keys of their own, or choose one with `--platform`, where the command has it")
    )]
    Several {
        key: Key,
        /// How many of which: `2 images`.
        what: String,
    },
    /// The key has no image for the platform.
    #[error("`{key}` holds no image for {wanted}; it has {present}")]
    #[diagnostic(code(imgtar::no_platform), help("name one of these with `--platform`"))]
    NoPlatform {
        key: Key,
        /// What was asked for.
        wanted: String,
        present: String,
    },
    /// An image of an index that nobody could choose.
    #[error("the image under `{key}` does not say for which platform it is")]
    #[diagnostic(
        code(imgtar::no_platform_of_its_own),
        help("build it for one (`docker build --platform`), or pack it with `--platform`")
    )]
    NoPlatformOfItsOwn { key: Key },
    /// Two images of an index between which nobody could choose.
    #[error("`{key}` is one more image for {platform}")]
    #[diagnostic(
        code(imgtar::two_for_platform),
        help("an index has one image for each platform; `KEY=PLATFORM` takes one out of several")
    )]
    TwoForPlatform { key: Key, platform: String },
    /// An image that is not for the platform of its key.
    #[error("the image is for {present}, and the key `{key}` is for {wanted}")]
    #[diagnostic(
        code(imgtar::other_platform),
        help(
            "nothing was saved under the key; build for its platform (`docker build --platform {wanted} …`), or hash for the platform that is built (`hashctx --platform`)"
        )
    )]
    OtherPlatform {
        key: Key,
        /// The platform in the manifest of its inputs.
        wanted: String,
        /// The platforms of the image.
        present: String,
    },
    /// Something that cannot be packed, or has no place in an image.
    #[error("`{path}` cannot be packed: {reason}")]
    #[diagnostic(
        code(imgtar::pack),
        help("name a folder, or a tar that is whole: `tar -c … | imgtar pack KEY -`; nothing was saved")
    )]
    Unpackable { path: Utf8PathBuf, reason: String },
    /// An entry of a stored layer that no image tool writes.
    #[error("the layer's entry `{entry}` is refused: {reason}")]
    #[diagnostic(code(imgtar::layer), help("nothing was extracted; build the image anew"))]
    Member {
        /// The entry's name, cleaned.
        entry: String,
        reason: String,
    },
    /// Two things that would get one name, or something that stands where another kind of thing is
    /// to go.
    #[error("`{path}` cannot be extracted: {reason}")]
    #[diagnostic(code(imgtar::clash), help("nothing was extracted; extract into an empty folder"))]
    Clash {
        /// The name, below the folder.
        path: String,
        /// What is in the way.
        reason: &'static str,
    },
    /// What is stored is not a container image.
    #[error("`{key}` holds no container image")]
    #[diagnostic(code(imgtar::no_container_image), help("`imgtar info {key}` tells what it holds"))]
    NotAnImage { key: Key },
    /// A file that is not the disk image that it is said to be.
    #[error("the file is not a qcow2 disk image: {reason}")]
    #[diagnostic(
        code(imgtar::bad_disk),
        help("nothing was saved; `--type raw` stores any bytes as they are")
    )]
    BadDisk { reason: &'static str },
    /// A disk that a later version has stored.
    #[error("`{key}` holds a disk of the kind `{kind}`, which this program does not know")]
    #[diagnostic(code(imgtar::newer_disk), help("update imgtar"))]
    NewerDisk { key: Key, kind: String },
    /// A store that is to be kept in a repository is not in one.
    #[error("`{path}` is not in a git repository")]
    #[diagnostic(code(imgtar::no_repository), help("name a folder in one, or make one with `git init`"))]
    NoRepository { path: Utf8PathBuf },
    /// A store that is to be kept in a repository is ignored by it.
    #[error("git ignores `{path}`, because of `{rule}`")]
    #[diagnostic(code(imgtar::ignored), help("take that line out, or name another folder"))]
    Ignored {
        path: Utf8PathBuf,
        /// The file, the line, and the pattern.
        rule: String,
    },
    /// A flag's value that cannot be used.
    #[error("{message}")]
    #[diagnostic(code(imgtar::usage), help("{help}"))]
    Usage { message: String, help: &'static str },
    /// An address that cannot be had.
    #[error("cannot listen on `{address}`")]
    #[diagnostic(
        code(imgtar::listen),
        help("see what holds it (`ss -ltnp`), or let any free port be taken: `--listen 127.0.0.1:0`")
    )]
    Listen { address: String, source: io::Error },
    /// The engine's program is not there.
    #[error("`{program}` cannot be started")]
    #[diagnostic(code(imgtar::no_engine), help("install {engine}, or name its program with {variable}"))]
    NoEngine {
        program: String,
        engine: &'static str,
        /// The variable that names another program.
        variable: &'static str,
        source: io::Error,
    },
    /// The engine did not do what it was asked for.
    #[error("`{command}` failed ({status}): {said}")]
    #[diagnostic(code(imgtar::engine), help("{help}"))]
    Engine { command: String, help: String, status: String, said: String },
}

impl Error {
    /// [`Error::Several`] for a key with so many images and artifacts.
    #[must_use]
    pub fn several(key: &Key, images: usize, artifacts: usize) -> Self {
        let parts =
            [(images, "image"), (artifacts, "artifact")].into_iter().filter(|(number, _)| *number > 0);
        let parts: Vec<_> = parts.map(|(number, what)| count(number, what)).collect();
        Self::Several { key: key.clone(), what: parts.join(" and ") }
    }

    /// Whether it says that a place which answers does not hold what it should.
    pub(crate) fn is_damage_there(&self) -> bool {
        matches!(
            self,
            Self::Tier(
                tier::Error::Untrue { .. } | tier::Error::Unfit { .. } | tier::Error::Incomplete { .. }
            ) | Self::Registry(
                registry::Error::Untrue { .. }
                    | registry::Error::Unfit { .. }
                    | registry::Error::Incomplete { .. }
            )
        )
    }

    /// The status, where a place that answers could not do what it was asked for (5xx): the next
    /// thing that it is asked for may be there.
    #[must_use]
    pub fn server_error(&self) -> Option<u16> {
        match self {
            Self::Tier(tier::Error::Refused { status, .. })
            | Self::Registry(registry::Error::Refused { status, .. }) => {
                Some(*status).filter(|status| *status >= 500)
            }
            _ => None,
        }
    }

    /// Whether it says that what a place holds is not what it should be, and not that the place
    /// could not be asked.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            error if error.is_damage_there() => true,
            Self::BadDocument { .. } | Self::Corrupt { .. } => true,
            Self::Store(error) => {
                error.is_corrupt()
                    || matches!(error, storekit::Error::Newer { .. } | storekit::Error::NotFetched { .. })
            }
            _ => false,
        }
    }

    /// An error of the archive's reader. An error of the store that travelled inside comes out as
    /// itself.
    #[must_use]
    pub fn read(name: &str, source: io::Error) -> Self {
        unwrap_inner(source).unwrap_or_else(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged { reason: format!("`{name}` is cut off") },
            _ => Self::Read { name: name.to_owned(), source },
        })
    }

    /// What is compressed in a way that is not read here; `then` is the command that is to have it
    /// decompressed.
    #[must_use]
    pub fn compressed(name: &str, form: &'static str, then: &str) -> Self {
        let file = if name == "-" { String::new() } else { format!(" {}", quoted(name)) };
        Self::Compressed { name: name.to_owned(), form, remedy: format!("{form} -dc{file} | {then}") }
    }

    /// An error of an output. An error of the store that travelled inside comes out as itself.
    #[must_use]
    pub fn write(name: &str, source: io::Error) -> Self {
        unwrap_inner(source).unwrap_or_else(|source| Self::Write { name: name.to_owned(), source })
    }
}

/// Takes an error of ours or of the store (of a verifying reader, say) back out of an I/O error.
pub(crate) fn unwrap_inner(error: io::Error) -> Result<Error, io::Error> {
    error.downcast::<storekit::Error>().map(Error::Store).or_else(io::Error::downcast::<Error>)
}
