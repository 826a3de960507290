//! The listener that is told how far a long piece of work has come. The library only counts; it
//! knows no terminal.

/// Is told of the bytes that were read.
pub trait Progress: Sync {
    /// How many bytes there are to be read, where that is known.
    fn expect(&self, bytes: u64);
    /// That so many more were read.
    fn add(&self, bytes: u64);
}

/// Shows nothing.
impl Progress for () {
    fn expect(&self, _: u64) {}
    fn add(&self, _: u64) {}
}
