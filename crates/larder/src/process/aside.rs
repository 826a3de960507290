//! A command beside the work, whose failure changes nothing.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(20);
/// No more is read of what it prints, in bytes.
const MOST: u64 = 64 << 20;

/// What the command prints; nothing where it fails to start, and what came till then where it takes
/// too long. A signal to the run does not reach it.
pub(crate) fn asked(command: &mut Command) -> Vec<u8> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Vec::new() };
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        stdout.map(|stdout| stdout.take(MOST).read_to_end(&mut said)).transpose().map(|_| said)
    });
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < LIMIT {
        thread::sleep(PAUSE);
    }
    // Neither can fail but for a child that has ended.
    let _ = child.kill();
    let _ = child.wait();
    reader.join().ok().and_then(Result::ok).unwrap_or_default()
}
