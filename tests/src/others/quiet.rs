//! A server of another project's that tells nobody when it is ready, at an address of a test's own.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::{http, until};

/// A running server that says nothing, killed when dropped.
#[derive(Debug)]
pub(crate) struct QuietServer {
    child: Child,
    host: String,
}

impl QuietServer {
    /// Starts the command for a free address and port, and waits until something answers there.
    pub(crate) fn start(command: impl FnOnce(&str) -> Command) -> Self {
        let host = http::free_address().to_string();
        let mut command = command(&host);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Self { child, host };
        until(format_args!("{} answers", command.get_program().display()), || {
            TcpStream::connect(&server.host).is_ok()
        });
        server
    }

    /// Its address and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Kills it now.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for QuietServer {
    fn drop(&mut self) {
        self.kill();
    }
}
