//! A command beside the work, whose failure changes nothing.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(20);
/// No more is read of what it prints, in bytes.
const MOST: u64 = 64 << 20;

/// What the command prints. `None` where it fails, or takes too long. A signal to the run does not
/// reach it.
///
/// # Errors
/// It cannot be started.
pub(crate) fn asked(command: &mut Command) -> io::Result<Option<Vec<u8>>> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
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
    let ended = child.wait();
    let said = reader.join().ok().and_then(Result::ok).unwrap_or_default();
    Ok(ended.is_ok_and(|status| status.success()).then_some(said))
}
