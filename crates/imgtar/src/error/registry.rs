//! What can go wrong with a registry, each with a remedy. No message holds a password or a token.

use camino::Utf8PathBuf;
use miette::Diagnostic;
use storekit::Digest;
use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Error {
    /// No connection could be made, or it was cut.
    #[error("`{url}` cannot be reached: {reason}")]
    #[diagnostic(
        code(imgtar::registry::unreachable),
        help(
            "check the name, and that the registry is running; HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE are heeded"
        )
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// A name in another repository.
    #[error("`{name}` is not in the repository of `{reference}`")]
    #[diagnostic(
        code(imgtar::registry::elsewhere),
        help("`imgtar pull` and `imgtar push` bring an image from one repository to another")
    )]
    Elsewhere { reference: String, name: String },
    /// Text that no file can be fetched from.
    #[error("`{address}` is not an address that a file can be fetched from")]
    #[diagnostic(
        code(imgtar::registry::not_an_address),
        help("write `https://HOST/PATH`, without a user or a password")
    )]
    NotAnAddress { address: String },
    /// An answer that says no.
    #[error("the registry answered {status} to {asked}: {said}")]
    #[diagnostic(
        code(imgtar::registry::refused),
        help("check that the registry works, has room, and allows this")
    )]
    Refused {
        /// The method and what was asked for.
        asked: String,
        status: u16,
        /// The registry's own words.
        said: String,
    },
    /// No right to do that.
    #[error("`{registry}` does not let you {doing}: {said}")]
    #[diagnostic(code(imgtar::registry::denied), help("{help}"))]
    Denied {
        registry: String,
        /// Pull or push, and what.
        doing: String,
        /// The registry's own words.
        said: String,
        help: String,
    },
    /// Bytes that are not what was asked for.
    #[error("`{registry}` does not answer as a registry should: {reason}")]
    #[diagnostic(
        code(imgtar::registry::untrue),
        help("nothing was stored under a key; ask for the image elsewhere, or push it anew")
    )]
    Untrue {
        registry: String,
        /// What does not match.
        reason: String,
    },
    /// Something that would go over the network for all to read.
    #[error("`{url}` is not encrypted")]
    #[diagnostic(
        code(imgtar::registry::insecure),
        help("plain HTTP is for this machine only; `--plain-http` allows it for the registry that you name")
    )]
    Insecure { url: String },
    /// An image that this registry holds, in a form that cannot be stored.
    #[error("`{reference}` cannot be stored: {reason}")]
    #[diagnostic(code(imgtar::registry::unfit), help("build or push it anew, with a current tool"))]
    Unfit { reference: String, reason: String },
    /// An index that lacks what it lists.
    #[error("`{registry}` does not have `{digest}`, a part of `{reference}`")]
    #[diagnostic(
        code(imgtar::registry::incomplete),
        help("push the image anew, or ask for one `--platform`")
    )]
    Incomplete {
        registry: String,
        reference: String,
        /// What is not there.
        digest: Digest,
    },
    /// No image for the platform.
    #[error("`{reference}` has no image for {wanted}; it has {present}")]
    #[diagnostic(code(imgtar::registry::no_platform), help("name one of these with `--platform`"))]
    NoPlatform {
        reference: String,
        /// What was asked for.
        wanted: String,
        present: String,
    },
    /// A proxy that cannot be used.
    #[error("the proxy `{proxy}` of {variable} cannot be used: {reason}")]
    #[diagnostic(
        code(imgtar::registry::proxy),
        help(
            "write `http://HOST:PORT`, `https://HOST:PORT`, `socks5://HOST:PORT` or `socks5h://HOST:PORT` (the proxy looks up names) into {variable}, or unset it"
        )
    )]
    Proxy {
        /// Without user and password.
        proxy: String,
        variable: String,
        reason: &'static str,
    },
    /// An image with a layer that is to be had elsewhere, refused.
    #[error(
        "`{registry}` refuses the image, because its layer `{digest}` is not sent: it is kept elsewhere (`{url}`): {said}"
    )]
    #[diagnostic(
        code(imgtar::registry::foreign),
        help("`--foreign` sends such layers too, where their makers allow it")
    )]
    Foreign {
        registry: String,
        digest: Digest,
        /// Where it is to be had.
        url: String,
        /// The registry's own words.
        said: String,
    },
    /// A layer that is to be had elsewhere, and is to be sent and not stored.
    #[error(
        "the layer `{digest}` is not stored: the image came without it, since it is kept elsewhere (`{url}`)"
    )]
    #[diagnostic(
        code(imgtar::registry::foreign_absent),
        help("import or pull the image from where it has the layer, or push without `--foreign`")
    )]
    ForeignAbsent {
        digest: Digest,
        /// Where it is to be had.
        url: String,
    },
    /// A registry that keeps damaged bytes under their name, whatever it is sent.
    #[error(
        "`{registry}` keeps a damaged `{digest}`: it was sent anew, and the registry gives the old bytes"
    )]
    #[diagnostic(
        code(imgtar::registry::kept::corrupt),
        help("no push mends that: remove the blob's file from the registry's data, or use another registry")
    )]
    Kept { registry: String, digest: Digest },
    /// A push to a digest.
    #[error("cannot push to `{reference}`: a pushed image has a digest of its own")]
    #[diagnostic(code(imgtar::registry::push_to_digest), help("name a tag"))]
    ToDigest { reference: String },
    /// A file with credentials that cannot be used.
    #[error("the credentials in `{path}` cannot be used: {reason}")]
    #[diagnostic(code(imgtar::registry::auth_file), help("log in anew: `docker login` or `podman login`"))]
    AuthFile { path: Utf8PathBuf, reason: String },
}

/// Text of a stranger's, for a message: one line, no control characters, no more than a few hundred
/// characters.
pub(crate) fn tame(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let tame: String = words.chars().filter(|char| !char.is_control()).take(300).collect();
    if tame.is_empty() { "it gives no reason".to_owned() } else { tame }
}
