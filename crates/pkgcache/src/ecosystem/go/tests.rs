//! Tests: against sums and heads that Go itself made, and trees that are hashed leaf by leaf.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use storekit::Digest;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::note::Key;
use super::sumdb::Sumdb;
use super::tiles::{FULL, Hash, Place, Tree, leaf, root_of};
use super::{dirhash, escaped, is_canonical, unescaped};

/// A database's key, with the half that signs.
pub(crate) struct Signer(Ed25519KeyPair);

const NAME: &str = "sums.example";

impl Signer {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
    }

    fn hash_and_key(&self) -> (Vec<u8>, Vec<u8>) {
        let key = [&[1], self.0.public_key().as_ref()].concat();
        let hash = Digest::of(&[NAME.as_bytes(), b"\n", &key].concat()).bytes()[..4].to_vec();
        (hash, key)
    }

    pub(crate) fn key(&self) -> String {
        let (hash, key) = self.hash_and_key();
        let hash = u32::from_be_bytes(hash.try_into().unwrap());
        format!("{NAME}+{hash:08x}+{}", STANDARD.encode(key))
    }

    pub(crate) fn signed(&self, text: &str) -> String {
        let signature = [self.hash_and_key().0, self.0.sign(text.as_bytes()).as_ref().to_vec()].concat();
        format!("{text}\n\u{2014} {NAME} {}\n", STANDARD.encode(signature))
    }
}

fn database() -> Sumdb {
    Sumdb::read(Some(&Signer::new().key()), &[]).unwrap().unwrap()
}

/// The answer to a lookup of the only version that there is.
pub(crate) fn answer() -> String {
    let sum = dirhash::text(&[1; 32]);
    let record = format!("a.example/B v1.0.0 {sum}\na.example/B v1.0.0/go.mod {sum}\n");
    let root = STANDARD.encode(leaf(record.as_bytes()));
    format!("0\n{record}\n{}", Signer::new().signed(&format!("go.sum database tree\n1\n{root}\n")))
}

#[test]
fn versions_and_paths_are_read_as_go_writes_them() {
    for version in [
        "v1.2.3",
        "v0.0.0-20200102030405-abcdefabcdef",
        "v2.0.0+incompatible",
        "v1.0.0-rc.1",
        "v0.0.1-go1.21.0.linux-amd64",
    ] {
        assert!(is_canonical(version), "{version}");
    }
    for version in
        ["v1", "v1.2", "1.2.3", "v1.2.3+meta", "v01.2.3", "v1.2.3-", "main", "v1.2.x", "v1.2.3.4", ""]
    {
        assert!(!is_canonical(version), "{version}");
    }
    assert_eq!(unescaped("github.com/!azure/x").as_deref(), Some("github.com/Azure/x"));
    assert_eq!(escaped("github.com/Azure/x"), "github.com/!azure/x");
    for wrong in ["Azure", "a!", "a!A", "a!!b", "a b", "é"] {
        assert_eq!(unescaped(wrong), None, "{wrong}");
    }
}

#[test]
fn a_tile_has_one_path() {
    for (path, level, number, width) in
        [("8/0/000", 0, 0, 256), ("8/1/067.p/3", 1, 67, 3), ("8/0/x001/x234/067", 0, 1_234_067, 256)]
    {
        assert_eq!(Place::read(path), Some(Place { level, number, width }), "{path}");
    }
    for wrong in [
        "",
        "8/0",
        "8/data/000",
        "4/0/000",
        "8/9/000",
        "8/0/0",
        "8/0/001.p/256",
        "8/0/001.p/0",
        "8/0/001.p/03",
        "8/0/x000/001",
        "8/0/x1/000",
        "8/00/000",
        "8/0/000/",
        "8/-1/000",
    ] {
        assert_eq!(Place::read(wrong), None, "{wrong}");
    }
}

/// RFC 6962, 2.1, word for word.
fn root(leaves: &[Hash]) -> Hash {
    let [_, _, ..] = leaves else { return leaves[0] };
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    *Digest::of(&[&[1][..], &root(left), &root(right)].concat()).bytes()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|at| leaf(format!("record {at}\n").as_bytes())).collect()
}

fn tile(leaves: &[Hash], place: Place) -> Vec<Hash> {
    let span = 1_usize << (8 * place.level);
    let first = usize::try_from(place.number * FULL).unwrap();
    (first..)
        .take(usize::try_from(place.width).unwrap())
        .map(|at| root_of(&leaves[at * span..(at + 1) * span]))
        .collect()
}

#[test]
fn the_edge_of_a_tree_belongs_to_its_root_alone() {
    for size in (1..=20).chain([255, 256, 257, 511, 512, 600, 65_536, 66_000]) {
        let leaves = leaves(size);
        let tree = Tree { size, root: root(&leaves) };
        let mut edge: Vec<_> = tree.edge().into_iter().map(|place| tile(&leaves, place)).collect();
        assert!(tree.has_edge(&edge), "{size}");
        for at in [0, size / 2, size - 1] {
            let place = tree.tile(0, at).unwrap();
            assert_eq!(
                tile(&leaves, place)[usize::try_from(at % FULL).unwrap()],
                leaves[usize::try_from(at).unwrap()]
            );
        }
        assert_eq!(tree.tile(0, size), None);
        let last = edge.last_mut().unwrap().first_mut().unwrap();
        last[0] ^= 1;
        assert!(!tree.has_edge(&edge), "{size}");
        assert!(!tree.has_edge(&[]) && !tree.has_edge(&edge[1..]), "{size}");
    }
    assert_eq!(Tree { size: 0, root: [0; 32] }.edge(), []);
}

#[test]
fn a_record_counts_only_with_the_databases_own_signature() {
    let (database, answer) = (database(), answer());
    let record = database.record(&answer).unwrap();
    assert_eq!((record.id, record.tree.size, record.leaf), (0, 1, record.tree.root));
    assert_eq!(record.sum("a.example/B", "v1.0.0", true), Some([1; 32]));
    for (module, version) in [("a.example/b", "v1.0.0"), ("a.example/B", "v1.0.1"), ("", "")] {
        assert_eq!(record.sum(module, version, false), None);
    }
    let twice = answer.replacen('\n', &format!("\na.example/B v1.0.0 {}\n", dirhash::text(&[2; 32])), 1);
    assert_eq!(database.record(&twice).unwrap().sum("a.example/B", "v1.0.0", false), None);
    for (from, to) in [
        ("tree\n1", "tree\n2"),
        ("0\n", "1\n"),
        ("v1.0.0 h1", "v1.0.0  h1"),
        ("\u{2014} sums", "\u{2014} other"),
        ("\n\n", "\n"),
    ] {
        assert!(database.record(&answer.replacen(from, to, 1)).is_err(), "{from:?}");
    }
    let other = Sumdb::read(None, &[]).unwrap().unwrap();
    assert!(other.record(&answer).is_err() && other.url == "https://sum.golang.org");
    assert!(database.record(&answer.replace("example ", "example A")).is_err());
}

#[test]
fn a_setting_is_what_gosumdb_has() {
    let read = |text: &str, without: &[&str]| {
        let without: Vec<_> = without.iter().map(|it| (*it).to_owned()).collect();
        Sumdb::read(Some(text), &without)
    };
    let key = Signer::new().key();
    let at = read(&format!("{key} http://127.0.0.1:1/db/"), &[]).unwrap().unwrap();
    assert_eq!((at.url.to_string(), at.key.name.as_str()), ("http://127.0.0.1:1/db".to_owned(), NAME));
    assert_eq!(read("off", &[]).unwrap(), None);
    for wrong in [
        "",
        "sums.example",
        "sums.example+00000000+AA==",
        &key.replace('+', "-"),
        &format!("{key} ftp://a"),
        &format!("{key} http://a b"),
        &key[..key.len() - 4],
    ] {
        assert!(read(wrong, &[]).is_err(), "{wrong}");
    }
    assert!(read(&key, &["[a]"]).is_err());
    let some = read(&key, &["own.example/*/x", "*.corp.example", "?.one"]).unwrap().unwrap();
    for (module, may) in [
        ("own.example/team/x/y", false),
        ("own.example/team", true),
        ("own.example/team/y", true),
        ("git.corp.example/a", false),
        ("corp.example", true),
        ("a.one", false),
        ("aa.one", true),
        ("x", true),
    ] {
        assert_eq!(some.may_know(module), may, "{module}");
    }
    assert!(Key::read(&key).is_some());
}

pub(crate) fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const FILES: [(&str, &str); 2] =
    [("a.example/b@v1.0.0/b.go", "package b\n"), ("a.example/b@v1.0.0/a.go", "package b // a\n")];

/// The text whose hash is the sum, as sha256sum would write it.
fn sum(files: &[(&str, &str)]) -> Hash {
    let mut lines: Vec<_> =
        files.iter().map(|(name, text)| (name, Digest::of(text.as_bytes()).hex())).collect();
    lines.sort();
    let text: String = lines.iter().flat_map(|(name, hex)| [hex, "  ", name, "\n"]).collect();
    *Digest::of(text.as_bytes()).bytes()
}

#[test]
fn a_zip_is_known_by_its_files() {
    let zip = zipped(&FILES);
    assert_eq!(dirhash::of_zip(&mut Cursor::new(&zip)), Ok(sum(&FILES)));
    assert_ne!(dirhash::of_zip(&mut Cursor::new(zipped(&FILES[..1]))), Ok(sum(&FILES)));
    // What go.sum has for a go.mod of this text.
    let text = "module example.test/alpha\n\ngo 1.19\n";
    assert_eq!(dirhash::of_mod(&mut text.as_bytes()), Ok(sum(&[("go.mod", text)])));
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    // Two names of one length, of which one becomes the other in the whole zip.
    let zip = zipped(&[("m@v1.0.0/a.go", "1"), ("m@v1.0.0/b.go", "2")]);
    let mut bytes = zip.clone();
    while let Some(at) = bytes.windows(6).position(|it| it == b"0/b.go") {
        bytes[at + 2] = b'a';
    }
    assert_ne!(bytes, zip);
    assert!(dirhash::of_zip(&mut Cursor::new(&bytes)).is_err());
    assert!(dirhash::of_zip(&mut Cursor::new(&zip[..zip.len() / 2])).is_err());
}
