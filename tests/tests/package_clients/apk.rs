//! Repositories of apk, by a client that asks as apk-tools 2 does: for each index with the date
//! that it has, and then for packages. What it gets has to be what the upstream has,
//! byte for byte. apk itself is not there to be tried.

use std::fs;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use larder_tests::http::{Answer, Site};
use larder_tests::{Part, Session, have};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use crate::columns::noise;
use crate::served::{Cache, hex, stored, verified};

const MAIN: &str = "/v3.22/main/x86_64";
const EDGE: &str = "/edge/main/x86_64";
const AGENT: &str = "user-agent: apk-tools/2.14.9\r\ncache-control: max-age=0\r\n";

/// A gzip member with a tar of this file, which has an end or not.
fn packed(name: &str, text: &[u8], ends: bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, text).unwrap();
    let bytes = if ends { tar.into_inner().unwrap() } else { tar.get_ref().clone() };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&bytes).unwrap();
    gzip.finish().unwrap()
}

fn hashed(algorithm: &'static Algorithm, bytes: &[u8]) -> Vec<u8> {
    digest(algorithm, bytes).as_ref().to_vec()
}

/// A package: its three members, and what an index says of it.
struct Package {
    name: &'static str,
    bytes: Vec<u8>,
    said: String,
}

impl Package {
    fn new(name: &'static str, content: &str) -> Self {
        let data = packed("usr/share/it", content.as_bytes(), true);
        let data_hash = hex(&hashed(&SHA256, &data));
        let info = format!("pkgname = {name}\npkgver = 1.0-r0\narch = x86_64\ndatahash = {data_hash}\n");
        let control = packed(".PKGINFO", info.as_bytes(), false);
        let sum = STANDARD.encode(hashed(&SHA1_FOR_LEGACY_USE_ONLY, &control));
        let bytes = [packed(".SIGN.RSA.test.rsa.pub", b"of the builder", false), control, data].concat();
        let said =
            format!("C:Q1{sum}\nP:{name}\nV:1.0-r0\nA:x86_64\nS:{}\nI:1\nT:x\nU:x\nL:MIT\n\n", bytes.len());
        Self { name, bytes, said }
    }

    fn path(&self, folder: &str) -> String {
        format!("{folder}/{}-1.0-r0.apk", self.name)
    }
}

/// Signs with a key of the session's own, as abuild does.
fn index(session: &Session, packages: &[Package]) -> Vec<u8> {
    let text: String = packages.iter().map(|it| it.said.as_str()).collect();
    let index = packed("APKINDEX", text.as_bytes(), true);
    session.write("index.gz", &index);
    let key = "[ -f key.pem ] || { openssl genrsa -out key.pem 2048 && openssl rsa -in key.pem -pubout -out keys; }";
    session.run(&format!("{key} && openssl dgst -sha1 -sign key.pem -out signature index.gz")).ok();
    let signature = fs::read(session.path("signature")).unwrap();
    [packed(".SIGN.RSA.test.rsa.pub", &signature, false), index].concat()
}

fn put(session: &Session, site: &Site, folder: &str, packages: &[Package]) {
    site.put(&format!("{folder}/APKINDEX.tar.gz"), index(session, packages));
    for package in packages {
        site.put(&package.path(folder), package.bytes.clone());
    }
}

fn cache<'a>(session: &'a Session, site: &Site, more: &str) -> Cache<'a> {
    let url = site.url();
    let settings = format!(
        "{more}[pkgcache.upstream]\nalpine = {{ url = \"{url}\", kind = \"apk\", keyring = \"keys\" }}\n"
    );
    Cache::start(session, &settings)
}

fn ask(cache: &Cache<'_>, path: &str, fields: &str) -> Answer {
    cache.ask(&format!("/alpine{path}"), &format!("{AGENT}{fields}"))
}

/// Asks for the index and for all packages, and has each as it is upstream.
#[track_caller]
fn installs(cache: &Cache<'_>, site: &[u8], folder: &str, packages: &[Package]) {
    let index = ask(cache, &format!("{folder}/APKINDEX.tar.gz"), "accept-encoding: gzip\r\n");
    // The very bytes: they are signed.
    assert!(
        index.status == 200 && index.body == site && index.header("content-encoding").is_none(),
        "{index:?}"
    );
    for package in packages {
        let answer = ask(cache, &package.path(folder), "");
        assert!(answer.whole && answer.body == package.bytes, "{}: {:?}", package.name, answer.headers);
    }
}

#[test]
fn packages_are_what_a_signed_index_of_their_own_branch_says() {
    if !have(&[Part::Openssl]) {
        return;
    }
    let (session, site) = (Session::new(), Site::new());
    let main = [Package::new("alpha", &noise("alpha")), Package::new("beta", "of main")];
    // Another branch has another package of the same name and version.
    let edge = [Package::new("beta", "of edge")];
    put(&session, &site, MAIN, &main);
    put(&session, &site, EDGE, &edge);
    let of = |folder: &str, packages: &[Package]| (folder.to_owned(), index(&session, packages));
    let (at_main, at_edge) = (of(MAIN, &main), of(EDGE, &edge));
    let server = cache(&session, &site, "");
    for _ in 0..2 {
        installs(&server, &at_main.1, MAIN, &main);
        installs(&server, &at_edge.1, EDGE, &edge);
    }
    assert_eq!(site.requests(), 5, "{:#?}", site.log());
    let date = ask(&server, &format!("{MAIN}/APKINDEX.tar.gz"), "");
    let date = date.header("last-modified").unwrap().to_owned();
    let same = ask(&server, &format!("{MAIN}/APKINDEX.tar.gz"), &format!("if-modified-since: {date}\r\n"));
    assert_eq!(same.status, 304);
    verified(&server.stop(), ".apk", "signed");
    site.unplug();
    let server = cache(&session, &site, "offline = true\n");
    installs(&server, &at_main.1, MAIN, &main);
    assert_eq!(ask(&server, "/v3.22/community/x86_64/APKINDEX.tar.gz", "").status, 504);
}

#[test]
fn a_wrong_package_or_index_is_refused_and_not_kept() {
    if !have(&[Part::Openssl]) {
        return;
    }
    let (session, site) = (Session::new(), Site::new());
    let packages = [Package::new("alpha", &noise("alpha"))];
    put(&session, &site, MAIN, &packages);
    let (path, listed) = (packages[0].path(MAIN), format!("{MAIN}/APKINDEX.tar.gz"));
    let server = cache(&session, &site, "index-ttl = \"0s\"\n");
    let whole = index(&session, &packages);
    // Of the builder's signature nothing is known; behind it every byte counts.
    let length = packages[0].bytes.len();
    for byte in [length / 2, length - 1, 200] {
        site.flip(&path, byte);
        let answer = ask(&server, &path, "");
        assert!(!answer.whole, "{byte}: {answer:?}");
        assert!(!stored(&session).iter().any(|url| url.ends_with(&path)), "{byte}");
        site.flip(&path, byte);
    }
    site.put(&path, &packages[0].bytes[..length - 100]);
    assert_eq!(ask(&server, &path, "").status, 502, "a file of another size");
    site.put(&path, packages[0].bytes.clone());
    installs(&server, &whole, MAIN, &packages);
    // The one before stands in for an index that nobody signed.
    for bad in [
        b"<html>".to_vec(),
        packed("APKINDEX", packages[0].said.as_bytes(), true),
        whole[..whole.len() - 9].to_vec(),
    ] {
        site.put(&listed, bad);
        installs(&server, &whole, MAIN, &packages);
    }
    // A package that was built anew under its version: the index decides.
    let anew = [Package::new("alpha", "anew")];
    put(&session, &site, MAIN, &anew);
    installs(&server, &index(&session, &anew), MAIN, &anew);
}

#[test]
fn a_package_that_is_too_large_to_be_looked_at_is_not_handed_on() {
    if !have(&[Part::Openssl]) {
        return;
    }
    let (session, site) = (Session::new(), Site::new());
    let packages = [Package::new("alpha", &noise("alpha")), Package::new("beta", "small")];
    put(&session, &site, MAIN, &packages);
    let most = packages[0].bytes.len() - 1;
    let server = cache(&session, &site, &format!("max-object = \"{most}B\"\n"));
    let index = index(&session, &packages);
    installs(&server, &index, MAIN, &packages[1..]);
    let answer = ask(&server, &packages[0].path(MAIN), "");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.text().contains("larger than `max-object`"), "{answer:?}");
}

#[test]
fn an_index_of_apk_3_is_handed_on_as_it_is() {
    let (session, site) = (Session::new(), Site::new());
    session.write("keys", "none\n");
    site.put("/v3.23/main/x86_64/Packages.adb", "ADB of bytes");
    site.put("/v3.23/main/x86_64/it-1.0-r0.apk", "ADBd of bytes");
    let server = cache(&session, &site, "");
    let index = ask(&server, "/v3.23/main/x86_64/Packages.adb", "");
    assert!(index.status == 200 && index.body == b"ADB of bytes", "{index:?}");
    let package = ask(&server, "/v3.23/main/x86_64/it-1.0-r0.apk", "");
    assert!(package.header("cache-status").unwrap().contains("verified=pinned"), "{package:?}");
}
