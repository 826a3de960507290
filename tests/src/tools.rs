//! The built tools: where they are, and building them where nobody else has.

use std::env;
use std::process::Command;
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

/// The folder with the tools, of the same profile as the tests. `cargo xtask test` names it in
/// `LARDER_TOOLS`; run otherwise, the tools are built first, once in each test program.
///
/// # Panics
/// Where they do not build.
pub fn folder() -> &'static Utf8Path {
    static FOLDER: OnceLock<Utf8PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| env::var("LARDER_TOOLS").map_or_else(|_| build(), Utf8PathBuf::from))
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
