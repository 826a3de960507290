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
    #[diagnostic(
        code(imgtar::tier::bad_place),
        help("write `store:DIR`, `registry:HOST/REPOSITORY` or `s3:https://HOST/BUCKET`")
    )]
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
    /// No right to do that.
    #[error("`{place}` denied {doing}: {said}")]
    #[diagnostic(
        code(imgtar::tier::denied),
        help(
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, and what their account may do"
        )
    )]
    Denied {
        place: String,
        /// The method, and with what.
        doing: String,
        /// The server's own words.
        said: String,
    },
    /// An answer that says no.
    #[error("`{place}` answered {status} to {doing}: {said}")]
    #[diagnostic(
        code(imgtar::tier::refused),
        help("check that the bucket exists, that the server works and has room, and that it allows this")
    )]
    Refused {
        place: String,
        /// The method, and with what.
        doing: String,
        status: u16,
        /// The server's own words.
        said: String,
    },
    /// A registry that deletes nothing.
    #[error("`{place}` does not delete: {said}")]
    #[diagnostic(
        code(imgtar::tier::no_deletion),
        help(
            "allow it in the registry's settings (docker-registry: `storage: delete: enabled: true`), or delete there by the registry's own means"
        )
    )]
    NoDeletion {
        place: String,
        /// The registry's own words.
        said: String,
    },
    /// An entry that nobody has signed whom it is to be.
    #[error("`{key}` in `{place}` is not signed by a trusted key: it is not taken")]
    #[diagnostic(
        code(imgtar::tier::unsigned),
        help("a push with LARDER_SIGNING_KEY signs it; see who else can write to the place")
    )]
    Unsigned { place: String, key: Key },
    /// An entry that is not what it should be, in a place that answers.
    #[error("what stands under `{key}` in `{place}` is damaged, and is not taken")]
    #[diagnostic(
        code(imgtar::tier::corrupt),
        help(
            "nothing was saved under the key; `imgtar push --force {key}` from a store that has the image mends the place"
        )
    )]
    Damaged { place: String, key: Key, source: Box<crate::Error> },
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
