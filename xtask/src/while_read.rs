//! A report whose reader may leave: `bake | head -1` does its whole work, and ends as that
//! deserves.

use std::io::{self, ErrorKind, Write};

/// Hands on what is written, until nobody reads it any more; what comes then is dropped without an
/// error.
#[derive(Debug)]
pub(crate) struct WhileRead<W> {
    out: W,
}

impl<W: Write> WhileRead<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.out.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_left_is_no_trouble() {
        let ends = |kind| {
            let mut out = WhileRead::new(Fails(kind));
            writeln!(out, "line").and_then(|()| out.flush()).map_err(|error| error.kind())
        };
        assert_eq!(ends(ErrorKind::BrokenPipe), Ok(()));
        assert_eq!(ends(ErrorKind::StorageFull), Err(ErrorKind::StorageFull));
    }
}
