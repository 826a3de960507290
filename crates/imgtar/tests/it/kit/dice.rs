//! Made-up input: bytes, JSON documents, tars and archives that are nearly right. What falls is
//! given by a seed.
//!
//! `LARDER_FUZZ_SEED` and `LARDER_FUZZ_ROUNDS` set other seeds and longer runs.

use serde_json::{Value, json};
use storekit::Digest;
use tar::{EntryType, Header};

use crate::kit::tars::{config, descriptor, gzip, layer, zstd};

/// Where chance comes from.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// Bytes with some of them changed, removed, doubled, or cut off.
    pub(crate) fn hurt(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let to = (at + 1 + self.below(64)).min(bytes.len());
            match self.below(6) {
                0 => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..to)),
                4 => bytes.splice(at..at, bytes[at..to].to_vec()).for_each(drop),
                _ => bytes.insert(at, b"{}[],:\"0\0\xff"[self.below(10)]),
            }
        }
    }

    /// A value that no writer means.
    fn odd(&mut self) -> Value {
        match self.below(16) {
            0 => json!(null),
            1 => json!(-1),
            2 => json!(u64::MAX),
            3 => json!(1e300),
            4 => json!(""),
            5 => json!([]),
            6 => json!({}),
            7 => json!("sha256:"),
            8 => json!(format!("sha512:{}", "0".repeat(128))),
            9 => json!(Digest::of(b"absent")),
            10 => json!("../../../etc/passwd"),
            11 => json!("\u{0}\u{1b}[31m"),
            12 => json!("x".repeat(300)),
            13 => json!(["/abs", "a\u{0}b", ".."]),
            14 => json!(true),
            _ => json!(9_007_199_254_740_993_u64),
        }
    }

    /// A document with some of its values gone, odd, or in another's place. Few are hurt in their
    /// text.
    pub(crate) fn document(&mut self, document: &Value) -> Vec<u8> {
        let mut document = document.clone();
        for _ in 0..self.below(4) {
            let mut paths = Vec::new();
            places(&document, "", &mut paths);
            let path = paths[self.below(paths.len())].clone();
            let odd = match self.below(4) {
                0 => document.pointer(&paths[self.below(paths.len())]).cloned().unwrap_or_default(),
                _ => self.odd(),
            };
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
            match document.pointer_mut(parent) {
                Some(Value::Object(fields)) if self.once_in(3) => drop(fields.remove(name)),
                Some(Value::Array(items)) if !items.is_empty() && self.once_in(2) => {
                    let item = items[self.below(items.len())].clone();
                    items.insert(self.below(items.len()), item);
                }
                _ => *document.pointer_mut(&path).unwrap() = odd,
            }
        }
        let mut bytes = document.to_string().into_bytes();
        if self.once_in(16) {
            self.hurt(&mut bytes);
        }
        bytes
    }

    /// An entry of a tar: its name, its kind, where it leads, what it holds.
    fn entry(&mut self, names: &[&str]) -> Vec<u8> {
        let odd = ["", "/", ".", "..", "../x", "/etc/passwd", "a/../../x", "./a", "a//b", "\u{fc}", "a\0b"];
        let mut name = self.of(names).as_bytes().to_vec();
        if self.once_in(6) {
            name = self.of(&odd).as_bytes().to_vec();
        }
        let target = if self.once_in(3) { self.of(&odd) } else { self.of(names) };
        let kinds = b"00000000012345567xgLKSMV\0";
        let kind = EntryType::new(kinds[self.below(kinds.len())]);
        let holds = if kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            self.records(target)
        } else {
            vec![b'z'; self.below(3) * 700 % 1500]
        };
        let mut header = if self.once_in(3) { Header::new_ustar() } else { Header::new_gnu() };
        let bytes = header.as_mut_bytes();
        let length = name.len().min(100);
        bytes[..length].copy_from_slice(&name[..length]);
        let length = target.len().min(100);
        bytes[157..157 + length].copy_from_slice(&target.as_bytes()[..length]);
        header.set_entry_type(kind);
        header.set_mode([0o644, 0o755, 0o4755, 0o7777][self.below(4)]);
        header.set_size(if self.once_in(12) { 1 << self.below(63) } else { holds.len() as u64 });
        if self.once_in(10) {
            // Any byte of the header, under a sum that is right.
            let at = self.below(512);
            header.as_mut_bytes()[at] = u8::try_from(self.below(256)).unwrap();
        }
        header.set_cksum();
        let mut entry = header.as_bytes().to_vec();
        entry.extend(&holds);
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    }

    fn records(&mut self, target: &str) -> Vec<u8> {
        let mut records = Vec::new();
        for _ in 0..=self.below(3) {
            let names =
                ["size", "path", "linkpath", "mtime", "uid", "GNU.sparse.major", "SCHILY.xattr.user.a", ""];
            let values = ["", "0", "512", "-1", "99999999999999999999", "1.5", "/x", "../x", target];
            let line = format!(" {}={}\n", self.of(&names), self.of(&values));
            let length = line.len() + if self.once_in(8) { self.below(300) } else { 2 };
            records.extend(format!("{length}{line}").bytes());
        }
        records
    }

    /// A layer's tar, of files, folders, links, whiteouts, and what is none of these.
    pub(crate) fn tar(&mut self) -> Vec<u8> {
        let names =
            ["a", "a/b", "a/b/c", "d", "d/e", "a/.wh.b", ".wh.d", "a/.wh..wh..opq", ".wh.", "f", "d/.."];
        let mut tar = layer("first", "content");
        tar.truncate(1024);
        for _ in 0..self.below(8) {
            tar.extend(self.entry(&names));
        }
        tar.extend([0; 1024]);
        if self.once_in(12) {
            self.hurt(&mut tar);
        }
        tar
    }

    /// Bytes in one of the forms that layers come in, or nearly.
    fn packed(&mut self, plain: &[u8]) -> (&'static str, Vec<u8>) {
        let at = self.below(plain.len());
        let (form, mut bytes) = match self.below(8) {
            0 | 1 => ("", plain.to_vec()),
            2 | 3 => ("+gzip", gzip(plain)),
            4 | 5 => ("+zstd", zstd(plain)),
            6 => ("+gzip", [gzip(&plain[..at]), gzip(&plain[at..])].concat()),
            _ => ("+zstd", [zstd(&plain[..at]), zstd(&plain[at..])].concat()),
        };
        if self.once_in(12) {
            self.hurt(&mut bytes);
        }
        (if self.once_in(12) { self.of(&["", "+gzip", "+zstd", "+x"]) } else { form }, bytes)
    }

    /// An archive of both kinds, of one image or several.
    pub(crate) fn archive(&mut self) -> Vec<u8> {
        let mut blobs: Vec<Vec<u8>> = Vec::new();
        let mut listed = Vec::new();
        let mut saved = Vec::new();
        for _ in 0..=self.below(2) {
            let (media_type, document, entry) = self.image(&mut blobs);
            listed.push(descriptor(media_type, &document));
            blobs.push(document);
            saved.push(entry);
        }
        if self.once_in(3) {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
            let bytes = self.document(&index);
            listed = vec![descriptor(INDEX, &bytes)];
            blobs.push(bytes);
        }
        let mut entries: Vec<(String, Vec<u8>)> =
            blobs.iter().map(|bytes| (crate::kit::tars::blob(bytes), bytes.clone())).collect();
        if !self.once_in(3) {
            let index = json!({ "schemaVersion": 2, "manifests": listed });
            entries.push(("index.json".to_owned(), self.document(&index)));
        }
        if self.once_in(2) {
            entries.push(("manifest.json".to_owned(), self.document(&json!(saved))));
        }
        self.written(entries)
    }

    /// The blobs of an image. Returns its manifest, and what a `manifest.json` says of it.
    fn image(&mut self, blobs: &mut Vec<Vec<u8>>) -> (&'static str, Vec<u8>, Value) {
        let plain: Vec<Vec<u8>> = (0..self.below(3)).map(|_| self.tar()).collect();
        let plain: Vec<&[u8]> = plain.iter().map(Vec::as_slice).collect();
        let forms: Vec<_> = plain.iter().map(|plain| self.packed(plain)).collect();
        let config = self.document(&config(&plain));
        let of = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<_> =
            forms.iter().map(|(form, bytes)| descriptor(&format!("{of}{form}"), bytes)).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config) });
        let entries: Vec<_> = forms.iter().map(|(_, bytes)| crate::kit::tars::blob(bytes)).collect();
        let saved =
            json!({ "Config": crate::kit::tars::blob(&config), "RepoTags": ["app:1"], "Layers": entries });
        blobs.extend(forms.into_iter().map(|(_, bytes)| bytes));
        blobs.push(config);
        (MANIFEST, self.document(&manifest), saved)
    }

    /// The entries as a tar, in some order, with some of them missing or twice, and others between
    /// them.
    fn written(&mut self, mut entries: Vec<(String, Vec<u8>)>) -> Vec<u8> {
        let names: Vec<String> = entries.iter().map(|(name, _)| name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut tar = Vec::new();
        while !entries.is_empty() {
            let (name, bytes) = entries.swap_remove(self.below(entries.len()));
            match self.below(24) {
                0 => continue,
                1 => entries.push((name.clone(), bytes.clone())),
                2 | 3 => tar.extend(self.entry(&names)),
                _ => {}
            }
            tar.extend(crate::kit::tars::Tar::default().file(&name, bytes).cut());
        }
        tar.extend([0; 1024]);
        if self.once_in(8) {
            self.hurt(&mut tar);
        }
        let mut whole = match self.below(4) {
            0 => gzip(&tar),
            1 => zstd(&tar),
            _ => tar,
        };
        if self.once_in(16) {
            self.hurt(&mut whole);
        }
        whole
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The paths to all values of a document.
fn places(value: &Value, path: &str, into: &mut Vec<String>) {
    into.push(path.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            places(value, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), into);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| places(value, &format!("{path}/{at}"), into));
        }
        _ => {}
    }
}

/// The seed and the number of rounds of this run.
pub(crate) fn run(rounds: u64) -> (u64, u64) {
    let set = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    (set("LARDER_FUZZ_SEED").unwrap_or(7), set("LARDER_FUZZ_ROUNDS").unwrap_or(rounds))
}
