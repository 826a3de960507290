//! What a build reads, from its Dockerfile alone.
//!
//! [`analyse`] takes the bytes of a Dockerfile and what the build is asked for, and says which
//! instructions matter, which arguments they use, which images they start from, and what they read
//! from which context. [`Selector`] then picks those inputs out of a listing of the context.
//! Neither touches the disk, but for links that the caller reads.
//!
//! - **Instructions that matter**: those of the stages that the target needs, comments and line
//!   breaks gone, in the order of the file. A stage outside of the target's own chain of bases
//!   loses what only an image's configuration gets (`CMD`, `LABEL`, …). Stages are numbered among
//!   those that are needed, so that neither an unneeded stage nor its position counts. Bases,
//!   platforms and `--from` are resolved; a stage's name does not count by itself.
//! - **Arguments**: those that a needed stage declares, with their value where it comes from the
//!   caller, the global scope or the platform; those of the caller that decide about its `FROM`;
//!   and those that act without being declared (`BUILDKIT_…`, `SOURCE_DATE_EPOCH`). The predefined
//!   proxy arguments never.
//! - **Doubt reads more**: where a variable that only the base image knows decides what is copied,
//!   everything in that context counts, and [`Unknown`] says so.
//!
//! - **A foreign frontend** (`# syntax=`) reads what it likes: the whole file, all arguments and
//!   everything in all contexts count, and [`Unknown`] says so.
//!
//! Reference: `BuildKit`'s dockerfile2llb of 2026. Absent: `ONBUILD` of a base image (named in
//! [`Analysis::unknowns`]), Windows.

mod analyse;
mod env;
mod expand;
mod frontend;
mod glob;
mod lines;
pub(crate) mod pin;
mod platform;
mod reads;
pub(crate) mod remote;
mod select;
mod stages;
mod tree;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use storekit::{Platform, image_name};

use crate::config::PROXY_ARGS;
use crate::dockerignore::Engine;
pub use crate::error::dockerfile::DockerfileError;
pub use analyse::analyse;
pub use select::{Selection, Selector};

/// What is built.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The bytes of the Dockerfile.
    pub dockerfile: &'a [u8],
    /// Its name, for diagnostics.
    pub name: &'a str,
    /// The stage to build. None: the last.
    pub target: Option<&'a str>,
    /// The build arguments, as given to the build.
    pub build_args: &'a BTreeMap<String, String>,
    /// What builds it.
    pub engine: Engine,
    /// The platform to build for.
    pub platform: &'a Platform,
    /// The platform of the machine that builds.
    pub build_platform: &'a Platform,
    /// The named contexts (`--build-context`).
    pub contexts: &'a BTreeMap<String, NamedContext>,
}

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder, whose files can be read.
    Folder,
    /// Anything else, as it was given: an image, a repository, a URL.
    Other(String),
}

/// What a build depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Analysis {
    /// The instructions that matter, each as the bytes that identify it.
    pub instructions: Vec<Vec<u8>>,
    /// The arguments that are used, in stages or by their `FROM`, with their values. The values may
    /// be secrets: only digests may be shown.
    pub args: BTreeMap<String, String>,
    /// The names of the stages that the target needs, in the order of the file; a number where a
    /// stage has none.
    pub stages: Vec<String>,
    /// The image of the frontend that the file names without a digest.
    pub frontend: Option<String>,
    /// The images that these stages start from or copy from, each once.
    pub bases: Vec<Base>,
    /// The named contexts other than folders that are used, with their values.
    pub remote_contexts: BTreeMap<String, String>,
    /// What is read from contexts.
    pub sources: Vec<Source>,
    /// What could change the build and cannot be known here.
    pub unknowns: Vec<Unknown>,
    /// Those of the sources that move by themselves and that can be pinned.
    pub remotes: Vec<Remote>,
    /// Of images whose names are made of variables, as `FROM` and `--from` write them: the values
    /// may be secrets.
    pub written: BTreeMap<String, String>,
}

/// Something that a build fetches from an address that does not say which content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The address, variables expanded.
    pub address: String,
    /// What it is.
    pub fetched: Fetched,
    /// Who fetches it.
    pub by: Fetcher,
}

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// A file, known by its digest.
    File,
    /// A repository, known by its commit.
    Repository,
    /// An image, known by its digest.
    Image,
}

/// Who fetches something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetcher {
    /// The `ADD` of this line, which has the address written so.
    Add {
        /// From 1.
        line: usize,
        /// The source, variables as they are.
        written: String,
    },
    /// The named context.
    Context(String),
}

/// An image that a build starts from or copies from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base {
    /// The reference, variables expanded.
    pub reference: String,
    /// The platform that it is pulled for.
    pub platform: Platform,
}

impl Base {
    /// The digest that the reference pins.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.reference.split_once('@').map(|(_, digest)| digest)
    }
}

/// One thing that an instruction reads from a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of the context. None: the main one.
    pub context: Option<String>,
    /// The line of the instruction, from 1.
    pub line: usize,
    /// What it reads.
    pub what: What,
}

/// What is read from a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// All of it.
    Everything,
    /// A source of COPY or ADD.
    Copy {
        /// A path or wildcards, as the instruction has it, variables expanded.
        path: String,
        /// With `--parents`: the pattern of what is taken below the path.
        below: Option<String>,
        /// The patterns of `--exclude`.
        exclude: Arc<[String]>,
    },
    /// The source of a bind mount.
    Bind {
        /// The path as the instruction has it.
        path: String,
    },
}

/// Something that could change the build and cannot be known from the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// The image may have `ONBUILD` instructions, which could read the context.
    Onbuild(String),
    /// The image's name has no digest: its tag may move.
    MovingTag(String),
    /// The frontend's name has no digest.
    MovingSyntax(String),
    /// The frontend is not docker's own: what it reads, and how, only it knows.
    ForeignFrontend(String),
    /// A variable that the base image may set, or that engines or their releases set to different
    /// values, decides what the instruction of this line reads.
    BaseVariable(usize),
    /// The `ADD` of this line fetches what its address does not pin, by a checksum or a whole
    /// commit. The source is as it is written, for variables may be secret.
    MovingSource(usize, String),
    /// What stands behind the named context of this name has no digest and no whole commit.
    MovingContext(String),
    /// The instruction of this line uses a predefined proxy argument of this name, which has a
    /// value: it shapes the image and is in no key.
    ProxyArg(usize, String),
}

/// Those of the build arguments that no stage declares, whether it is needed or not: they change
/// nothing. Where a name is made of variables, or a frontend reads the file that is not docker's
/// own, any may be declared.
pub(crate) fn unused_args(request: &Request<'_>) -> Vec<String> {
    let is_foreign = frontend::Frontend::of(request).is_some_and(|frontend| !frontend.is_dockers);
    let Some(declared) = (if is_foreign { None } else { reads::declared(request.dockerfile) }) else {
        return Vec::new();
    };
    let acts = |name: &str| {
        name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH" || PROXY_ARGS.contains(&name)
    };
    let given = request.build_args.keys();
    given.filter(|name| !acts(name) && !declared.contains(*name)).cloned().collect()
}

/// Whether the frontend that is asked for knows `ADD --checksum`; None where none is, or its name
/// does not tell.
pub(crate) fn checks_sources(request: &Request<'_>) -> Option<bool> {
    frontend::Frontend::of(request)?.checks_sources()
}

/// The context of this name, however the reference to it is written.
fn context_name(name: &str, contexts: &BTreeMap<String, NamedContext>) -> Option<String> {
    contexts.keys().find(|key| same_image(key, name)).cloned()
}

/// Whether two references are one, `docker.io/library/` and `:latest` being what is meant where
/// nothing is said.
#[must_use]
pub fn same_image(one: &str, other: &str) -> bool {
    let full = |name: &str| image_name::full(&name.to_lowercase());
    full(one) == full(other)
}
