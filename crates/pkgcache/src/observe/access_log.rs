//! The access log: one JSON object a line, written by a thread of its own, so that no answer waits
//! for a disk.
//!
//! Limit: where lines come faster than they can be written, the newest are left out.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{self, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

use camino::Utf8Path;

use crate::error::{Error, Result};
use crate::observe::meter::Line;

/// Lines that wait to be written.
const WAITING: usize = 10_000;
/// At the end, the lines are waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Clone, Debug)]
pub struct AccessLog(SyncSender<Message>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// All that came before is written; whoever waits is told.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Appends to the file; `-` is stdout.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Utf8Path) -> Result<Self> {
        let out: Box<dyn Write + Send> = if path == "-" {
            Box::new(io::stdout())
        } else {
            let bad = |error: io::Error| Error::File { path: path.to_owned(), reason: error.to_string() };
            Box::new(OpenOptions::new().create(true).append(true).open(path).map_err(bad)?)
        };
        let (sender, lines) = mpsc::sync_channel(WAITING);
        let writer = thread::Builder::new().name("access-log".to_owned()).spawn(move || write(&lines, out));
        writer.map_err(|source| Error::System { doing: "start the access log's thread", source })?;
        Ok(Self(sender))
    }

    /// Appends a line.
    pub fn write(&self, line: &Line) {
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            let _ = self.0.try_send(Message::Line(text));
        }
    }

    /// Waits until the lines that came before are written.
    pub fn flush(&self) {
        let (sender, flushed) = mpsc::sync_channel(1);
        if self.0.send(Message::Flush(sender)).is_ok() {
            let _ = flushed.recv_timeout(PATIENCE);
        }
    }
}

/// Writes until nobody can send any more; flushes whenever there is nothing to do.
fn write(lines: &mpsc::Receiver<Message>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::new(out);
    loop {
        let message = match lines.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => out.flush().map_or(Err(mpsc::RecvError), |()| lines.recv()),
        };
        let written = match message {
            Err(mpsc::RecvError) => return,
            Ok(Message::Line(line)) => out.write_all(&line),
            Ok(Message::Flush(done)) => out.flush().map(|()| {
                // Who has lost patience is not told.
                let _ = done.try_send(());
            }),
        };
        if written.is_err() {
            return;
        }
    }
}
