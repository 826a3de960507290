//! A server of a test's own, and the address at which it answers.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A running process, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Waits until the process, of which stdout and stderr are pipes, prints a line that ends in an
    /// address such as `http://127.0.0.1:1234`.
    ///
    /// # Panics
    /// Where it ends before, or says nothing for half a minute.
    #[must_use]
    pub fn new(mut child: Child) -> Self {
        let (tell, told) = mpsc::channel();
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        for pipe in pipes.into_iter().flatten() {
            let tell = tell.clone();
            // Reads on until the end: a server whose pipe is full stands still.
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        drop(tell);
        let mut said = String::new();
        loop {
            match told.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if address(&line).is_some() => {
                    return Self { child, url: address(&line).unwrap_or_default() };
                }
                Ok(line) => said.push_str(&(line + "\n")),
                Err(_) => {
                    let _ = child.kill();
                    panic!("the server does not say where it listens:\n{said}");
                }
            }
        }
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

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it now, in the middle of whatever it does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn address(line: &str) -> Option<String> {
    let url = line.split_whitespace().last()?.trim_end_matches('/');
    let port = url.strip_prefix("http://127.0.0.1:")?;
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
            ("http://127.0.0.1:81/x", None),
            ("http://127.0.0.1: ", None),
            ("", None),
        ] {
            assert_eq!(address(line).as_deref(), url, "{line}");
        }
    }
}
