//! What can go wrong with a registry, each with a remedy. No message holds a password or a token.

use camino::Utf8PathBuf;
use miette::Diagnostic;
use storekit::Digest;
use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// No connection, or none that lasts.
    #[error("`{url}` cannot be reached: {reason}")]
    #[diagnostic(
        code(imgtar::registry::unreachable),
        help(
            "see whether the name is right and the registry up; HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE are heeded"
        )
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// An answer that says no.
    #[error("the registry answered {status} to {asked}: {said}")]
    #[diagnostic(
        code(imgtar::registry::refused),
        help("see whether the registry is sound, has room, and allows this")
    )]
    Refused {
        /// The method and what was asked for.
        asked: String,
        /// The status code.
        status: u16,
        /// The registry's own words.
        said: String,
    },
    /// No right to do that.
    #[error("`{registry}` does not let you {doing}: {said}")]
    #[diagnostic(code(imgtar::registry::denied), help("{help}"))]
    Denied {
        /// The registry.
        registry: String,
        /// Pull or push, and what.
        doing: String,
        /// The registry's own words.
        said: String,
        /// What to do.
        help: String,
    },
    /// Bytes that are not what was asked for.
    #[error("`{registry}` is not to be trusted: {reason}")]
    #[diagnostic(
        code(imgtar::registry::untrue),
        help("nothing was stored under a key; ask for the image elsewhere, or push it anew")
    )]
    Untrue {
        /// The registry.
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
    Insecure {
        /// The URL.
        url: String,
    },
    /// An image that this registry holds, in a form that cannot be stored.
    #[error("`{reference}` cannot be stored: {reason}")]
    #[diagnostic(code(imgtar::registry::unfit), help("build or push it anew, with a current tool"))]
    Unfit {
        /// The image.
        reference: String,
        /// Why.
        reason: String,
    },
    /// An index that lacks what it lists.
    #[error("`{registry}` has not got `{digest}`, of which `{reference}` is made")]
    #[diagnostic(
        code(imgtar::registry::incomplete),
        help("push the image anew, or ask for one `--platform`")
    )]
    Incomplete {
        /// The registry.
        registry: String,
        /// The image.
        reference: String,
        /// What is not there.
        digest: Digest,
    },
    /// No image for the platform.
    #[error("`{reference}` has no image for {wanted}; it has {present}")]
    #[diagnostic(code(imgtar::registry::no_platform), help("name one of these with `--platform`"))]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was asked for.
        wanted: String,
        /// What is there.
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
        /// What names it.
        variable: String,
        /// Why.
        reason: &'static str,
    },
    /// An image with a layer that is to be had elsewhere, refused.
    #[error(
        "`{registry}` refuses the image, whose layer `{digest}` is not sent but to be had elsewhere (`{url}`): {said}"
    )]
    #[diagnostic(
        code(imgtar::registry::foreign),
        help("`--foreign` sends such layers too, where their makers allow it")
    )]
    Foreign {
        /// The registry.
        registry: String,
        /// The layer.
        digest: Digest,
        /// Where it is to be had.
        url: String,
        /// The registry's own words.
        said: String,
    },
    /// A layer that is to be had elsewhere, and is to be sent and not stored.
    #[error(
        "the layer `{digest}` is not stored: the image came without it, since it is to be had elsewhere (`{url}`)"
    )]
    #[diagnostic(
        code(imgtar::registry::foreign_absent),
        help("import or pull the image from where it has the layer, or push without `--foreign`")
    )]
    ForeignAbsent {
        /// The layer.
        digest: Digest,
        /// Where it is to be had.
        url: String,
    },
    /// A push to a digest.
    #[error("`{reference}` names a digest, and what is pushed gets the digest that it has")]
    #[diagnostic(code(imgtar::registry::push_to_digest), help("name a tag"))]
    ToDigest {
        /// The reference.
        reference: String,
    },
    /// A file with credentials that cannot be used.
    #[error("the credentials in `{path}` cannot be used: {reason}")]
    #[diagnostic(code(imgtar::registry::auth_file), help("log in anew: `docker login` or `podman login`"))]
    AuthFile {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        reason: String,
    },
}

/// Text of a stranger's, for a message: one line, no control characters, no more than a few hundred
/// characters.
pub(crate) fn tame(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let tame: String = words.chars().filter(|char| !char.is_control()).take(300).collect();
    if tame.is_empty() { "it says no more".to_owned() } else { tame }
}
