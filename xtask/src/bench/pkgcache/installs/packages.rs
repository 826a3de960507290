//! The packages: how many, how large, and what is in them.

use super::super::super::inputs::Noise;

/// How many there are.
pub(super) const COUNT: usize = 64;
/// The sizes of their content in KiB, in turn; every sixteenth is [`LARGE`].
const SIZES: [usize; 4] = [16, 32, 64, 144];
const LARGE: usize = 2048;

/// What an index says of its files, which never change.
pub(super) const FOR_EVER: &str = "cache-control: max-age=31536000, immutable";

/// One of them.
pub(super) struct Package {
    /// Valid for every kind of client.
    pub(super) name: String,
    /// What no compressor makes smaller.
    pub(super) content: Vec<u8>,
}

/// All of them; the same bytes each time.
pub(super) fn all() -> impl Iterator<Item = Package> {
    let mut noise = Noise::default();
    let sizes = SIZES.into_iter().cycle().enumerate();
    let sizes = sizes.map(|(number, size)| if number % 16 == 0 { LARGE } else { size });
    sizes.take(COUNT).enumerate().map(move |(number, size)| Package {
        name: format!("bench-{number:02}"),
        content: noise.take(size << 10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_many_and_some_are_large() {
        let sizes: Vec<_> = all().map(|package| package.content.len()).collect();
        assert_eq!((sizes.len(), sizes.iter().filter(|size| **size == LARGE << 10).count()), (COUNT, 4));
        assert_eq!(all().last().map(|package| package.name).as_deref(), Some("bench-63"));
    }
}
