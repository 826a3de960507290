//! What stored images taught about their layers, kept in the store.
//!
//! A save wants to know each stored layer by its diffID, and that stands in the manifests and
//! configs of all images: with 50,000 keys, reading them takes seconds. What a document says is
//! named by its digest and never changes, so it is noted once there are enough that were not. Which
//! keys there are is never taken from here.
//!
//! Limit: like `.proved`, the file is believed.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use storekit::files::replace::{self, Durability};
use storekit::{Descriptor, Digest, Store};

use crate::format::oci::annotation;

/// The file in the store. Derived and local: it may go at any time.
const FILE: &str = ".layers";
const CAP: u64 = 256 << 20;
const VERSION: &str = "# layers 1\n";
const END: &str = "# end\n";
/// Fewer images than this are read as quickly as a file of notes is written.
const WORTH: usize = 256;

/// A layer's diffID, and the blob that has it.
pub(crate) type Taught = (Digest, Descriptor);

/// The layers below documents that were read, now or before.
#[derive(Debug, Default)]
pub(crate) struct Learnt {
    layers: Vec<Taught>,
    numbers: HashMap<(Digest, Digest), usize>,
    roots: HashMap<Digest, Vec<usize>>,
    /// How many of the roots are not in the file.
    fresh: usize,
}

impl Learnt {
    /// Reads the notes. Those that cannot be read teach nothing.
    pub(crate) fn read(store: &Store) -> Self {
        let bytes = replace::read_capped(&store.root().join(FILE), CAP).ok().flatten().unwrap_or_default();
        std::str::from_utf8(&bytes).ok().and_then(parse).unwrap_or_default()
    }

    /// The numbers of the layers below a document.
    pub(crate) fn below(&self, root: &Digest) -> Option<&[usize]> {
        self.roots.get(root).map(Vec::as_slice)
    }

    /// A layer by its number.
    pub(crate) fn layer(&self, number: usize) -> Option<&Taught> {
        self.layers.get(number)
    }

    /// Takes in what a document taught. Returns the numbers of its layers.
    pub(crate) fn teach(&mut self, root: Digest, layers: Vec<Taught>) -> Vec<usize> {
        let can_be_noted = layers.iter().all(|(_, layer)| layer.media_type.bytes().all(is_graphic));
        let numbers: Vec<_> = layers.into_iter().map(|layer| self.number(layer)).collect();
        if can_be_noted {
            self.roots.insert(root, numbers.clone());
            self.fresh += 1;
        }
        numbers
    }

    /// The number of a layer.
    pub(crate) fn number(&mut self, layer: Taught) -> usize {
        let next = self.layers.len();
        let number = *self.numbers.entry((layer.0, layer.1.digest)).or_insert(next);
        if number == next {
            self.layers.push(layer);
        }
        number
    }

    /// Writes the notes on the documents that are `listed` still, where so much is new that this is
    /// worth its time.
    pub(crate) fn keep(&self, store: &Store, listed: &HashSet<Digest>) {
        if self.fresh < WORTH.max(self.roots.len() / 32) {
            return;
        }
        let text = self.text(listed);
        if text.len() as u64 <= CAP {
            // A store that cannot be written to is read through again.
            let _ = replace::replace(&store.root().join(FILE), text.as_bytes(), Durability::Unsynced);
        }
    }

    fn text(&self, listed: &HashSet<Digest>) -> String {
        let (mut text, mut layers_of) = (VERSION.to_owned(), String::new());
        let mut numbers = HashMap::new();
        for (root, below) in self.roots.iter().filter(|(root, _)| listed.contains(root)) {
            let _ = write!(layers_of, "R {}", root.hex());
            for number in below {
                let next = numbers.len();
                let own = *numbers.entry(*number).or_insert(next);
                if own == next
                    && let Some(layer) = self.layer(*number)
                {
                    write_layer(&mut text, layer);
                }
                let _ = write!(layers_of, " {own}");
            }
            layers_of.push('\n');
        }
        text + &layers_of + END
    }
}

fn is_graphic(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

fn write_layer(text: &mut String, (diff_id, layer): &Taught) {
    let size = layer.annotations.get(annotation::PLAIN_SIZE);
    let plain = size.filter(|size| size.parse::<u64>().is_ok()).map_or("-", String::as_str);
    let (diff_id, digest) = (diff_id.hex(), layer.digest.hex());
    let _ = writeln!(text, "L {diff_id} {digest} {} {plain} {}", layer.size, layer.media_type);
}

/// All of it, or nothing: half a line may say something else.
fn parse(text: &str) -> Option<Learnt> {
    let mut learnt = Learnt::default();
    for line in text.strip_prefix(VERSION)?.strip_suffix(END)?.lines() {
        match line.split_at_checked(2)? {
            ("L ", layer) => {
                let layer = parse_layer(layer)?;
                learnt.numbers.insert((layer.0, layer.1.digest), learnt.layers.len());
                learnt.layers.push(layer);
            }
            ("R ", root) => {
                let mut words = root.split(' ');
                let root = Digest::from_hex(words.next()?)?;
                let below: Vec<usize> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
                below.iter().all(|number| *number < learnt.layers.len()).then_some(())?;
                learnt.roots.insert(root, below);
            }
            _ => return None,
        }
    }
    Some(learnt)
}

fn parse_layer(line: &str) -> Option<Taught> {
    let mut words = line.split(' ');
    let (diff_id, digest) = (Digest::from_hex(words.next()?)?, Digest::from_hex(words.next()?)?);
    let (size, plain) = (words.next()?.parse().ok()?, words.next()?);
    let mut layer = Descriptor::new(words.next()?, digest, size);
    if plain != "-" {
        plain.parse::<u64>().ok()?;
        layer.annotations.insert(annotation::PLAIN_SIZE.to_owned(), plain.to_owned());
    }
    Some((diff_id, layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, plain: Option<&str>) -> Taught {
        let mut layer = Descriptor::new("application/x.tar+zstd", Digest::of(name.as_bytes()), 7);
        layer.annotations.extend(plain.map(|plain| (annotation::PLAIN_SIZE.to_owned(), plain.to_owned())));
        (Digest::of(format!("plain {name}").as_bytes()), layer)
    }

    fn taught() -> (Learnt, [Digest; 2]) {
        let mut learnt = Learnt::default();
        let roots = [Digest::of(b"one"), Digest::of(b"two")];
        learnt.teach(roots[0], vec![layer("base", Some("100")), layer("top", None)]);
        learnt.teach(roots[1], vec![layer("base", Some("100"))]);
        (learnt, roots)
    }

    fn below(learnt: &Learnt, root: &Digest) -> Option<Vec<Taught>> {
        let numbers = learnt.below(root)?;
        Some(numbers.iter().map(|number| learnt.layer(*number).unwrap().clone()).collect())
    }

    #[test]
    fn what_was_learnt_is_read_as_it_was_written() {
        let (learnt, roots) = taught();
        let again = parse(&learnt.text(&HashSet::from(roots))).unwrap();
        for root in &roots {
            assert_eq!(below(&again, root), below(&learnt, root));
        }
        assert_eq!(again.layers.len(), 2);
        let less = parse(&learnt.text(&HashSet::from([roots[1]]))).unwrap();
        assert_eq!(below(&less, &roots[1]), below(&learnt, &roots[1]));
        assert_eq!((less.layers.len(), less.roots.len()), (1, 1));
    }

    #[test]
    fn notes_that_are_cut_off_or_wrong_teach_nothing() {
        let (learnt, roots) = taught();
        let text = learnt.text(&HashSet::from(roots));
        for length in 0..text.len() {
            assert!(parse(&text[..length]).is_none(), "{length} bytes");
        }
        for (right, wrong) in
            [("L ", "X "), (" 100 ", " x 7 "), ("R ", "R x"), (" 0\n", " 9\n"), ("\nR", "\n\nR")]
        {
            assert!(text.contains(right), "{right}");
            assert!(parse(&text.replace(right, wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_type_that_no_line_can_hold_is_not_noted() {
        let mut learnt = Learnt::default();
        let mut odd = layer("odd", None);
        odd.1.media_type = "a\nb".to_owned();
        let root = Digest::of(b"root");
        assert_eq!(learnt.teach(root, vec![odd]), [0]);
        assert!(learnt.below(&root).is_none());
    }
}
