//! Credential helpers: programs `docker-credential-NAME` that keep what `docker login` was told.
//!
//! Source: docker-credential-helpers, "Development": `get` reads a server's name and answers with
//! JSON.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use serde::Deserialize;

use crate::error::registry::{Error, tame};
use crate::registry::auth::credentials::Credential;

/// A helper may ask its user something; it may not wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long its output may go on after it has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
const CAP: u64 = 64 << 10;
/// The user's name where the secret is an identity token.
const IDENTITY: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the helper of the name. `None`: it has nothing for the server.
///
/// # Errors
/// A name that is not valid; a program that is missing, fails, or does not end.
pub(crate) fn ask(name: &str, server: &str) -> Result<Option<Credential>, Error> {
    let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let program = format!("docker-credential-{name}");
    if !sound || name.is_empty() {
        return Err(failed(
            Utf8Path::new("credHelpers"),
            "a helper's name has characters that it may not have",
        ));
    }
    run(Utf8Path::new(&program), server)
}

pub(crate) fn run(program: &Utf8Path, server: &str) -> Result<Option<Credential>, Error> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = start(&mut command).and_then(|child| finish(child, server));
    let (success, said) = output.map_err(|error| failed(program, &error.to_string()))?;
    let text = String::from_utf8_lossy(&said);
    if !success {
        let unknown = ["not found", "no credentials", "not exist"].iter().any(|word| text.contains(word));
        return if unknown { Ok(None) } else { Err(failed(program, &tame(&text))) };
    }
    // The parser's own words may quote the secret.
    let given: Given =
        serde_json::from_slice(&said).map_err(|_| failed(program, "its answer is not understood"))?;
    let Given { username: user, secret: password } = given;
    Ok(match (user.as_str(), password.as_str()) {
        (_, "") => None,
        (IDENTITY, _) => Some(Credential::Identity(password)),
        _ => Some(Credential::Password { user, password }),
    })
}

fn failed(program: &Utf8Path, reason: &str) -> Error {
    Error::AuthFile { path: program.to_owned(), reason: reason.to_owned() }
}

/// A program that was written a moment ago may still be open for writing elsewhere.
fn start(command: &mut Command) -> io::Result<Child> {
    for _ in 0..20 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(20));
            }
            child => return child,
        }
    }
    command.spawn()
}

/// Tells it the server, and waits until it has answered and ended.
fn finish(mut child: Child, server: &str) -> io::Result<(bool, Vec<u8>)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        let read = stdout.map(|stdout| stdout.take(CAP).read_to_end(&mut said)).transpose();
        // Where this fails, the program is left to itself.
        let _ = tell.send(read.map(|_| said));
    });
    if let Some(mut stdin) = stdin {
        // One that needs no input may have closed it.
        let _ = writeln!(stdin, "{server}");
    }
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            // What it has started itself may keep its output open.
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "its output is too long");
            let said = told.recv_timeout(LAST_WORDS).map_err(late)??;
            return Ok((status.success(), said));
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end within a minute"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
