//! Documents in the shape of a distribution's.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use storekit::Digest;

use super::*;
use crate::ecosystem::BadIndex;
use crate::ecosystem::table::{Said, Table, TableBuilder, Voucher};

const PACKAGES: &str = "\
Package: libx++1
Version: 1:1.0~rc1-1
Architecture: amd64
Description: an example
 Filename: pool/evil.deb
 .
 More of it.
Filename: pool/main/libx/libx++1_1.0~rc1-1_amd64.deb
Size: 1234
MD5sum: d41d8cd98f00b204e9800998ecf8427e
SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
SHA512: cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e
Tag: role::shared-lib,
 uitoolkit::none


package: old
filename: ./old/a b_1_all.deb
size: 18446744073709551615
sha1: DA39A3EE5E6B4B0D3255BFEF95601890AFD80709

Package: weak
Filename: weak_1_all.deb
Size: 5
MD5sum: d41d8cd98f00b204e9800998ecf8427e
";

const SOURCES: &str = "\
Package: bash
Directory: pool/main/b/bash
Files:
 d41d8cd98f00b204e9800998ecf8427e 2418 bash_5.2-2.dsc
Checksums-Sha256:
 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 2418 bash_5.2-2.dsc
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 7 bash_5.2.orig.tar.xz
Section: shells
";

const RELEASE: &str = "\
Origin: Example
Suite: stable
Date: Sat, 28 Nov 2026 08:00:00 UTC
Valid-Until: Sat, 05 Dec 2026 08:00:00 UTC
Acquire-By-Hash: yes
Description: an example
 of two lines
MD5Sum:
 D41D8CD98F00B204E9800998ECF8427E      0 main/binary-amd64/Packages
 900150983cd24fb0d6963f7d28e17f72  3 Contents-all
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855      0 main/binary-amd64/Packages
 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  3 Contents-all
SHA512:
 cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e 0 main/binary-amd64/Packages
";

/// A list of one package, as `xz --check=crc32` packs it.
pub(crate) const XZ: [u8; 168] = [
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01, 0x16,
    0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0xe0, 0x00, 0x6b, 0x00, 0x69, 0x5d, 0x00, 0x23, 0x1a, 0x49,
    0x86, 0x6a, 0x35, 0x55, 0xa5, 0xf8, 0xae, 0x36, 0x54, 0xf5, 0xe1, 0xc7, 0x80, 0x87, 0xeb, 0x54, 0xe2,
    0x72, 0x06, 0x7c, 0x57, 0x16, 0x6f, 0x5a, 0x68, 0x24, 0x71, 0xff, 0x87, 0x5f, 0x26, 0x23, 0x9a, 0xe1,
    0x96, 0x0e, 0x06, 0x04, 0x4a, 0x21, 0x8e, 0xd1, 0x41, 0xa5, 0xf7, 0xe4, 0xa8, 0x50, 0xbe, 0x51, 0x5a,
    0x00, 0x2c, 0x0b, 0x6a, 0x2e, 0x7e, 0xd2, 0x2c, 0x5e, 0x9e, 0x98, 0xb7, 0xa9, 0xaa, 0x69, 0xf2, 0x4f,
    0xdf, 0x01, 0x99, 0x76, 0x02, 0x9e, 0x9b, 0x86, 0xbe, 0x2c, 0xb8, 0x93, 0xe9, 0xf1, 0x2b, 0x77, 0x6a,
    0x11, 0x62, 0x20, 0x93, 0x5e, 0x7d, 0x71, 0x30, 0x31, 0xb8, 0x7b, 0x84, 0xdc, 0x9c, 0x91, 0x4c, 0x80,
    0x00, 0x00, 0x00, 0x00, 0x6d, 0xca, 0xa8, 0xe9, 0x00, 0x01, 0x81, 0x01, 0x6c, 0x00, 0x00, 0x00, 0xab,
    0x72, 0x29, 0x5a, 0x3e, 0x30, 0x0d, 0x8b, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
];

fn table(packing: Packing, mut document: &[u8]) -> Result<Table, BadIndex> {
    let mut table = TableBuilder::default();
    vouch(packing, &mut document, &mut table)?;
    Ok(table.finish())
}

#[track_caller]
fn says(table: &Table, name: &str, checksum: Option<&str>, size: u64) {
    let checksum = checksum.map(|text| text.parse().unwrap());
    assert_eq!(
        table.get(name),
        Some(Said::File(Voucher { checksum, size: Some(size), ..Voucher::default() }))
    );
}

fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Plain => text.to_vec(),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(text, 1).unwrap(),
        Packing::Xz => XZ.to_vec(),
    }
}

fn sha256(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

#[test]
fn a_list_of_packages_vouches_for_them() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let table = table(packing, &packed(packing, PACKAGES.as_bytes())).unwrap();
        let name = "pool/main/libx/libx++1_1.0~rc1-1_amd64.deb";
        says(&table, name, Some(&sha256(b"")), 1234);
        let weak = "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709";
        says(&table, "old/a%20b_1_all.deb", Some(weak), u64::MAX);
        says(&table, "weak_1_all.deb", None, 5);
        assert_eq!(table.get("pool/evil.deb"), None);
        assert_eq!(table.len(), 3);
    }
}

#[test]
fn what_is_asked_for_is_found_in_the_list() {
    let table = table(Packing::Plain, PACKAGES.as_bytes()).unwrap();
    for path in [
        "/debian/pool/main/libx/libx++1_1.0~rc1-1_amd64.deb",
        "/debian/pool/main/libx/libx%2b%2B1_1.0%7erc1-1_amd64.deb",
        "//pool/./main/libx/libx++1_1.0~rc1-1_amd64.deb",
    ] {
        let entry = ask(path, None).entry.unwrap();
        assert!(table.get(&entry).is_some(), "{path}");
    }
    let found = bases("/debian/old/a+b_1_all.deb");
    assert_eq!(found[1], ("/debian".to_owned(), "old/a+b_1_all.deb".to_owned()));
    assert_eq!(found[2], (String::new(), "debian/old/a+b_1_all.deb".to_owned()));
    assert_eq!(found.len(), 3);
    assert_eq!(bases("/a/pool/b/c_1_all.deb"), [("/a".to_owned(), "pool/b/c_1_all.deb".to_owned())]);
}

#[test]
fn a_list_of_sources_vouches_for_their_files() {
    let table = table(Packing::Plain, SOURCES.as_bytes()).unwrap();
    says(&table, "pool/main/b/bash/bash_5.2-2.dsc", Some(&sha256(b"abc")), 2418);
    says(&table, "pool/main/b/bash/bash_5.2.orig.tar.xz", Some(&sha256(b"")), 7);
    assert_eq!(table.len(), 2);
}

#[test]
fn xz_is_unpacked() {
    let table = table(Packing::Xz, &packed(Packing::Xz, b"")).unwrap();
    says(&table, "pool/a_1_all.deb", Some(&sha256(b"abc")), 3);
}

/// A dictionary of 4 GiB, in the head of a block whose own checksum is right.
#[test]
fn what_takes_too_much_memory_is_not_unpacked() {
    let mut document = XZ.to_vec();
    // The head of the block: 12 bytes after the head of the stream.
    let block = document.get_mut(12..24).unwrap();
    block[4] = 40;
    let checksum = crc32(&block[..8]).to_le_bytes();
    block[8..].copy_from_slice(&checksum);
    assert_eq!(
        table(Packing::Xz, &document).unwrap_err(),
        BadIndex::TooLarge("it takes too much memory to unpack")
    );
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[track_caller]
fn refused(document: &str, reason: &str) {
    let error = table(Packing::Plain, document.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, reason, "{document:?}");
}

#[test]
fn lists_that_cannot_be_are_refused_with_a_reason() {
    refused("<!DOCTYPE html>\n", "its line 1 is not a field");
    refused("A: b\n\n{\"a\": 1}\n", "its line 3 is not a field");
    refused("Filename: ../x.deb\n", "`../x.deb` is not a path below it");
    refused("Filename: /etc/passwd\n", "`/etc/passwd` is not a path below it");
    refused("Filename: a/..\n", "`a/..` is not a path below it");
    refused("Filename: a\\b\n", "`a\\b` is not a path below it");
    refused("Filename:\n", "`` is not a path below it");
    refused("Filename: a/\n", "`a/` is not a path below it");
    refused("Size: -1\n", "`-1` is not a size");
    refused("Size: +1\n", "`+1` is not a size");
    refused("Size: 18446744073709551616\n", "`18446744073709551616` is not a size");
    refused("Size:\n", "`` is not a size");
    refused("SHA256: abc\n", "`abc` is not a sha256 checksum");
    refused("Filename: a\nFilename: b\n", "a package has two fields `Filename`");
    refused("Checksums-Sha256:\n x\n", "`x` is not a checksum, a size and a name");
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    refused(&format!("Checksums-Sha256:\n {hex} 1 a/b\n"), "`a/b` is not a file's name");
    refused(&format!("Checksums-Sha256:\n {hex} 1 a\n"), "a source package has no field `Directory`");
    refused(
        &format!("Directory: a/../..\nChecksums-Sha256:\n {hex} 1 a\n"),
        "`a/../../a` is not a path below it",
    );
    refused(&format!("Directory: a\nChecksums-Sha256:\n {hex} 1 ..\n"), "`a/..` is not a path below it");
    let document = table(Packing::Plain, b"Filename: a\0b\n").unwrap_err();
    assert!(matches!(document, BadIndex::Malformed(_)));
    assert!(matches!(table(Packing::Plain, b"Filename: a\xff\n"), Err(BadIndex::Malformed(_))));
}

#[test]
fn half_a_page_is_not_a_page() {
    for packing in [Packing::Gzip, Packing::Zstd, Packing::Xz] {
        let whole = packed(packing, PACKAGES.as_bytes());
        let half = &whole[..whole.len() - 5];
        assert!(matches!(table(packing, half), Err(BadIndex::Malformed(_))), "{packing:?}");
        assert!(matches!(table(packing, b"Package: a\n"), Err(BadIndex::Malformed(_))), "{packing:?}");
    }
}

#[test]
fn a_line_without_an_end_is_refused() {
    let line = vec![b'a'; (16 << 20) + 1];
    let error = table(Packing::Gzip, &packed(Packing::Gzip, &line)).unwrap_err();
    assert_eq!(error, BadIndex::TooLarge("one of its lines is longer than 16 MiB"));
}

#[test]
fn one_path_with_two_checksums_is_not_vouched_for() {
    let twice = "Filename: a_1_all.deb\nSHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n\
                 Filename: ./a_1_all.deb\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    assert_eq!(
        table(Packing::Plain, twice.as_bytes()).unwrap().get("a_1_all.deb"),
        Some(Said::Contradiction)
    );
}

fn clear_signed(text: &str) -> String {
    format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}-----BEGIN PGP SIGNATURE-----\n\n\
         iQIz\n=abcd\n-----END PGP SIGNATURE-----\n"
    )
}

#[test]
fn a_release_names_its_indexes() {
    let plain = release(&mut RELEASE.as_bytes()).unwrap();
    assert_eq!(release(&mut clear_signed(RELEASE).as_bytes()).unwrap(), plain);
    assert!(plain.by_hash && !plain.has_lists_of_all);
    for (fields, has) in [
        ("Architectures: amd64 all", true),
        ("Architectures: all amd64\nNo-Support-for-Architecture-all: Packages", false),
        ("Architectures: amd64", false),
    ] {
        let other = release(&mut RELEASE.replace("Acquire-By-Hash: yes", fields).as_bytes()).unwrap();
        assert_eq!((other.by_hash, other.has_lists_of_all), (false, has), "{fields}");
    }
    assert_eq!(plain.valid_until, Some(1_796_457_600));
    let rows: Vec<_> =
        plain.files.iter().map(|(path, size, sum)| (path.as_str(), *size, sum.algorithm())).collect();
    assert_eq!(
        rows,
        [
            ("by-hash/MD5Sum/900150983cd24fb0d6963f7d28e17f72", 3, "sha256"),
            ("Contents-all", 3, "sha256"),
            ("main/binary-amd64/by-hash/MD5Sum/d41d8cd98f00b204e9800998ecf8427e", 0, "sha256"),
            ("main/binary-amd64/Packages", 0, "sha256"),
            ("main/binary-amd64/Packages", 0, "sha512"),
        ]
    );
    let asked =
        ask("/d/dists/stable/main/binary-amd64/by-hash/MD5Sum/d41d8cd98f00b204e9800998ecf8427e", None);
    assert!(plain.files.iter().any(|(path, ..)| Some(path) == asked.entry.as_ref()));
}

#[track_caller]
fn no_release(document: &str, reason: &str) {
    assert_eq!(release(&mut document.as_bytes()).unwrap_err().to_string(), reason, "{document:?}");
}

#[test]
fn releases_that_cannot_be_are_refused_with_a_reason() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let other = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    no_release("", "it is empty");
    no_release("<html>\n", "its line 1 is not a field");
    no_release("Error: log in first\n", "it has no field of a release");
    no_release("\n\n", "it has no field of a release");
    no_release(&format!("SHA256:\n {hex} 1 ../../x\n"), "`../../x` is not a path below it");
    no_release(&format!("SHA256:\n {hex} 99999999999999999999 x\n"), "`99999999999999999999` is not a size");
    no_release("SHA256:\n abc 1 x\n", "`abc` is not a SHA256 checksum");
    no_release("MD5Sum:\n abc 1 x\n", "`abc` is not an MD5 checksum");
    no_release(&format!("SHA256:\n {hex} 1\n"), &format!("`{hex} 1` is not a checksum, a size and a name"));
    no_release(&format!("SHA256:\n {hex} 1 x\n {other} 1 ./x\n"), "it says two different things of `x`");
    no_release(&format!("SHA256:\n {hex} 1 x\nA: b\nsha256:\n"), "it has two lists `sha256`");
    no_release(
        &format!("MD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 2 x\nSHA256:\n {hex} 1 x\n"),
        "it says two different things of `x`",
    );
    no_release(&format!("A: b\n{}", clear_signed("C: d\n")), "signed text begins in the middle of it");
    no_release(&format!("{}C: d\n", clear_signed("A: b\n")), "something stands behind its signature");
    no_release("-----BEGIN PGP SIGNED MESSAGE-----\nA: b\n", "its signed text has an unknown head");
    no_release("-----BEGIN PGP SIGNED MESSAGE-----\n\nA: b\n", "it has no signature at its end");
    no_release(
        "-----BEGIN PGP SIGNED MESSAGE-----\n\nA: b\n-----BEGIN PGP SIGNATURE-----\n",
        "its signature has no end",
    );
    no_release("-----BEGIN PGP SIGNED MESSAGE-----\n\n-A: b\n", "its signed text is broken");
    let large = format!("A: b\n{}", "C: d\n".repeat(4 << 20));
    no_release(&large, "it is larger than 16 MiB");
}

#[test]
fn a_release_may_name_nothing_or_by_md5_alone() {
    for document in ["Suite: x\n", "MD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 Packages\n", "Origin: a\n\n"]
    {
        assert_eq!(release(&mut document.as_bytes()).unwrap(), Release::default(), "{document}");
    }
    let sha1 = "SHA1:\n da39a3ee5e6b4b0d3255bfef95601890afd80709 0 ./Packages\n";
    assert_eq!(release(&mut sha1.as_bytes()).unwrap().files.len(), 1);
}

#[test]
fn a_signature_is_armor_or_a_packet() {
    for (document, is_one) in [
        (b"-----BEGIN PGP SIGNATURE-----\n".as_slice(), true),
        (b"\n-----BEGIN PGP SIGNATURE-----\n", true),
        (b"\xc2\xb4\x04", true),
        (b"\x89\x01\x33", true),
        (b"<html>", false),
        (b"", false),
    ] {
        assert_eq!(signature::is_one(document), is_one, "{document:?}");
    }
}

#[test]
fn only_lists_of_packages_that_can_be_read_name_packages() {
    let cases = [
        ("main/binary-amd64/Packages", Some(Packing::Plain)),
        ("main/binary-amd64/Packages.gz", Some(Packing::Gzip)),
        ("main/source/Sources.xz", Some(Packing::Xz)),
        ("Packages.zst", Some(Packing::Zstd)),
        ("main/binary-amd64/Packages.bz2", None),
        ("main/binary-amd64/Release", None),
        ("main/Contents-amd64.gz", None),
        ("main/binary-amd64/by-hash/SHA256/abc", None),
        ("", None),
    ];
    for (path, packing) in cases {
        assert_eq!(names_packages(path), packing, "{path}");
    }
}

#[test]
fn an_unknown_host_is_known_by_its_paths() {
    for likely in [
        "/debian/dists/stable/InRelease",
        "/debian/dists/stable/Release",
        "/debian/dists/stable/main/binary-amd64/Packages.xz",
        "/debian/pool/main/a/a_1_all.deb",
        "/repo/InRelease",
        "/repo/Packages.gz",
        "/repo/Release.gpg",
        "/repo/a_1_all.deb",
    ] {
        assert!(is_likely(likely), "{likely}");
    }
    for other in [
        "/Packages",
        "/Release",
        "/pool/latest.deb",
        "/a.deb",
        "/dists/x/readme",
        "/by-hash/SHA256/a",
        "/",
        "/pool/index.html",
    ] {
        assert!(!is_likely(other), "{other}");
    }
}

#[test]
fn what_lies_beside_a_release_has_its_path() {
    let path = |of| place(of).and_then(|place| place.beside_release("Release"));
    assert_eq!(path("/debian/dists/a/b/InRelease").as_deref(), Some("/debian/dists/a/b/Release"));
    assert_eq!(path("/repo/Packages.gz").as_deref(), Some("/repo/Release"));
    assert_eq!(path("/InRelease").as_deref(), Some("/Release"));
    assert_eq!(path("/pool/a_1_all.deb"), None);
}

/// Segments of which paths are made, so that they often mean something.
fn segment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "dists",
        "pool",
        "main",
        "stable",
        "updates",
        "binary-amd64",
        "source",
        "i18n",
        "by-hash",
        "SHA256",
        "MD5Sum",
        "InRelease",
        "Release",
        "Release.gpg",
        "Packages",
        "Packages.xz",
        "Sources.gz",
        "Contents-amd64.gz",
        "Translation-en",
        "dep11",
        "cnf",
        "Packages.diff",
        "Index",
        "a_1_all.deb",
        "a_latest_all.deb",
        "a_1.dsc",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "d41d8cd98f00b204e9800998ecf8427e",
        ".",
        "..",
        "",
        "%2e%2e",
        "%2f",
        "%00",
        "%2b",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => any::<String>()]
}

fn a_path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..9).prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn nothing_that_may_change_is_taken_for_what_may_not(path in a_path()) {
        let asked = ask(&path, None);
        let name = path.rsplit('/').next().unwrap();
        let changes = ["Release", "InRelease", "Release.gpg", "Packages", "Sources", "Index", "Contents", "Translation"];
        match asked.class {
            Class::SelfCertifying(checksum) => {
                let hex = checksum.to_string().split_once(':').unwrap().1.to_owned();
                prop_assert!(path.ends_with(&hex));
            }
            Class::Artifact | Class::PinnedByName => {
                prop_assert!(!changes.iter().any(|it| name.starts_with(it)), "{}", path);
                prop_assert!(path.contains("pool/") || !name.contains("latest"), "{}", path);
            }
            _ => {}
        }
        prop_assert_eq!(ask(&path, Some("x")).class, Class::Unknown);
        let escapes = path.split('/').any(|segment| matches!(segment, ".." | "%2e%2e")) || path.contains("%00");
        prop_assert!(!escapes || asked.class == Class::Unknown, "{}", path);
        let _ = (is_likely(&path), bases(&path));
    }

    #[test]
    fn no_document_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Xz, Packing::Zstd] {
            let _ = table(packing, &bytes);
        }
        let _ = release(&mut bytes.as_slice());
    }

    #[test]
    fn no_change_of_a_document_makes_a_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Xz, Packing::Zstd] {
            let mut bytes = packed(packing, [PACKAGES, "\n", SOURCES].concat().as_bytes());
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(if cut { place } else { bytes.len() });
            let _ = table(packing, &bytes);
        }
        let mut bytes = clear_signed(RELEASE).into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = release(&mut bytes.as_slice());
    }

    #[test]
    fn every_path_of_a_list_is_found_as_clients_ask_for_it(name in "[a-zA-Z0-9 %#?+~:=!@$&(),;é_.-]{1,20}") {
        let name = format!("{name}_1_all.deb");
        let document = format!("Filename: pool/{name}\nSize: 1\n");
        let table = table(Packing::Plain, document.as_bytes()).unwrap();
        let escaped: String = name.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        let entry = ask(&format!("/base/pool/{escaped}"), None).entry;
        prop_assert!(entry.is_some_and(|entry| table.get(&entry).is_some()));
    }
}
