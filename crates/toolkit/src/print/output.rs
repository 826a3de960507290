//! What a command writes to stdout, and what becomes of the command where nobody reads it any more.
//!
//! Data goes to stdout, everything else to stderr.

use std::fmt;
use std::io::{self, StdoutLock, Write};

use serde::Serialize;
use storekit::printable;

/// What becomes of a command whose reader has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// It ends, with exit code 0: the reader has all that it wanted.
    Ends,
    /// It goes on unheard, and ends with its own exit code.
    GoesOn,
}

/// Stdout, or another writer in tests.
#[derive(Debug)]
pub struct Output<W = StdoutLock<'static>> {
    to: W,
    unread: Unread,
    is_unread: bool,
}

impl Output {
    /// For a command that only prints what is there. Where the reader goes, the next write is an
    /// error for which [`crate::finish`] exits 0.
    #[must_use]
    pub fn listing() -> Self {
        Self::new(io::stdout().lock(), Unread::Ends)
    }

    /// For a command that changes something or gives a verdict. Where the reader goes, what is
    /// written from then on is dropped, and the command ends as it would have.
    #[must_use]
    pub fn report() -> Self {
        Self::new(io::stdout().lock(), Unread::GoesOn)
    }
}

impl<W: Write> Output<W> {
    /// As [`Output::report`], to another writer.
    #[must_use]
    pub fn report_to(to: W) -> Self {
        Self::new(to, Unread::GoesOn)
    }

    fn new(to: W, unread: Unread) -> Self {
        Self { to, unread, is_unread: false }
    }

    /// Writes one JSON object on a line of its own.
    ///
    /// # Errors
    /// I/O errors; a value that JSON cannot hold.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        json_line(self, value)
    }

    /// What a write or a flush ended with, where the reader's going is `unread`'s matter.
    fn judged<T>(&mut self, result: io::Result<T>, dropped: T) -> io::Result<T> {
        match (result, self.unread) {
            (Err(error), Unread::Ends) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone))
            }
            (Err(error), Unread::GoesOn) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_unread = true;
                Ok(dropped)
            }
            (result, _) => result,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_unread {
            return Ok(bytes.len());
        }
        let written = self.to.write(bytes);
        self.judged(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_unread {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.judged(flushed, ())
    }
}

/// Writes one JSON object on a line of its own. Control characters can only be in its strings, and
/// are escaped there: JSON does so up to U+001F, and a terminal obeys those from U+007F on as well.
///
/// # Errors
/// I/O errors; a value that JSON cannot hold.
pub fn json_line(to: &mut (impl Write + ?Sized), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(value)?;
    if line.contains(char::is_control) {
        line = line.chars().fold(String::with_capacity(line.len()), escaped);
    }
    line.push('\n');
    to.write_all(line.as_bytes())
}

fn escaped(mut text: String, next: char) -> String {
    if next.is_control() {
        // A string takes all that is written to it.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("\\u{:04x}", u32::from(next)));
    } else {
        text.push(next);
    }
    text
}

/// Says a line on stderr; control characters are shown, not sent to the terminal.
pub fn say(line: &str) {
    say_to(&mut io::stderr(), line);
}

/// Says that something is not as it should be, and that the command goes on.
pub fn warn(line: &str) {
    warn_to(&mut io::stderr(), line);
}

/// As [`say`], on what a library was given as its stderr.
pub fn say_to(err: &mut dyn Write, line: &str) {
    // Where stderr is closed, a message is lost.
    let _ = writeln!(err, "{}", printable(line));
}

/// As [`warn`], on what a library was given as its stderr.
pub fn warn_to(err: &mut dyn Write, line: &str) {
    say_to(err, &format!("warning: {line}"));
}

/// The reader of a listing has closed its end. Other broken pipes, an engine's or a network's, are
/// trouble.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of the output has gone")
    }
}

impl std::error::Error for ReaderGone {}

/// Whether the error is that the reader of a listing has gone.
pub(crate) fn is_reader_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<ReaderGone>() || inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<ReaderGone>)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one write, then nobody reads.
    struct Closing(Vec<u8>);

    impl Write for Closing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.0.is_empty() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_listing_ends_with_its_reader() {
        let mut out = Output::new(Closing(Vec::new()), Unread::Ends);
        out.write_all(b"one\n").unwrap();
        let error = out.write_all(b"two\n").unwrap_err();
        assert!(is_reader_gone(&error), "{error:?}");
        assert!(!is_reader_gone(&io::Error::from(io::ErrorKind::BrokenPipe)), "an engine's pipe");
    }

    #[test]
    fn a_report_goes_on_without_its_reader() {
        let mut out = Output::new(Closing(Vec::new()), Unread::GoesOn);
        for line in ["one\n", "two\n", "three\n"] {
            out.write_all(line.as_bytes()).unwrap();
            out.flush().unwrap();
        }
        assert_eq!(out.to.0, b"one\n");
    }

    #[test]
    fn json_has_no_control_character() {
        let mut line = Vec::new();
        json_line(&mut line, &"ä\u{1b}\u{7f}\u{9b}31m").unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), "\"ä\\u001b\\u007f\\u009b31m\"\n");
    }

    #[test]
    fn other_failures_are_errors_of_both() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for unread in [Unread::Ends, Unread::GoesOn] {
            assert!(Output::new(Full, unread).write_all(b"x").is_err());
        }
    }
}
