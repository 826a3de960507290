//! `ca`: the authority that stands for intercepted servers.

use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use miette::Result;
use pkgcache::authority::{Authority, Folder, pem};
use pkgcache::builds::intercepted::TRUST;
use pkgcache::commands::Console;
use pkgcache::{Error, InterceptTable, Options, Outside};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use storekit::files;
use toolkit::{Environment, Outcome, output};

use crate::cli::process::Process;

#[derive(Subcommand)]
pub(crate) enum CaJob {
    /// Make the authority, for the hosts that are to be intercepted
    ///
    /// Its key lies in a file that this user alone can read (`authority.pem` in
    /// `~/.local/state/larder/pkgcache-ca`, or in the folder that `ca` in [pkgcache.intercept]
    /// names). Its certificate is limited to the hosts' names and those below them, vouches for no
    /// address and for no other authority, and ends after 365 days. Where one is there already,
    /// this is an error. Prints what it is limited to.
    Init(HostsArgs),
    /// Print the authority's certificate as PEM; the key is never printed
    Print {
        /// Say in words what it is limited to, until when it holds, its SHA-256 and where it lies
        #[arg(long)]
        text: bool,
    },
    /// Print the system's authorities and this one as one file, as clients want it
    ///
    /// For `SSL_CERT_FILE`, `CURL_CA_BUNDLE`, `REQUESTS_CA_BUNDLE`, `PIP_CERT`,
    /// `NODE_EXTRA_CA_CERTS`, `CARGO_HTTP_CAINFO`, `GIT_SSL_CAINFO` and the like, which `run` sets
    /// by itself. The system's are those of `SSL_CERT_FILE` where that is set. Authorities of
    /// before the last `rotate` are in it until they end.
    Bundle {
        /// Write it to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<Utf8PathBuf>,
    },
    /// Put a new authority in the place of the one that is there
    ///
    /// For other hosts, or before it ends. The old key is gone then; the old certificate stays in
    /// `bundle` until it ends. A running server goes on with the old one until SIGHUP or a restart:
    /// give clients the new bundle before.
    Rotate(HostsArgs),
}

#[derive(Args)]
pub(crate) struct HostsArgs {
    /// The hosts, as in `hosts` of [pkgcache.intercept], which is the default
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
}

impl HostsArgs {
    fn names(&self, table: &InterceptTable) -> Result<Vec<String>> {
        let given = Some(self.hosts.clone()).filter(|hosts| !hosts.is_empty());
        let table = InterceptTable { hosts: given.or_else(|| table.hosts.clone()), ca: None };
        let names = table.names()?;
        if names.is_empty() {
            return Err(miette::miette!(
                help = "name them (`pkgcache ca init example.org`), or set `hosts` in [pkgcache.intercept]",
                "an authority is limited to the hosts that are intercepted, and there are none"
            ));
        }
        Ok(names)
    }
}

/// Does what is said.
pub(crate) fn run(
    job: &CaJob,
    options: &Options,
    environment: &Environment,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let table = &options.intercept;
    let folder = table.folder(&environment.folder, options.usual_ca.as_deref())?;
    match job {
        CaJob::Init(args) => tell(&folder.init(&args.names(table)?)?, &folder, console)?,
        CaJob::Rotate(args) => {
            tell(&folder.rotate(&args.names(table)?)?, &folder, console)?;
            if !console.quiet {
                output::say(
                    "pkgcache: running servers have the old one until SIGHUP or a restart; clients need what `pkgcache ca bundle` prints now",
                );
            }
        }
        CaJob::Print { text } if *text || console.json => tell(&folder.load()?, &folder, console)?,
        CaJob::Print { .. } => write(console.out, &pem(folder.load()?.der()))?,
        CaJob::Bundle { output } => {
            let text = bundle(&folder, &[])?;
            match output {
                Some(path) => files::output::write(&environment.folder.join(path), text.as_bytes())?,
                None => write(console.out, &text)?,
            }
        }
    }
    Ok(Outcome::Yes)
}

/// What clients have to trust, as PEM: the system's authorities, this one, and what else is given.
///
/// # Errors
/// An authority that cannot be read.
pub(crate) fn bundle(folder: &Folder, more: &[Vec<u8>]) -> Result<String> {
    let mut all = Process.authorities();
    if all.is_empty() {
        Process.warning("there are no authorities of the system: the bundle has this cache's alone");
    }
    all.extend(more.iter().cloned());
    all.extend(folder.certificates(jiff::Timestamp::now())?);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|der| seen.insert(der.clone()));
    Ok(all.iter().map(|der| pem(der)).collect())
}

/// The same with what this machine's clients are told to trust already.
///
/// # Errors
/// As [`bundle`].
pub(crate) fn trusted(folder: &Folder, environment: &Environment) -> Result<String> {
    let files =
        TRUST.iter().filter_map(|name| environment.get(name)).map(|file| environment.folder.join(file));
    let read = |file| CertificateDer::pem_file_iter(file).ok();
    let known: Vec<_> = files.filter_map(read).flatten().flatten().map(|der| der.to_vec()).collect();
    bundle(folder, &known)
}

fn write(out: &mut dyn Write, text: &str) -> Result<()> {
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)?)
}

/// What an authority is.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told<'a> {
    name: String,
    permitted: &'a [String],
    begins: jiff::Timestamp,
    ends: jiff::Timestamp,
    sha256: String,
    file: &'a Utf8Path,
}

fn tell(authority: &Authority, folder: &Folder, console: &mut Console<'_>) -> Result<()> {
    let file = folder.file();
    let (name, permitted, sha256) = (authority.name(), authority.permitted(), authority.fingerprint());
    let (begins, ends) = (authority.begins(), authority.ends());
    if console.json {
        let told = Told { name, permitted, begins, ends, sha256, file: &file };
        return Ok(output::json_line(&mut console.out, &told).map_err(Error::Output)?);
    }
    let permitted = permitted.join(", ");
    write(
        console.out,
        &format!(
            "name:       {name}\nlimited to: {permitted}, and names below\nholds:      {begins:.0} to {ends:.0}\nsha256:     {sha256}\nfile:       {file}\n"
        ),
    )
}
