//! Debian's docker-registry, as one of a test's own.

use std::fs;
use std::process::Command;

use camino::Utf8Path;

use super::quiet::QuietServer;

/// A running docker-registry, killed when dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    server: QuietServer,
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
        fs::create_dir_all(folder).expect("a folder");
        let file = folder.join("config.yml");
        let server = QuietServer::start(|host| {
            let config = format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {folder}/data}}{storage}}}\nhttp: {{addr: '{host}', secret: x{tls}}}\n{auth}\n"
            );
            crate::write(&file, config);
            let mut command = Command::new("docker-registry");
            command.args(["serve", file.as_str()]).env("PATH", crate::tools::path());
            command
        });
        Self { server }
    }

    /// Its address and port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// Kills it now.
    pub fn kill(&mut self) {
        self.server.kill();
    }
}
