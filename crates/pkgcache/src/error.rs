//! What can go wrong, each with a remedy.

use std::io;

use camino::Utf8PathBuf;
use miette::Diagnostic;
use thiserror::Error;

/// The result of the library's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error and all that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The same, with what can be done about it.
pub(crate) fn explained(error: &impl Diagnostic) -> String {
    match error.help() {
        Some(help) => format!("{}; {help}", chain(error)),
        None => chain(error),
    }
}

/// What went wrong.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Error {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] storekit::Error),
    /// The address to listen on cannot be had.
    #[error("cannot listen on `{address}`")]
    #[diagnostic(
        code(pkgcache::listen),
        help(
            "choose another port with `--listen`; `ss -ltnp` (of Unix sockets `ss -lxp`) shows which process has it"
        )
    )]
    Listen {
        /// The address that was to be listened on.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Listening for other machines was not asked for in full.
    #[error("`{address}` can be reached from other machines")]
    #[diagnostic(
        code(pkgcache::exposed),
        help(
            "add `--allow-remote`, and say which clients may connect: `--client NETWORK` or `--token-file FILE`"
        )
    )]
    Exposed {
        /// The address that other machines can reach.
        address: std::net::SocketAddr,
    },
    /// A file of the configuration cannot be used.
    #[error("cannot use `{path}`: {reason}")]
    #[diagnostic(code(pkgcache::file), help("check the file, or name another"))]
    File {
        /// The file that the configuration names.
        path: Utf8PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// Hosts are to be intercepted, and there is no authority for it.
    #[error("there is no authority at `{path}`, and hosts are to be intercepted")]
    #[diagnostic(
        code(pkgcache::ca::none),
        help("`pkgcache ca init` makes one; or take the hosts out of `hosts` in [pkgcache.intercept]")
    )]
    NoAuthority {
        /// The file that it would be in.
        path: Utf8PathBuf,
    },
    /// An authority is there already.
    #[error("there is an authority at `{path}` already")]
    #[diagnostic(
        code(pkgcache::ca::there),
        help("`pkgcache ca print --text` shows it, and `pkgcache ca rotate` puts another in its place")
    )]
    AuthorityIsThere { path: Utf8PathBuf },
    /// An authority that cannot be used.
    #[error("cannot use the authority at `{path}`: {reason}")]
    #[diagnostic(
        code(pkgcache::ca::unusable),
        help(
            "its key has to be this user's alone (`chmod 600`); where it is damaged, remove the file, and `pkgcache ca init` makes another"
        )
    )]
    BadAuthority {
        path: Utf8PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// A host is to be intercepted for which the authority may not vouch.
    #[error("the authority at `{path}` may not vouch for `{host}`: it is limited to {permitted}")]
    #[diagnostic(
        code(pkgcache::ca::not_permitted),
        help(
            "`pkgcache ca rotate` makes one for the hosts that are set now; hand its certificate on before the server takes it up"
        )
    )]
    NotPermitted {
        path: Utf8PathBuf,
        /// The host that is to be intercepted.
        host: String,
        /// What it is limited to.
        permitted: String,
    },
    /// A host that cannot be intercepted.
    #[error("`{host}` cannot be intercepted: {reason}")]
    #[diagnostic(
        code(pkgcache::ca::not_a_host),
        help("write a name, as `example.org`, `*.example.org` or `example.org:8443`")
    )]
    NotInterceptable {
        host: String,
        /// Why not.
        reason: &'static str,
    },
    /// Advisories that cannot be read: without them nothing may pass.
    #[error("cannot use the advisories in `{path}`: {reason}")]
    #[diagnostic(
        code(pkgcache::osv),
        help("`osv` of [pkgcache.guards] names JSON files of advisories, zips of them, or folders of both")
    )]
    Osv {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// A namespace that belongs to nothing.
    #[error("the namespace `{pattern}` cannot belong to `{owner}`: {reason}")]
    #[diagnostic(
        code(pkgcache::not_a_namespace),
        help(
            "write `\"KIND:NAME\" = \"MOUNT\"`, with a mount of [pkgcache.upstream] or a registry of that kind"
        )
    )]
    NotANamespace { pattern: String, owner: String, reason: &'static str },
    /// Text that is not the place of a bucket.
    #[error("invalid remote {text:?}: {reason}")]
    #[diagnostic(
        code(pkgcache::not_a_remote),
        help(
            "write `s3://BUCKET/PREFIX`, with the server in AWS_ENDPOINT_URL where it is not Amazon's, or `https://HOST/BUCKET/PREFIX`"
        )
    )]
    NotARemote { text: String, reason: &'static str },
    /// Text that is not an upstream.
    #[error("invalid upstream {text:?}: {reason}")]
    #[diagnostic(code(pkgcache::not_an_upstream), help("write `NAME=URL`, or `/=URL` for the root"))]
    NotAnUpstream {
        text: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// A parent proxy that cannot be used.
    #[error("invalid parent proxy {text:?}: {reason}")]
    #[diagnostic(code(pkgcache::not_a_parent), help("write its URL, such as `http://proxy.example:3128`"))]
    NotAParent {
        text: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// A URL that no request would be answered for.
    #[error("no request for `{url}` comes here")]
    #[diagnostic(
        code(pkgcache::no_door),
        help("give the upstream's own URL, as `ls` prints it, or a path of this server, as `/NAME/…`")
    )]
    NoDoor { url: String },
    /// The system refused something that the server cannot do without.
    #[error("cannot {doing}")]
    #[diagnostic(
        code(pkgcache::system),
        help("see whether the process is short of memory, threads or files")
    )]
    System {
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Writing what was asked for failed.
    #[error("cannot write the output")]
    #[diagnostic(code(pkgcache::output))]
    Output(#[source] io::Error),
    /// Stored bodies that do not match their digests.
    #[error("{count} of {all} stored responses are damaged")]
    #[diagnostic(
        code(pkgcache::verify::corrupt),
        help("they were taken out of the store; each is fetched again when it is asked for")
    )]
    Damaged {
        /// How many responses are damaged.
        count: u64,
        /// How many responses are stored.
        all: u64,
    },
    /// A file that is not a record of what a command was given.
    #[error("`{path}` is not a record that can be used: {reason}")]
    #[diagnostic(
        code(pkgcache::not_a_record),
        help("`pkgcache record -o FILE -- CMD` writes one; so does `pkgcache run --record`")
    )]
    NotARecord {
        path: Utf8PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// An archive of objects that is not what `export` wrote.
    #[error("`{path}` is damaged: {reason}")]
    #[diagnostic(
        code(pkgcache::import::corrupt),
        help(
            "copy it anew, or export it again; the objects that had come whole are stored, and the next import goes on after them"
        )
    )]
    BadArchive {
        path: Utf8PathBuf,
        /// What of it is damaged.
        reason: String,
    },
    /// An archive of a later version of the format.
    #[error("`{path}` is an export of version {found}, and this program knows version 1")]
    #[diagnostic(
        code(pkgcache::import::newer),
        help("import it with the release that wrote it, or a later one")
    )]
    NewerArchive {
        path: Utf8PathBuf,
        /// The version.
        found: u64,
    },
    /// What an archive has is more than the disk.
    #[error("`{path}` has room for {}, and {} are needed", storekit::ByteSize(*free), storekit::ByteSize(*needed))]
    #[diagnostic(
        code(pkgcache::import::no_room),
        help(
            "free some, or let `gcctl run --size SIZE` remove what was not used for longest; nothing was written"
        )
    )]
    NoRoom {
        path: Utf8PathBuf,
        /// The bytes that are needed.
        needed: u64,
        /// The bytes that are free.
        free: u64,
    },
    /// A body that is not what it was announced as.
    #[error("`{url}` was announced as `{announced}` and came as `{found}`")]
    #[diagnostic(
        code(pkgcache::mismatch),
        help("nothing was stored; see whether the upstream or its index is at fault")
    )]
    Mismatch {
        /// The URL that it came from.
        url: String,
        /// The digest that was announced.
        announced: String,
        /// The digest of what came.
        found: String,
    },
}
