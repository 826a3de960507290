//! The access log: one JSON object a line, written by a thread of its own, so that no answer waits
//! for a disk.
//!
//! Limit: where lines come faster than they can be written, the newest are left out; so they are
//! while the disk is full.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

use camino::Utf8Path;

use crate::error::{Error, Result};
use crate::observe::meter::Line;
use crate::outside::Outside;

/// Lines that wait to be written.
const WAITING: usize = 10_000;
/// What is written at once. No line is longer, so that none is written in parts.
const PIECE: usize = 128 << 10;
/// At the end, the lines are waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog(SyncSender<Message>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// All that came before is written; the caller that waits is told.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Appends to the file; `-` is stdout.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub(crate) fn open(path: &Utf8Path, outside: &Arc<dyn Outside>) -> Result<Self> {
        let out: Box<dyn Write + Send> = if path == "-" {
            outside.stdout()
        } else {
            let bad = |error: io::Error| Error::File { path: path.to_owned(), reason: error.to_string() };
            Box::new(OpenOptions::new().create(true).append(true).open(path).map_err(bad)?)
        };
        let (sender, lines) = mpsc::sync_channel(WAITING);
        let trouble = Trouble { outside: Arc::clone(outside), is_known: false, missing: 0 };
        let write = move || write(&lines, out, trouble);
        let writer = thread::Builder::new().name("access-log".to_owned()).spawn(write);
        writer.map_err(|source| Error::System { doing: "start the access log's thread", source })?;
        Ok(Self(sender))
    }

    /// Appends a line.
    pub(crate) fn write(&self, line: &Line) {
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            let _ = self.0.try_send(Message::Line(text));
        }
    }

    /// Waits until the lines that came before are written.
    pub(crate) fn flush(&self) {
        let (sender, flushed) = mpsc::sync_channel(1);
        if self.0.send(Message::Flush(sender)).is_ok() {
            let _ = flushed.recv_timeout(PATIENCE);
        }
    }
}

/// Writes until no sender is left; flushes whenever there is nothing to do. Goes on after
/// what cannot be written.
fn write(lines: &mpsc::Receiver<Message>, out: Box<dyn Write + Send>, mut trouble: Trouble) {
    let mut out = BufWriter::with_capacity(PIECE, out);
    loop {
        let message = match lines.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                trouble.note(&out.flush());
                lines.recv()
            }
        };
        match message {
            Err(mpsc::RecvError) => return,
            Ok(Message::Line(line)) => trouble.count(&out.write_all(&line)),
            Ok(Message::Flush(done)) => {
                trouble.note(&out.flush());
                // A caller that has lost patience is not told.
                let _ = done.try_send(());
            }
        }
    }
}

/// A log that cannot be written is said once, and once that it can be again.
struct Trouble {
    outside: Arc<dyn Outside>,
    is_known: bool,
    missing: u64,
}

impl Trouble {
    /// How a line went. One that stands in the buffer only says nothing about the file.
    fn count(&mut self, written: &io::Result<()>) {
        if written.is_err() {
            self.note(written);
            self.missing += 1;
        }
    }

    /// How the file took what there was.
    fn note(&mut self, written: &io::Result<()>) {
        match written {
            Err(error) if !self.is_known => {
                self.outside.warning(&format!("the access log cannot be written: {error}"));
                self.is_known = true;
            }
            Ok(()) if self.is_known => {
                let missing = std::mem::take(&mut self.missing);
                self.is_known = false;
                let text = format!("the access log is written again; lines that are missing: {missing}");
                self.outside.note(&text);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::tests::Nobody;
    use std::sync::Mutex;

    /// A disk, and whether it is full.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, is_full) = &mut *self.0.lock().unwrap();
            if *is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_does_not_end_the_log() {
        let disk = Disk::default();
        let (sender, lines) = mpsc::sync_channel(WAITING);
        let out = Box::new(disk.clone());
        let trouble = Trouble { outside: Arc::new(Nobody), is_known: false, missing: 0 };
        let writer = thread::spawn(move || write(&lines, out, trouble));
        let log = AccessLog(sender);
        let say = |text: &str| {
            log.0.send(Message::Line(format!("{text}\n").into_bytes())).unwrap();
            log.flush();
        };
        let large = "x".repeat(PIECE - 1);
        say("before");
        disk.0.lock().unwrap().1 = true;
        say("meanwhile");
        say(&large);
        disk.0.lock().unwrap().1 = false;
        say("after");
        drop(log);
        writer.join().unwrap();
        let written = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        assert_eq!(written, "before\nmeanwhile\nafter\n");
    }
}
