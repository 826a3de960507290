//! What the process lends to its library, which does not use it by itself.

use std::fmt;
use std::io::Write;

use camino::Utf8Path;

/// The process around the library: it takes messages for the operator, and lends stdout and the
/// authorities that upstreams are checked against.
pub trait Outside: fmt::Debug + Send + Sync {
    /// Something happened that was asked for. The text may contain control characters.
    fn note(&self, text: &str);

    /// Something went wrong that no client's answer tells. The text may contain control characters.
    fn warning(&self, text: &str);

    /// Stdout, for an access log that goes there.
    fn stdout(&self) -> Box<dyn Write + Send>;

    /// The certificates of the authorities that upstreams are checked against, in DER. It is called
    /// once, before the first connection with TLS.
    fn authorities(&self) -> Vec<Vec<u8>>;

    /// Something was fetched within the last minute: limits of the store may be exceeded. Does not
    /// wait.
    fn grown(&self, store: &Utf8Path);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Nobody listens.
    #[derive(Debug)]
    pub(crate) struct Nobody;

    impl Outside for Nobody {
        fn note(&self, _: &str) {}

        fn warning(&self, _: &str) {}

        fn stdout(&self) -> Box<dyn Write + Send> {
            Box::new(std::io::sink())
        }

        fn authorities(&self) -> Vec<Vec<u8>> {
            Vec::new()
        }

        fn grown(&self, _: &Utf8Path) {}
    }
}
