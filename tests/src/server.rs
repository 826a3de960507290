//! A server of a test's own, and the address at which it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{http, signal, until};

/// A running process, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts it, and waits as [`Server::new`] does.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::new(piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Waits until the process, of which stdout and stderr are pipes, prints a line that ends in an
    /// address such as `http://127.0.0.1:1234`.
    #[must_use]
    pub fn new(mut child: Child) -> Self {
        let (tell, told) = mpsc::channel();
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        let read = |pipe| {
            let (tell, said) = (tell.clone(), Arc::clone(&said));
            // Reads on until the end: a server whose pipe is full stands still.
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    said.lock().unwrap_or_else(PoisonError::into_inner).extend([line.as_str(), "\n"]);
                    let _ = tell.send(line);
                }
            })
        };
        let readers = pipes.into_iter().flatten().map(read).collect();
        drop(tell);
        let mut server = Self { child, url: String::new(), said, readers };
        while server.url.is_empty() {
            match told.recv_timeout(Duration::from_secs(30)) {
                Ok(line) => server.url = address(&line).unwrap_or_default(),
                Err(error) => panic!("{error}: the server does not say where it listens:\n{}", server.said()),
            }
        }
        server
    }

    /// Where it answers, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A connection to it.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        http::connect(self.authority())
    }

    /// All that it has printed so far, on either stream.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn says(&self, text: &str) {
        until(format_args!("the server says {text:?}"), || self.said().contains(text));
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_some()
    }

    /// Waits for its end; its code, and nothing where a signal ended it. All that it said is there.
    pub fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().expect("a process").code();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        code
    }

    /// Kills it now, in the middle of whatever it does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it said is shown where the test fails.
impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.said());
        }
    }
}

fn address(line: &str) -> Option<String> {
    let url = line.split_whitespace().last()?.trim_end_matches('/');
    let port = ["http://127.0.0.1:", "http://[::1]:"].iter().find_map(|start| url.strip_prefix(start))?;
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_last_word() {
        for (line, url) in [
            ("Listening on http://127.0.0.1:80/", Some("http://127.0.0.1:80")),
            ("http://127.0.0.1:81", Some("http://127.0.0.1:81")),
            ("http://[::1]:81", Some("http://[::1]:81")),
            ("http://127.0.0.1:81/x", None),
            ("http://127.0.0.1: ", None),
            ("", None),
        ] {
            assert_eq!(address(line).as_deref(), url, "{line}");
        }
    }
}
