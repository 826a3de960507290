//! An object store of a test's own: `rclone serve s3`, over a folder.
//!
//! Limit: what changes in the folder by other means is seen by the next one that is started on it.

use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use super::quiet::QuietServer;

/// The account that may do everything.
pub const ACCESS_KEY: &str = "LARDERTEST";
/// Its secret.
pub const SECRET_KEY: &str = "a-secret-of-the-test";
/// The one bucket.
const BUCKET: &str = "larder";

/// A running `rclone serve s3`, killed when dropped.
#[derive(Debug)]
pub struct Rclone {
    server: QuietServer,
    folder: Utf8PathBuf,
}

impl Rclone {
    /// Starts one with its bucket below the folder, and waits until it answers.
    #[must_use]
    pub fn start(folder: &Utf8Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same, with more flags.
    #[must_use]
    pub fn start_with(folder: &Utf8Path, flags: &[&str]) -> Self {
        fs::create_dir_all(folder.join(BUCKET)).expect("a folder");
        let server = QuietServer::start(|host| {
            let mut command = Command::new("rclone");
            command.args(["--config", "/dev/null", "serve", "s3", "--addr", host]).args(flags);
            command.args(["--auth-key", &format!("{ACCESS_KEY},{SECRET_KEY}"), folder.as_str()]);
            command.env("PATH", crate::tools::path());
            command
        });
        Self { server, folder: folder.to_owned() }
    }

    /// Its address and port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// The bucket's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{BUCKET}", self.host())
    }

    /// Where an object of the bucket is on disk.
    #[must_use]
    pub fn object(&self, name: &str) -> Utf8PathBuf {
        self.folder.join(BUCKET).join(name)
    }
}
