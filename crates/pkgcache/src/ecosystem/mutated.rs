//! Tests: indexes that look real, damaged. No reader panics, whatever it says of them, and none
//! writes much more than it was given.

use std::io::Write as _;

use http::Uri;

use super::base::Base;
use super::packing::Packing;
use super::python::Form;
use super::releases::Hidden;
use super::table::TableBuilder;
use super::{BadIndex, apk, apt, cargo, dnf, go, huggingface, npm, python};
use crate::damaged;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
type Reader = fn(&[u8]) -> Result<usize, BadIndex>;

/// Tries the document as it is, which has to be good, and then what becomes of it.
#[track_caller]
fn tried(document: impl AsRef<[u8]>, read: Reader) {
    let whole = document.as_ref();
    read(whole).unwrap_or_else(|error| panic!("the undamaged one is refused: {error}"));
    damaged::each(whole, |damaged| match read(damaged) {
        Ok(size) => assert!(size <= 64 * damaged.len() + 4096, "{size} bytes of {}", damaged.len()),
        Err(error) => assert!(!error.to_string().is_empty() && error.is_of_the_index(), "{error:?}"),
    });
}

fn url() -> Uri {
    Uri::from_static("https://index.example/simple/a/")
}

fn base() -> Base {
    let here = "http://127.0.0.1:3144".to_owned();
    Base {
        here,
        mount: "/m".to_owned(),
        upstream: Uri::from_static("https://index.example/"),
        keeps_links: false,
    }
}

/// What a table takes that was read to its end.
fn weight(read: impl FnOnce(&mut TableBuilder) -> Result<(), BadIndex>) -> Result<usize, BadIndex> {
    let mut table = TableBuilder::default();
    read(&mut table)?;
    Ok(table.finish().weight())
}

fn page() -> String {
    format!(
        "{{\"meta\":{{\"api-version\":\"1.1\"}},\"name\":\"a\",\"versions\":[\"1\"],\"files\":[{{\"filename\":\"a-1.tar.gz\",\
         \"url\":\"../../files/a-1.tar.gz\",\"hashes\":{{\"sha256\":\"{HEX}\"}},\"size\":3,\"yanked\":\"why\",\"core-metadata\":\
         {{\"sha256\":\"{HEX}\"}}}},{{\"filename\":\"a-2-py3-none-any.whl\",\"url\":\"https://files.example/a-2-py3-none-any.whl\",\
         \"hashes\":{{}},\"requires-python\":\">=3\"}}]}}"
    )
}

fn html() -> String {
    format!(
        "<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.0\"></head><body>\
         <a href=\"../../files/a-1.tar.gz#sha256={HEX}\" data-requires-python=\"&gt;=3\" data-yanked>a-1.tar.gz</a><br>\
         <!-- x --><A HREF='https://files.example/a-2-py3-none-any.whl'>a-2-py3-none-any.whl</A></body></html>"
    )
}

fn packument() -> String {
    "{\"name\":\"a\",\"dist-tags\":{\"latest\":\"1.0.0\"},\"time\":{\"1.0.0\":\"2026-01-01T00:00:00Z\"},\"versions\":{\"1.0.0\":\
     {\"name\":\"a\",\"version\":\"1.0.0\",\"scripts\":{\"install\":\"x\"},\"dist\":{\"tarball\":\"https://index.example/a/-/a-1.0.0.tgz\",\
     \"shasum\":\"a9993e364706816aba3e25717850c26c9cd0d89d\",\"signatures\":[{\"keyid\":\"k\",\"sig\":\"s\"}]}}},\"readme\":\"\\u00e9\"}"
        .to_owned()
}

fn packages() -> String {
    let one = |name: &str| {
        format!(
            "Package: {name}\nVersion: 1\nDescription: x\n more\nFilename: pool/{name}_1_all.deb\nSize: 3\nSHA256: {HEX}\n\n"
        )
    };
    one("a")
        + &one("b")
        + &format!(
            "Package: s\nDirectory: pool/s\nFiles:\n 900150983cd24fb0d6963f7d28e17f72 3 s.dsc\nChecksums-Sha256:\n {HEX} 3 s.dsc\n\n"
        )
}

fn primary() -> String {
    format!(
        "<?xml version=\"1.0\"?><metadata xmlns=\"http://linux.duke.edu/metadata/common\" packages=\"1\"><package type=\"rpm\">\
         <name>a</name><checksum type=\"sha256\" pkgid=\"YES\">{HEX}</checksum><size package=\"3\" installed=\"4\"/>\
         <location href=\"Packages/a-1.rpm\"/></package></metadata>"
    )
}

#[test]
fn pages_of_projects_are_read_or_refused() {
    tried(page(), |bytes| weight(|table| python::vouch(&url(), Form::Json, &mut &*bytes, table)));
    tried(html(), |bytes| weight(|table| python::vouch(&url(), Form::Html, &mut &*bytes, table)));
    tried(page(), |bytes| {
        written(|out| {
            python::render(&url(), Form::Json, &mut &*bytes, &base(), Form::Html, &Hidden::default(), out)
        })
    });
    tried(html(), |bytes| {
        written(|out| {
            python::render(&url(), Form::Html, &mut &*bytes, &base(), Form::Json, &Hidden::default(), out)
        })
    });
}

/// How much is written.
fn written(write: impl FnOnce(&mut dyn std::io::Write) -> Result<(), BadIndex>) -> Result<usize, BadIndex> {
    let mut out = Vec::new();
    write(&mut out).map(|()| out.len())
}

#[test]
fn packuments_are_read_or_refused() {
    tried(packument(), |bytes| {
        weight(|table| npm::vouch(&Uri::from_static("https://index.example/a"), &mut &*bytes, table))
    });
    for read in [
        (|bytes| {
            written(|out| {
                npm::render(
                    &Uri::from_static("https://index.example/a"),
                    &mut &*bytes,
                    &base(),
                    npm::Variant::Full,
                    &npm::Cut::default(),
                    out,
                )
            })
        }) as Reader,
        |bytes| {
            written(|out| {
                npm::render(
                    &Uri::from_static("https://index.example/a"),
                    &mut &*bytes,
                    &base(),
                    npm::Variant::Abbreviated,
                    &npm::Cut::default(),
                    out,
                )
            })
        },
    ] {
        tried(packument(), read);
    }
}

#[test]
fn documents_of_versions_are_read_or_refused() {
    let document = "{\"name\":\"a\",\"dist\":{\"tarball\":\"https://index.example/a/-/a-1.0.0.tgz\",\"attestations\":{\"url\":\
        \"https://index.example/-/npm/v1/attestations/a@1.0.0\"},\"signatures\":[{\"keyid\":\"k\"}]},\"version\":\"1.0.0\"}";
    tried(document, |bytes| npm::check_version("a", "latest", &mut &*bytes).map(|version| version.len()));
    tried(document, |bytes| written(|out| npm::render_version("a", "1.0.0", &mut &*bytes, &base(), out)));
}

#[test]
fn the_files_of_a_sparse_index_are_read_or_refused() {
    let line = format!(
        "{{\"name\":\"aaaa\",\"vers\":\"1.0.0\",\"deps\":[{{\"name\":\"b\",\"req\":\"^1\"}}],\"cksum\":\"{HEX}\",\"features\":{{}},\"yanked\":false}}\n"
    );
    tried(line.repeat(3).replacen("1.0.0", "2.0.0", 1), |bytes| {
        weight(|table| cargo::vouch(&mut &*bytes, table))
    });
    let config = "{\"dl\":\"https://index.example/{crate}/{version}\",\"api\":\"https://index.example\"}";
    tried(config, |bytes| written(|out| cargo::render_config(&mut &*bytes, &base(), out)));
}

#[test]
fn releases_and_lists_of_packages_are_read_or_refused() {
    let release = format!(
        "Origin: x\nSuite: stable\nDate: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n {HEX} 3 main/binary-amd64/Packages\n {HEX} 4 main/source/Sources.xz\n"
    );
    tried(release, |bytes| Ok(apt::release(&mut &*bytes)?.files.len()));
    tried(packages(), |bytes| weight(|table| apt::vouch(Packing::Plain, &mut &*bytes, table)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(packages().as_bytes()).unwrap();
    tried(gzip.finish().unwrap(), |bytes| {
        weight(|table| apt::vouch(Packing::Gzip, &mut &*bytes, table)).map(|_| 0)
    });
    tried(apt::tests::XZ, |bytes| weight(|table| apt::vouch(Packing::Xz, &mut &*bytes, table)).map(|_| 0));
    let packed = zstd::encode_all(packages().as_bytes(), 1).unwrap();
    tried(packed, |bytes| weight(|table| apt::vouch(Packing::Zstd, &mut &*bytes, table)).map(|_| 0));
}

#[test]
fn the_descriptions_of_models_are_read_or_refused() {
    let document = format!(
        "{{\"id\":\"a/b\",\"sha\":\"{}\",\"xetEnabled\":true,\"siblings\":[{{\"rfilename\":\"a\",\"xetHash\":\"{HEX}\"}}],\
         \"url\":\"https://index.example/a/b\"}}",
        &HEX[..40]
    );
    tried(&document, |bytes| huggingface::commit(&mut &*bytes).map(|sha| sha.len()));
    tried(&document, |bytes| written(|out| huggingface::render(&mut &*bytes, &base(), out)));
}

#[test]
fn the_indexes_of_rpm_repositories_are_read_or_refused() {
    let repomd = format!(
        "<?xml version=\"1.0\"?><repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision><data type=\"primary\">\
         <checksum type=\"sha256\">{HEX}</checksum><location href=\"repodata/primary.xml.gz\"/><size>3</size></data></repomd>"
    );
    tried(repomd, |bytes| dnf::repomd(&mut &*bytes).map(|_| 0));
    tried(primary(), |bytes| weight(|table| dnf::vouch(Packing::Plain, &mut &*bytes, table)));
}

#[test]
fn the_records_and_zips_of_go_modules_are_read_or_refused() {
    tried(go::tests::answer(), |bytes| {
        let key = go::tests::Signer::new().key();
        let database = go::sumdb::Sumdb::read(Some(&key), &[]).unwrap().unwrap();
        database.record(&String::from_utf8_lossy(bytes)).map(|_| 0)
    });
    tried(
        go::tests::zipped(&[("a@v1.0.0/go.mod", "module a\n"), ("a@v1.0.0/a.go", "package a\n")]),
        |bytes| {
            let sum = go::dirhash::of_zip(&mut std::io::Cursor::new(bytes));
            sum.map(|_| 0).map_err(BadIndex::Malformed)
        },
    );
}

#[test]
fn the_indexes_and_packages_of_apk_are_read_or_refused() {
    let (package, sum) = apk::tests::package("data");
    tried(apk::tests::index(sum, package.len()), |bytes| {
        weight(|table| apk::vouch(&mut &*bytes, table)).map(|_| 0)
    });
    tried(apk::tests::index(sum, package.len()), |bytes| {
        apk::signature::verify(bytes, apk::tests::PUBLIC.as_bytes()).map(|()| 0)
    });
    tried(package, |bytes| {
        let sum = storekit::Checksum::Sha1([0; 20]);
        let control = apk::members::control(&mut std::io::Cursor::new(bytes), sum);
        control.map(|_| 0).map_err(BadIndex::Malformed)
    });
}
