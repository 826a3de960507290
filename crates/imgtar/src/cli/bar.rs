//! The progress bar of bytes that are read.

use imgtar::progress::Progress;

/// Where it is not known how many there are.
const ENDLESS: &str = "{decimal_bytes} {decimal_bytes_per_sec}";
const KNOWN: &str = "{wide_bar} {decimal_bytes}/{decimal_total_bytes} {eta}";

pub(crate) struct Bar(toolkit::bar::Bar);

impl Bar {
    pub(crate) fn new(quiet: bool) -> Self {
        Self(toolkit::bar::Bar::new(quiet, ENDLESS))
    }
}

impl Progress for Bar {
    fn expect(&self, bytes: u64) {
        self.0.look(KNOWN);
        self.0.expect(bytes);
    }

    fn add(&self, bytes: u64) {
        self.0.advance(bytes);
    }
}
