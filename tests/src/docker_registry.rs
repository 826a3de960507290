//! Debian's docker-registry, as one of a test's own.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use camino::Utf8Path;

use crate::{http, until};

/// A running docker-registry, killed when dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    host: String,
}

impl DockerRegistry {
    /// Starts one with its files below the folder, and waits until it answers.
    #[must_use]
    pub fn start(folder: &Utf8Path) -> Self {
        Self::start_with(folder, "", "")
    }

    /// The same, with more of its settings: `tls` stands below `http`, `auth` at the top.
    #[must_use]
    pub fn start_with(folder: &Utf8Path, tls: &str, auth: &str) -> Self {
        Self::start_by(folder, tls, auth, "")
    }

    /// One that deletes what it is asked to.
    #[must_use]
    pub fn start_deleting(folder: &Utf8Path) -> Self {
        Self::start_by(folder, "", "", ", delete: {enabled: true}")
    }

    fn start_by(folder: &Utf8Path, tls: &str, auth: &str, storage: &str) -> Self {
        let host = http::free_address().to_string();
        fs::create_dir_all(folder).expect("a folder");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {folder}/data}}{storage}}}\nhttp: {{addr: '{host}', secret: x{tls}}}\n{auth}\n"
        );
        let file = folder.join("config.yml");
        crate::write(&file, config);
        let mut command = Command::new("docker-registry");
        command.args(["serve", file.as_str()]).env("PATH", crate::tools::path());
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { child: quiet.spawn().expect("docker-registry"), host };
        // It tells nobody when it is ready.
        until("the registry answers", || TcpStream::connect(&registry.host).is_ok());
        registry
    }

    /// Its address and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Kills it now.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.kill();
    }
}
