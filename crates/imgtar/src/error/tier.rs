//! What can go wrong with a place that images stand in, each with a remedy. No message holds a
//! password, a key of an account or a signature.

use miette::Diagnostic;
use storekit::{Digest, Key};
use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Error {
    /// Text that is not a place.
    #[error("`{text}` is not a place: {reason}")]
    #[diagnostic(code(imgtar::tier::bad_place), help("write `store:DIR` or `registry:HOST/REPOSITORY`"))]
    BadPlace { text: String, reason: String },
    /// Bytes that are not what they should be.
    #[error("`{place}` does not hold what it should: {reason}")]
    #[diagnostic(
        code(imgtar::tier::untrue),
        help(
            "nothing was saved under the key; `imgtar push --force` from a store that has the image mends the place"
        )
    )]
    Untrue {
        place: String,
        /// What does not match.
        reason: String,
    },
    /// An image that cannot be stored.
    #[error("`{key}` in `{place}` cannot be stored: {reason}")]
    #[diagnostic(code(imgtar::tier::unfit), help("build the image anew, and push it with `--force`"))]
    Unfit { place: String, key: Key, reason: String },
    /// An entry without all of its image.
    #[error("`{place}` does not have `{digest}`, a part of the image under `{key}`")]
    #[diagnostic(
        code(imgtar::tier::incomplete),
        help("`imgtar push {key}` from a store that has the image completes it")
    )]
    Incomplete {
        place: String,
        key: Key,
        /// What is not there.
        digest: Digest,
    },
}
