//! Where programs are found: the built tools, and those of the machine.
//!
//! A tool's own tests name it by `env!("CARGO_BIN_EXE_…")`, which cargo has built; all others run
//! what lies beside the test program, and build that where nobody else has.

use std::env;
use std::process::Command;
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

/// The folder with the tools, of the same profile as the tests. `cargo xtask test` names it in
/// `LARDER_TOOLS`; run otherwise, the tools are built first, once in each test program.
pub fn folder() -> &'static Utf8Path {
    static FOLDER: OnceLock<Utf8PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| env::var("LARDER_TOOLS").map_or_else(|_| build(), Utf8PathBuf::from))
}

/// Where the machine's programs are looked for, whatever the user's PATH says: the system's
/// folders, what `.ci/run` installs, and the folders in `LARDER_TEST_PATH`.
pub fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let system = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin".to_owned();
        let installed = cache().map(|folder| folder.join("python/bin").into_string());
        let more = env::var("LARDER_TEST_PATH").ok().filter(|path| !path.is_empty());
        [Some(system), installed, more].into_iter().flatten().collect::<Vec<_>>().join(":")
    })
}

/// Where `.ci/run` keeps what it made or fetched.
pub(crate) fn cache() -> Option<Utf8PathBuf> {
    let home = || env::var("HOME").map(|home| format!("{home}/.cache"));
    let cache = env::var("XDG_CACHE_HOME").or_else(|_| home()).ok()?;
    Some(Utf8PathBuf::from(cache).join("larder-ci"))
}

fn build() -> Utf8PathBuf {
    // The test program lies in target/PROFILE/deps.
    let exe = Utf8PathBuf::try_from(env::current_exe().expect("a program")).expect("UTF-8");
    let folder = exe.parent().and_then(Utf8Path::parent).expect("target/PROFILE").to_owned();
    let target = folder.parent().expect("target");
    let mut cargo = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--target-dir", target.as_str()]);
    if folder.file_name() == Some("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
    assert!(status.success(), "the tools do not build");
    folder
}
