//! An object store of a test's own: `rclone serve s3`, over a folder.
//!
//! Limit: what changes in the folder by other means is seen by the next one that is started on it.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{http, until};

/// The account that may do everything.
pub const ACCESS_KEY: &str = "LARDERTEST";
/// Its secret.
pub const SECRET_KEY: &str = "a-secret-of-the-test";
/// The one bucket.
const BUCKET: &str = "larder";

/// A running `rclone serve s3`, killed when dropped.
#[derive(Debug)]
pub struct Rclone {
    child: Child,
    host: String,
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
        let host = http::free_address().to_string();
        fs::create_dir_all(folder.join(BUCKET)).expect("a folder");
        let mut command = Command::new("rclone");
        command.args(["--config", "/dev/null", "serve", "s3", "--addr", &host]).args(flags);
        command.args(["--auth-key", &format!("{ACCESS_KEY},{SECRET_KEY}"), folder.as_str()]);
        command.env("PATH", crate::tools::path());
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().expect("rclone");
        let server = Self { child, host, folder: folder.to_owned() };
        // It tells nobody when it is ready.
        until("the object store answers", || TcpStream::connect(&server.host).is_ok());
        server
    }

    /// Its address and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The bucket's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{BUCKET}", self.host)
    }

    /// Where an object of the bucket is on disk.
    #[must_use]
    pub fn object(&self, name: &str) -> Utf8PathBuf {
        self.folder.join(BUCKET).join(name)
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
