//! The parts that some tests need and some machines lack.
//!
//! A test without its parts passes and is listed by `cargo xtask test`; with
//! `LARDER_REQUIRE_ENGINES=1` it fails.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use camino::Utf8PathBuf;

use crate::tools;

/// pip below the folder where `.ci/run` keeps what it installs.
pub const PIP: &str = "python/bin/pip";
/// uv there.
pub const UV: &str = "python/bin/uv";
/// The Python there that has `huggingface_hub`.
pub const HUGGINGFACE: &str = "models/bin/python";
/// moto's object store there.
pub const MOTO: &str = "moto/bin/moto_server";
/// npm there, for node.
pub const NPM: &str = "node/node_modules/npm/bin/npm-cli.js";
/// pnpm there, for node.
pub const PNPM: &str = "node/node_modules/pnpm/bin/pnpm.mjs";
/// yarn 1 there, for node.
pub const YARN_CLASSIC: &str = "node/node_modules/yarn/bin/yarn.js";
/// yarn 4 there, for node.
pub const YARN: &str = "node/node_modules/@yarnpkg/cli-dist/bin/yarn.js";

/// Something that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A docker client, and a daemon that answers it.
    Docker,
    /// The daemon's program, to be started by the test itself; for root only.
    Dockerd,
    /// podman, and all that it needs.
    Podman,
    /// docker-registry, to be started by the test itself.
    Registry,
    /// rclone, whose object store is started by the test itself.
    Rclone,
    /// moto, whose object store is started by the test itself.
    Moto,
    /// skopeo.
    Skopeo,
    /// b3sum.
    B3sum,
    /// git.
    Git,
    /// The right to mount a file system.
    Mount,
    /// node, of a version that has a fetch of its own.
    Node,
    /// The public suite of tests for HTTP caches, with the package `undici` beside it.
    CacheTests,
    /// Prometheus' own parser for Python.
    Prometheus,
    /// curl.
    Curl,
    /// A Python with `huggingface_hub`.
    HuggingFace,
    /// nginx, to be started by the test itself.
    Nginx,
    /// openssl, for certificates.
    Openssl,
    /// The client of `GnuTLS`.
    Gnutls,
    /// Go's own command.
    Go,
    /// rustup, and a toolchain that it installed.
    Rustup,
    /// OpenSSH's agent, and what makes keys for it.
    Ssh,
    /// strace, and the right to trace a process of one's own.
    Strace,
    /// A root file system as a tar, named by `LARDER_TEST_BASE` or made by `.ci/run`.
    Base,
    /// The same of an older release, with the right to change the root; named by
    /// `LARDER_TEST_OLD_BASE` or made by `.ci/run`.
    OldBase,
    /// A root file system with Python's pip and node, named by `LARDER_TEST_CLIENT_BASE` or made by
    /// `.ci/run`.
    ClientBase,
    /// A root file system with dnf, named by `LARDER_TEST_DNF_BASE` or made by `.ci/run`.
    DnfBase,
    /// What `cargo xtask dist` made of this tree: the folder that `LARDER_TEST_RELEASE` names.
    Release,
    /// Python with what makes environments of it.
    Python,
    /// A YAML reader for Python.
    Yaml,
    /// just.
    Just,
    /// containerd, to be started by the test itself, and its client.
    Containerd,
    /// umoci.
    Umoci,
    /// qemu-img and qemu-io.
    QemuImg,
    /// git with Git LFS.
    GitLfs,
    /// script, which makes a terminal.
    Script,
    /// pip, as `.ci/run` installs it.
    Pip,
    /// uv.
    Uv,
    /// npm, as `.ci/run` installs it.
    Npm,
    /// pnpm.
    Pnpm,
    /// yarn 1.
    YarnClassic,
    /// yarn 4.
    Yarn,
    /// `gpg`, for keys and signatures.
    Gnupg,
    /// apt, with what makes repositories for it: dpkg-deb, apt-ftparchive and gpg.
    Apt,
    /// dnf, with what makes repositories for it: `rpmbuild`, `createrepo_c` and gpg.
    Dnf,
    /// cargo with the compiler beside it, as it runs these tests.
    Cargo,
    /// docker-compose.
    DockerCompose,
    /// podman-compose, as `.ci/run` installs it.
    PodmanCompose,
}

/// Whether all parts are there. Where one is not, the running test is noted as not run.
///
/// ```no_run
/// # use larder_tests::{Part, have};
/// if !have(&[Part::Docker, Part::Base]) {
///     return;
/// }
/// ```
///
/// # Panics
/// Where one is not there and `LARDER_REQUIRE_ENGINES` is set.
#[must_use]
pub fn have(parts: &[Part]) -> bool {
    let missing: Vec<_> = parts.iter().filter(|part| !part.is_there()).map(ToString::to_string).collect();
    if missing.is_empty() {
        return true;
    }
    not_run(&format!("needs {}", missing.join(", ")));
    false
}

/// Notes that the running test was not run, and why. `cargo xtask test` lists it.
///
/// # Panics
/// With `LARDER_REQUIRE_ENGINES=1`: there a missing part is a failure.
pub fn not_run(reason: &str) {
    assert!(
        env::var_os("LARDER_REQUIRE_ENGINES").is_none_or(|value| value.is_empty() || value == "0"),
        "{reason}"
    );
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "not run: {test}: {reason}");
    if let Ok(path) = env::var("LARDER_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{test}\t{reason}\n").as_bytes())).expect("the list");
    }
}

/// The folders with editions of the public suite of tests for HTTP caches: a checkout of its
/// repository, named by `LARDER_CACHE_TESTS`, and the package that `.ci/run` installs.
#[must_use]
pub fn cache_tests() -> Vec<Utf8PathBuf> {
    let checkout = env::var("LARDER_CACHE_TESTS").ok().map(Utf8PathBuf::from);
    let package = tools::cache().map(|folder| folder.join("node/node_modules/http-cache-tests"));
    let is_there = |folder: &Utf8PathBuf| folder.join("tests/index.mjs").is_file();
    checkout.into_iter().chain(package).filter(is_there).collect()
}

/// The tar of a root file system, if there is one.
#[must_use]
pub fn base() -> Option<Utf8PathBuf> {
    if let Ok(path) = env::var("LARDER_TEST_BASE") {
        return Some(path.into());
    }
    let folder = tools::cache()?;
    let mut tars: Vec<_> =
        folder.read_dir_utf8().ok()?.flatten().map(camino::Utf8DirEntry::into_path).collect();
    tars.retain(|path| path.extension() == Some("tar"));
    tars.sort();
    tars.pop()
}

/// The tar of an older release's root file system, if there is one.
#[must_use]
pub fn old_base() -> Option<Utf8PathBuf> {
    let made = || tools::cache().map(|folder| folder.join("older/root.tar"));
    env::var("LARDER_TEST_OLD_BASE").ok().map(Utf8PathBuf::from).or_else(made).filter(|path| path.is_file())
}

/// The tar of a root file system with clients of packages, if there is one.
#[must_use]
pub fn client_base() -> Option<Utf8PathBuf> {
    let made = || tools::cache().map(|folder| folder.join("clients/root.tar"));
    let named = env::var("LARDER_TEST_CLIENT_BASE").ok().map(Utf8PathBuf::from);
    named.or_else(made).filter(|path| path.is_file())
}

/// The tar of a root file system with dnf, if there is one.
#[must_use]
pub fn dnf_base() -> Option<Utf8PathBuf> {
    let made = || tools::cache().map(|folder| folder.join("clients/dnf.tar"));
    let named = env::var("LARDER_TEST_DNF_BASE").ok().map(Utf8PathBuf::from);
    named.or_else(made).filter(|path| path.is_file())
}

/// The folder with what `cargo xtask dist` made, if it is named.
#[must_use]
pub fn release() -> Option<Utf8PathBuf> {
    let folder = Utf8PathBuf::from(env::var("LARDER_TEST_RELEASE").ok()?);
    folder.join("SHA256SUMS").is_file().then_some(folder)
}

/// The program of a package client that `.ci/run` installs: a file of its Python environment, or of
/// its `node_modules`.
#[must_use]
pub fn installed(path: &str) -> Utf8PathBuf {
    tools::cache().unwrap_or_default().join(path)
}

/// The folder with cargo and the compiler, if cargo runs these tests.
#[must_use]
pub fn cargo() -> Option<Utf8PathBuf> {
    let folder = Utf8PathBuf::from(env::var("CARGO").ok()?).parent()?.to_owned();
    folder.join("rustc").is_file().then_some(folder)
}

/// Where the program lies, if it is on the PATH of the tests.
#[must_use]
pub fn on_path(program: &str) -> Option<Utf8PathBuf> {
    tools::path().split(':').map(|folder| Utf8PathBuf::from(folder).join(program)).find(|path| path.is_file())
}

/// rustup, where it puts itself.
#[must_use]
pub fn rustup() -> Option<Utf8PathBuf> {
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")));
    let own = Utf8PathBuf::from(home.ok()?).join("bin/rustup");
    Some(own).filter(|path| path.is_file()).or_else(|| on_path("rustup"))
}

/// What was found out already, of this process.
static FOUND: Mutex<BTreeMap<Part, bool>> = Mutex::new(BTreeMap::new());

impl Part {
    /// The engine of this name, `docker` or `podman`.
    #[must_use]
    pub fn engine(name: &str) -> Self {
        if name == "podman" { Self::Podman } else { Self::Docker }
    }

    fn is_there(self) -> bool {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        *found.entry(self).or_insert_with(|| self.find())
    }

    fn find(self) -> bool {
        match self {
            Self::Docker => succeeds("docker", &["version"]),
            Self::Dockerd => {
                is_root()
                    && succeeds("unshare", &["--net", "dockerd", "--version"])
                    && succeeds("python3", &["--version"])
            }
            Self::Podman => succeeds("podman", &["info"]),
            Self::Registry => succeeds("docker-registry", &["--version"]),
            Self::Rclone => succeeds("rclone", &["version"]),
            Self::Moto => installed(MOTO).is_file(),
            Self::Skopeo => succeeds("skopeo", &["--version"]),
            Self::B3sum => succeeds("b3sum", &["--version"]),
            Self::Git => succeeds("git", &["--version"]),
            // A mount name space of its own: what is tried leaves no trace.
            Self::Mount => is_root() && succeeds("unshare", &["-m", "mount", "-t", "tmpfs", "none", "/mnt"]),
            Self::Node => succeeds("node", &["-e", "fetch.name"]),
            Self::Prometheus => succeeds("python3", &["-c", "import prometheus_client.parser"]),
            Self::Curl => succeeds("curl", &["--version"]),
            Self::Nginx => succeeds("nginx", &["-v"]),
            Self::Openssl => succeeds("openssl", &["version"]),
            Self::Gnutls => succeeds("gnutls-cli", &["--version"]),
            Self::Go => succeeds("go", &["version"]),
            Self::Rustup => rustup().is_some(),
            Self::Ssh => ["ssh-agent", "ssh-add", "ssh-keygen"].iter().all(|name| on_path(name).is_some()),
            Self::Strace => succeeds("strace", &["-o", "/dev/null", "true"]),
            Self::CacheTests => !cache_tests().is_empty(),
            Self::Base => base().is_some_and(|path| File::open(path).is_ok()),
            Self::OldBase => is_root() && old_base().is_some(),
            Self::ClientBase => client_base().is_some(),
            Self::DnfBase => dnf_base().is_some(),
            Self::Release => release().is_some(),
            Self::Python => succeeds("python3", &["-c", "import ensurepip, venv"]),
            Self::Yaml => succeeds("python3", &["-c", "import yaml"]),
            Self::Just => on_path("just").is_some(),
            Self::Containerd => succeeds("containerd", &["--version"]) && succeeds("ctr", &["--version"]),
            Self::Umoci => succeeds("umoci", &["--version"]),
            Self::QemuImg => succeeds("qemu-img", &["--version"]) && succeeds("qemu-io", &["--version"]),
            Self::GitLfs => succeeds("git", &["lfs", "version"]),
            Self::Script => succeeds("script", &["--version"]),
            Self::Pip => succeeds(installed(PIP).as_str(), &["--version"]),
            Self::HuggingFace => {
                succeeds(installed(HUGGINGFACE).as_str(), &["-c", "import huggingface_hub, hf_xet"])
            }
            Self::Uv => succeeds(installed(UV).as_str(), &["--version"]),
            Self::Npm => succeeds("node", &[installed(NPM).as_str(), "--version"]),
            Self::Pnpm => succeeds("node", &[installed(PNPM).as_str(), "--version"]),
            Self::YarnClassic => succeeds("node", &[installed(YARN_CLASSIC).as_str(), "--version"]),
            Self::Yarn => succeeds("node", &[installed(YARN).as_str(), "--version"]),
            Self::Gnupg => succeeds("gpg", &["--version"]) && succeeds("gpgconf", &["--version"]),
            Self::Apt => ["apt-get", "dpkg-deb", "apt-ftparchive", "gpg"]
                .iter()
                .all(|program| succeeds(program, &["--version"])),
            Self::Dnf => ["dnf", "rpmbuild", "createrepo_c", "gpg"]
                .iter()
                .all(|program| succeeds(program, &["--version"])),
            Self::Cargo => cargo().is_some(),
            Self::DockerCompose => succeeds("docker-compose", &["version"]),
            Self::PodmanCompose => succeeds("podman-compose", &["--version"]),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "a docker engine that answers",
            Self::Dockerd => "`dockerd` and `python3`, as root",
            Self::Podman => "`podman`",
            Self::Registry => "`docker-registry`",
            Self::Rclone => "`rclone`, as `.ci/run` installs it",
            Self::Moto => "`moto_server`, as `.ci/run` installs it",
            Self::Skopeo => "`skopeo`",
            Self::B3sum => "`b3sum`",
            Self::Git => "`git`",
            Self::Mount => "the right to mount",
            Self::Node => "`node` 18 or newer",
            Self::Prometheus => "the Python package `prometheus_client`",
            Self::Curl => "`curl`",
            Self::HuggingFace => "the Python package `huggingface_hub`, as `.ci/run` installs it",
            Self::Nginx => "`nginx`",
            Self::Openssl => "`openssl`",
            Self::Gnutls => "`gnutls-cli`",
            Self::Go => "`go`",
            Self::Rustup => "`rustup`",
            Self::Ssh => "OpenSSH's `ssh-agent`, `ssh-add` and `ssh-keygen`",
            Self::Strace => "`strace`, with the right to trace",
            Self::CacheTests => "the npm package `http-cache-tests`, as `.ci/run` installs it",
            Self::Base => "a base image's tar in `LARDER_TEST_BASE`",
            Self::ClientBase => "a root with clients of packages in `LARDER_TEST_CLIENT_BASE`",
            Self::DnfBase => "a root with dnf in `LARDER_TEST_DNF_BASE`",
            Self::OldBase => "an older root's tar in `LARDER_TEST_OLD_BASE`, as root",
            Self::Release => "what `cargo xtask dist` made, in `LARDER_TEST_RELEASE`",
            Self::Python => "`python3` with `venv`",
            Self::Yaml => "the Python package `yaml`",
            Self::Just => "`just`",
            Self::Containerd => "`containerd` with `ctr`",
            Self::Umoci => "`umoci`",
            Self::QemuImg => "`qemu-img` with `qemu-io`",
            Self::GitLfs => "`git-lfs`",
            Self::Script => "`script`",
            Self::Pip => "`pip`, as `.ci/run` installs it",
            Self::Uv => "`uv`, as `.ci/run` installs it",
            Self::Npm => "`npm`, as `.ci/run` installs it",
            Self::Pnpm => "`pnpm`, as `.ci/run` installs it",
            Self::YarnClassic => "`yarn` 1, as `.ci/run` installs it",
            Self::Yarn => "`yarn` 4, as `.ci/run` installs it",
            Self::Gnupg => "`gpg` with its agent",
            Self::Apt => "`apt-get` with `dpkg-deb`, `apt-ftparchive` and `gpg`",
            Self::Dnf => "`dnf` with `rpmbuild`, `createrepo_c` and `gpg`",
            Self::Cargo => "`cargo`, in `CARGO`, with `rustc` beside it",
            Self::DockerCompose => "`docker-compose`",
            Self::PodmanCompose => "`podman-compose`, as `.ci/run` installs it",
        })
    }
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.env("PATH", tools::path());
    let status = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout == b"0\n")
}
