//! A proxy of Go modules, and a checksum database with a key of its own.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_tests::http::{Reply, Site};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::served::hex;

type Hash = [u8; 32];

/// The name of the database; no server has it.
pub(crate) const NAME: &str = "sums.test";
/// A host of no machine, which the site answers for as a proxy.
pub(crate) const HOST: &str = "modules.test";
/// Records of other modules before the first one: more than a tile has.
const OTHERS: usize = 300;

/// Where modules come from, and what vouches for them.
pub(crate) struct Upstream {
    /// The proxy, and below `/db` the database; it is also a proxy of HTTP in front of itself.
    pub(crate) site: Site,
    key: Ed25519KeyPair,
    records: Vec<(String, String)>,
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

/// A sum as go.sum has it.
fn sum(files: &[(String, String)]) -> String {
    let mut files = files.to_vec();
    files.sort();
    let line = |(name, text): &(String, String)| format!("{}  {name}\n", hex(&sha256(text.as_bytes())));
    let lines: String = files.iter().map(line).collect();
    format!("h1:{}", STANDARD.encode(sha256(lines.as_bytes())))
}

fn zipped(files: &[(String, String)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// As it stands in paths: upper case is `!` and lower case.
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_ascii_uppercase() { vec!['!', c.to_ascii_lowercase()] } else { vec![c] })
        .collect()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1][..], left, right].concat())
}

fn root(leaves: &[Hash]) -> Hash {
    let [_, _, ..] = leaves else { return leaves[0] };
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    node(&root(left), &root(right))
}

impl Upstream {
    pub(crate) fn new() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let other = |at: usize| {
            let text = format!("other.test/m{at} v1.0.0 h1:{}\n", STANDARD.encode([0; 32]));
            (format!("other.test/m{at}@v1.0.0"), text)
        };
        Self { site: Site::new(), key, records: (0..OTHERS).map(other).collect() }
    }

    /// Puts a version of a module at the proxy; the database knows it unless it is private.
    pub(crate) fn release(
        &mut self,
        module: &str,
        version: &str,
        source: &str,
        needs: &str,
        is_public: bool,
    ) {
        let go_mod = format!("module {module}\n\ngo 1.19\n{needs}");
        let at = format!("{module}@{version}");
        let files = [(format!("{at}/go.mod"), go_mod.clone()), (format!("{at}/it.go"), source.to_owned())];
        let path = format!("/{}/@v", escaped(module));
        let info = format!("{{\"Version\":\"{version}\",\"Time\":\"2026-01-01T00:00:00Z\"}}");
        self.put(&format!("{path}/list"), format!("{version}\n"));
        self.put(&format!("/{}/@latest", escaped(module)), info.clone());
        self.put(&format!("{path}/{}.info", escaped(version)), info);
        self.put(&format!("{path}/{}.mod", escaped(version)), go_mod.clone());
        self.put(&format!("{path}/{}.zip", escaped(version)), zipped(&files));
        if is_public {
            let sums = (sum(&files), sum(&[("go.mod".to_owned(), go_mod)]));
            let record = format!("{module} {version} {}\n{module} {version}/go.mod {}\n", sums.0, sums.1);
            self.records.push((at, record));
        }
    }

    /// Puts a file at its path, and where it is asked for by a URL.
    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.site.put(&format!("http://{HOST}{path}"), bytes.clone());
        self.site.put(path, bytes);
    }

    /// Puts the database there, with all records so far.
    pub(crate) fn publish(&self) {
        let leaves: Vec<Hash> =
            self.records.iter().map(|(_, text)| sha256(&[&[0], text.as_bytes()].concat())).collect();
        let head = self.head(&leaves);
        self.put("/db/latest", head.clone());
        for (id, (at, record)) in self.records.iter().enumerate().skip(OTHERS) {
            self.put(&format!("/db/lookup/{}", escaped(at)), format!("{id}\n{record}\n{head}"));
        }
        let full: Vec<_> = leaves.chunks_exact(256).collect();
        for (at, tile) in full.iter().enumerate() {
            self.put(&format!("/db/tile/8/0/{at:03}"), tile.concat());
        }
        let rest = leaves.chunks_exact(256).remainder();
        self.put(&format!("/db/tile/8/0/{:03}.p/{}", full.len(), rest.len()), rest.concat());
        let above: Vec<_> = full.iter().map(|tile| root(tile)).collect();
        self.put(&format!("/db/tile/8/1/000.p/{}", above.len()), above.concat());
        // What has no record is not found.
        let missing = |_: &_| Reply {
            status: 404,
            fields: String::new(),
            body: b"not found: no such version\n".to_vec(),
        };
        self.site.script("/db/lookup/own.test/private@v1.0.0", missing);
    }

    fn head(&self, leaves: &[Hash]) -> String {
        let text = format!("go.sum database tree\n{}\n{}\n", leaves.len(), STANDARD.encode(root(leaves)));
        let (hash, _) = self.hash_and_key();
        let signature = [&hash[..], self.key.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} {NAME} {}\n", STANDARD.encode(signature))
    }

    fn hash_and_key(&self) -> (Vec<u8>, Vec<u8>) {
        let key = [&[1], self.key.public_key().as_ref()].concat();
        (sha256(&[NAME.as_bytes(), b"\n", &key].concat())[..4].to_vec(), key)
    }

    /// The database, as GOSUMDB has it.
    pub(crate) fn gosumdb(&self) -> String {
        let (hash, key) = self.hash_and_key();
        format!("{NAME}+{}+{}", hex(&hash), STANDARD.encode(key))
    }
}
