//! What can go wrong with a collection, each with a remedy.

use camino::Utf8PathBuf;
use miette::Diagnostic;
use storekit::{ByteSize, Key};
use thiserror::Error;
use toolkit::tables::ExtraKind;

/// The result of what `gcctl` does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Error {
    /// The store, or a file in it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] storekit::Error),
    /// `--store` names a folder without a store.
    #[error("there is no store at `{path}`")]
    #[diagnostic(
        code(gcctl::no_store),
        help(
            "see whether `--store` names the right folder; a store is made by the first save, such as `imgtar save`"
        )
    )]
    NoStore { path: Utf8PathBuf },
    /// The engine's program is not there.
    #[error("`{program}` cannot be started")]
    #[diagnostic(code(gcctl::no_engine), help("install {engine}, or name its program with {variable}"))]
    NoEngine { program: String, engine: &'static str, variable: &'static str, source: std::io::Error },
    /// The engine did not do what it was asked for.
    #[error("`{command}` failed ({status}): {said}")]
    #[diagnostic(code(gcctl::engine), help("see whether the engine runs, and whether you may use it"))]
    Engine { command: String, status: String, said: String },
    /// The engine's answer is none that is known.
    #[error("what {engine} says of its store is not understood: {reason}")]
    #[diagnostic(
        code(gcctl::engine_unclear),
        help("nothing was removed; a report with the engine's version would help")
    )]
    EngineUnclear { engine: &'static str, reason: String },
    /// A plan that was made for another engine.
    #[error("the plan is for the {engine} at `{planned}`, and this one is `{place}`")]
    #[diagnostic(code(gcctl::other_engine), help("nothing was removed; make a plan for this one"))]
    OtherEngine { engine: &'static str, place: String, planned: String },
    /// What is not a plan for an engine.
    #[error("this is no plan for an engine: {reason}")]
    #[diagnostic(
        code(gcctl::bad_engine_plan),
        help("nothing was removed; `gcctl engine plan --json` prints one")
    )]
    BadEnginePlan { reason: String },
    /// A limit without a unit.
    #[error("`{limit}` is {size}, written without a unit: was one forgotten? It would {takes}")]
    #[diagnostic(
        code(gcctl::no_unit),
        help(
            "nothing was removed for it; write a unit, such as `10GB`, or `{size}` if that is meant; `--force` takes it as it stands"
        )
    )]
    NoUnit {
        limit: String,
        size: ByteSize,
        /// What it would do.
        takes: String,
    },
    /// A limit that would take most of what is stored.
    #[error("`{limit}` would delete {lost} for good")]
    #[diagnostic(
        code(gcctl::too_much),
        help(
            "nothing was removed for it; `--force` deletes them; `gcctl pin KEY` keeps an image whatever the limits are; `gcctl plan` with the same limits shows what would go"
        )
    )]
    TooMuch {
        limit: String,
        /// What would be lost for good.
        lost: String,
    },
    /// Something that is stored is not what it was.
    #[error("{} damaged", toolkit::words::count(*found, "item") + if *found == 1 { " is" } else { " are" })]
    #[diagnostic(
        code(gcctl::damage::corrupt),
        help(
            "{}; `imgtar verify` and `pkgcache verify` look deeper",
            match advice {
                DamageAdvice::Repair => "`gcctl verify --repair` moves damaged files aside and makes derived ones anew",
                DamageAdvice::Repaired => "what is moved aside is never taken for sound; the next save or fetch brings it anew",
                DamageAdvice::ByHand => "no repair mends this: save the images anew, or remove them with `gcctl rm KEY`; what cannot be read may be another user's",
            }
        )
    )]
    Damage { found: u64, advice: DamageAdvice },
    /// A text that is not a plan.
    #[error("line {line} of the plan cannot be understood: {reason}")]
    #[diagnostic(
        code(gcctl::bad_plan),
        help("nothing was removed; `gcctl plan --json | gcctl apply -` hands on what `apply` reads")
    )]
    BadPlan {
        /// Which line, from 1.
        line: usize,
        reason: String,
    },
    /// A plan without its last line.
    #[error("the plan is cut off: its last line is missing")]
    #[diagnostic(code(gcctl::cut_plan), help("nothing was removed; see whether `gcctl plan` failed"))]
    CutPlan,
    /// A plan of a later version.
    #[error("the plan has version {found}, and this program reads versions up to {known}")]
    #[diagnostic(code(gcctl::newer_plan), help("plan and apply with the same version of gcctl"))]
    NewerPlan {
        found: u64,
        /// The newest version that is known here.
        known: u64,
    },
    /// A plan for another store.
    #[error("the plan was made for the store at `{planned}`, and not for `{opened}`")]
    #[diagnostic(code(gcctl::other_store), help("nothing was removed; name its store with `--store`"))]
    OtherStore {
        planned: Utf8PathBuf,
        /// The store that was to be worked on.
        opened: Utf8PathBuf,
    },
    /// A plan with a folder that no settings name.
    #[error("the plan is about `{path}`, and no settings name it as a folder of kind `{kind}`")]
    #[diagnostic(code(gcctl::no_extra), help("nothing was removed; see `[[extra]]` in larder.toml"))]
    NoExtra { path: Utf8PathBuf, kind: ExtraKind },
    /// A limit that would take most of a folder.
    #[error("`{why}` of `{path}` would delete {lost} for good")]
    #[diagnostic(
        code(gcctl::extra_too_much),
        help("nothing was removed for it; `--force` deletes them; `gcctl plan` shows what would go")
    )]
    ExtraTooMuch { why: String, path: Utf8PathBuf, lost: String },
    /// A filter of packages where others are listed.
    #[error("`--ecosystem` is for packages: what `ls {what}` lists has no ecosystem")]
    #[diagnostic(code(gcctl::not_of_packages), help("`gcctl ls --ecosystem NAME` lists packages"))]
    NotOfPackages {
        /// What is listed.
        what: String,
    },
    /// A filter of images where others are listed.
    #[error("`--older` is for images: of what `ls {what}` lists it is not known when it came")]
    #[diagnostic(code(gcctl::not_of_images), help("`--unused AGE` goes by when it was used or written last"))]
    NotOfImages {
        /// What is listed.
        what: String,
    },
    /// A report as JSON.
    #[error("`report` writes a page of HTML, and knows no `--json`")]
    #[diagnostic(
        code(gcctl::no_json),
        help("`gcctl df`, `plan`, `limits`, `stats` and `ls` print its numbers with `--json`")
    )]
    NoJson,
    /// A list of another place that cannot be understood.
    #[error("line {line} of the list cannot be understood: {reason}")]
    #[diagnostic(
        code(gcctl::bad_listing),
        help(
            "nothing is planned, for it is not known what that image needs; `imgtar ls --tier PLACE --json` of the same version prints what is read here"
        )
    )]
    BadListing {
        /// Which line, from 1.
        line: usize,
        reason: String,
    },
    /// Branches that cannot be read.
    #[error("what the branches use is not known: {reason}")]
    #[diagnostic(
        code(gcctl::git),
        help("nothing was chosen; leave out `keep-refs`, or run this in the project's repository")
    )]
    Git { reason: String },
    /// A key that is not stored.
    #[error("nothing is stored under `{0}`")]
    #[diagnostic(code(gcctl::no_such_key), help("`gcctl ls` lists the keys"))]
    NoSuchKey(Key),
    /// stdin, stdout or stderr failed.
    #[error("cannot {doing}")]
    #[diagnostic(code(gcctl::stream))]
    Stream {
        /// What was tried: `read the plan`, `write to stdout`.
        doing: &'static str,
        source: std::io::Error,
    },
}

/// What is to be done about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageAdvice {
    /// A repair mends some of it.
    Repair,
    /// A repair has.
    Repaired,
    /// No repair does.
    ByHand,
}

impl Error {
    pub(crate) fn output(source: std::io::Error) -> Self {
        Self::Stream { doing: "write to stdout", source }
    }
}
