//! A containerd of a test's own.

use std::process::{Child, Stdio};

use camino::Utf8PathBuf;
use larder_tests::{Ran, signal, until};

use crate::kit::session::Session;

/// A process that is told to end, and waited for, when dropped.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            signal(&self.0, "TERM");
        }
        let _ = self.0.wait();
    }
}

pub(crate) struct Containerd {
    pub(crate) socket: Utf8PathBuf,
    _process: Ended,
}

impl Containerd {
    /// Starts one, and waits until it answers.
    pub(crate) fn start(session: &Session) -> Self {
        let at = |name: &str| session.path("containerd").join(name);
        let (root, state, socket) = (at("root"), at("state"), at("sock"));
        let text = format!(
            "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n"
        );
        let config = session.write("containerd/config.toml", text);
        let log = std::fs::File::create(at("log")).unwrap();
        let mut command = session.program("containerd");
        let mut child =
            command.args(["-c", config.as_str()]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        // It tells nobody when it is ready.
        until("containerd answers", || {
            let gone = child.try_wait().unwrap().is_some();
            assert!(!gone, "containerd ended: {}", std::fs::read_to_string(at("log")).unwrap());
            Ran::of(session.program("ctr").args(["-a", socket.as_str(), "version"])).code() == 0
        });
        Self { socket, _process: Ended(child) }
    }
}
