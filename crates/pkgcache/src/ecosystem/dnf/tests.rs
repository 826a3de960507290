use std::io::Write as _;

use proptest::prelude::*;
use storekit::Checksum;

use super::*;
use crate::ecosystem::packing::Packing;
use crate::ecosystem::table::{Said, Table, TableBuilder, Voucher};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const NONE: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn sum(algorithm: &str, hex: &str) -> Checksum {
    Checksum::from_hex(algorithm, hex).unwrap()
}

fn data(kind: &str, more: &str) -> String {
    format!("<data type=\"{kind}\">{more}</data>")
}

fn repomd_of_all() -> String {
    let primary = format!(
        "<checksum type=\"sha256\">\n {ABC} </checksum><open-checksum type=\"sha256\">{NONE}</open-checksum>\
         <location href=\"repodata/{ABC}-primary.xml.gz\"/><size>3</size><open-size>9</open-size>"
    );
    let zchunk = format!(
        "<checksum type=\"sha256\">{NONE}</checksum><header-checksum type=\"sha256\">{ABC}</header-checksum>\
         <location href=\"./repodata//primary.xml.zck\"/>"
    );
    let elsewhere =
        format!("<checksum type=\"sha256\">{NONE}</checksum><location xml:base=\"http://b/\" href=\"x\"/>");
    let weak = "<checksum type=\"md5\">d41d8cd98f00b204e9800998ecf8427e</checksum><location href=\"y\"/>";
    format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c --><repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\
         <revision>1</revision><tags><content>a &amp; b</content></tags>{}{}{}{}</repomd>\n",
        data("primary", &primary),
        data("primary_zck", &zchunk),
        data("filelists", &elsewhere),
        data("group", weak)
    )
}

fn read(document: &str) -> Result<Repomd, BadIndex> {
    repomd(&mut document.as_bytes())
}

#[test]
fn a_repomd_names_indexes_of_its_own_base() {
    let repomd = read(&repomd_of_all()).unwrap();
    let listed: Vec<_> =
        repomd.files.iter().map(|it| (it.kind.as_str(), it.path.as_str(), it.size)).collect();
    let primary = format!("repodata/{ABC}-primary.xml.gz");
    assert_eq!(
        listed,
        [("primary", primary.as_str(), Some(3)), ("primary_zck", "repodata/primary.xml.zck", None)]
    );
    assert_eq!(repomd.file(&primary).unwrap().checksum, sum("sha256", ABC));
    assert_eq!(
        repomd.primary().map(|(it, packing)| (it.path.as_str(), packing)),
        Some((primary.as_str(), Packing::Gzip))
    );
    for (name, packing) in [
        ("xml", Some(Packing::Plain)),
        ("xml.xz", Some(Packing::Xz)),
        ("xml.zst", Some(Packing::Zstd)),
        ("xml.bz2", None),
        ("xml.zck", None),
    ] {
        let path = format!("repodata/primary.{name}");
        let listed = Listed { kind: "primary".into(), path, checksum: sum("sha256", ABC), size: None };
        assert_eq!(Repomd { files: vec![listed] }.primary().map(|(_, packing)| packing), packing, "{name}");
    }
}

#[track_caller]
fn refused(document: &str, reason: &str) {
    assert_eq!(read(document).unwrap_err().to_string(), reason, "{document:?}");
}

#[track_caller]
fn refused_part(part: &str, reason: &str) {
    refused(&format!("<repomd>{}</repomd>", data("primary", part)), reason);
}

#[test]
fn what_cannot_be_a_repomd_is_refused_with_a_reason() {
    refused("", "it has no element");
    refused("text", "text stands outside of its root");
    refused("<html></html>", "its root is not an element `repomd`");
    refused("<repomd/><repomd/>", "it has more than one root");
    refused("<repomd>", "it ends in the middle of an element");
    refused("<!DOCTYPE repomd [<!ENTITY a \"b\">]><repomd/>", "it declares a document type");
    refused("<repomd>&a;</repomd>", "`&a;` is not known");
    refused("<repomd></data>", "ill-formed document: expected `</repomd>`, but `</data>` was found");
    refused(&format!("<repomd>{}", "<a>".repeat(20)), "its elements are nested too deep");
    refused_part("<location href=\"../x\"/>", "`../x` is not a path below it");
    refused_part("<location href=\"/etc/passwd\"/>", "`/etc/passwd` is not a path below it");
    refused_part("<location href=\"a/%2e%2e/\"/>", "`a/%2e%2e/` is not a path below it");
    refused_part("<location href=\"a&#10;b\"/>", "`a\\nb` is not a path below it");
    refused_part("<location/>", "`` is not a path below it");
    refused_part("<checksum type=\"sha256\">abc</checksum>", "`abc` is not a sha256 checksum");
    refused_part("<size>-1</size>", "`-1` is not a size");
    refused_part("<size>18446744073709551616</size>", "`18446744073709551616` is not a size");
    refused_part("<size>1</size><size>1</size>", "a `data` has two elements `size`");
    refused_part(&format!("<size>{}</size>", "1".repeat(300)), "one of its checksums or sizes is too long");
    let attributes = (0..40).fold(String::new(), |text, number| format!("{text} a{number}=\"\""));
    refused_part(&format!("<location{attributes}/>"), "an element has too many attributes");
    refused_part(
        "<location href=\"a\" href=\"b\"/>",
        "position 18: duplicated attribute, previous declaration at position 9",
    );
    let two = |hex| data("a", &format!("<checksum type=\"sha256\">{hex}</checksum><location href=\"x\"/>"));
    refused(&format!("<repomd>{}{}</repomd>", two(ABC), two(NONE)), "it says two different things of `x`");
    assert_eq!(read(&format!("<repomd>{}{}</repomd>", two(ABC), two(ABC))).unwrap().files.len(), 2);
}

#[test]
fn nothing_larger_than_an_index_is_read() {
    let long = format!("<repomd>{}</repomd>", "a".repeat((1 << 20) + 1));
    refused(&long, "one of its tags or texts is longer than 1 MiB");
    let long = format!("<repomd {}/>", "a".repeat((1 << 20) + 1));
    refused(&long, "one of its tags or texts is longer than 1 MiB");
    let large = format!("<repomd>{}</repomd>", "<a></a>".repeat(3 << 20));
    refused(&large, "it is larger than 16 MiB");
}

fn package_of(path: &str, hex: &str) -> String {
    format!(
        "<package type=\"rpm\"><name>a</name><checksum type=\"sha256\" pkgid=\"YES\">{hex}</checksum><summary>a &lt; b</summary>\
         <size package=\"3\" installed=\"9\" archive=\"10\"/><location href=\"{path}\"/><format><rpm:entry name=\"x\"/>\
         <checksum>no</checksum><location href=\"../no\"/></format></package>\n"
    )
}

fn primary(packages: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<metadata xmlns:rpm=\"r\" packages=\"1\">{packages}</metadata>\n")
}

fn table(packing: Packing, mut document: &[u8]) -> Result<Table, BadIndex> {
    let mut table = TableBuilder::default();
    vouch(packing, &mut document, &mut table)?;
    Ok(table.finish())
}

fn packed(packing: Packing, text: &str) -> Vec<u8> {
    match packing {
        Packing::Plain | Packing::Xz => text.into(),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(text.as_bytes(), 1).unwrap(),
    }
}

#[test]
fn a_list_of_packages_says_what_each_has_to_be() {
    let elsewhere = package_of("c-1-1.noarch.rpm\" xml:base=\"http://b.example/", ABC);
    let text = primary(&format!(
        "{}{}{elsewhere}",
        package_of("p/a+b-1-1.noarch.rpm", ABC),
        package_of("d é-1-1.x.rpm", NONE)
    ));
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let table = table(packing, &packed(packing, &text)).unwrap();
        let says = |hex| {
            Some(Said::File(Voucher {
                checksum: Some(sum("sha256", hex)),
                size: Some(3),
                ..Voucher::default()
            }))
        };
        assert_eq!(table.get("p/a+b-1-1.noarch.rpm"), says(ABC), "{packing:?}");
        assert_eq!(table.get("d%20%C3%A9-1-1.x.rpm"), says(NONE));
        assert_eq!((table.get("c-1-1.noarch.rpm"), table.len()), (None, 2));
    }
    let twice = primary(&format!("{}{}", package_of("a", ABC), package_of("a", NONE)));
    assert_eq!(table(Packing::Plain, twice.as_bytes()).unwrap().get("a"), Some(Said::Contradiction));
    let error = |text: &str| table(Packing::Plain, text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error(&primary(&package_of("../a", ABC))), "`../a` is not a path below it");
    assert_eq!(error(&repomd_of_all()), "its root is not an element `metadata`");
    for packing in [Packing::Gzip, Packing::Zstd] {
        let whole = packed(packing, &text);
        assert!(table(packing, &whole[..whole.len() - 5]).is_err(), "{packing:?}");
    }
}

#[test]
fn an_unknown_host_is_known_by_its_paths() {
    for likely in
        ["/x/repodata/repomd.xml", "/repodata/repomd.xml.asc", "/x/Packages/a/a-1.0-2.fc39.noarch.rpm"]
    {
        assert!(is_likely(likely), "{likely}");
    }
    for other in
        ["/repomd.xml", "/x/metalink", "/repodata/primary.xml.gz", "/a-latest.x86_64.rpm", "/a.rpm", "/"]
    {
        assert!(!is_likely(other), "{other}");
    }
}

#[test]
fn a_package_may_lie_anywhere_below_its_base() {
    let found = bases("/r/Packages/a/a-1-1.noarch.rpm");
    let expected = [
        ("/r/Packages/a", "a-1-1.noarch.rpm"),
        ("/r/Packages", "a/a-1-1.noarch.rpm"),
        ("/r", "Packages/a/a-1-1.noarch.rpm"),
        ("", "r/Packages/a/a-1-1.noarch.rpm"),
    ];
    assert_eq!(found, expected.map(|(base, rest)| (base.to_owned(), rest.to_owned())));
    assert_eq!(
        (repomd_of(""), repomd_of("/r")),
        ("/repodata/repomd.xml".to_owned(), "/r/repodata/repomd.xml".to_owned())
    );
    assert_eq!(place("/r/repodata/x"), Some(("/r".to_owned(), "repodata/x".to_owned())));
    assert_eq!((place("/r/x"), place("/x"), place("/repodata/")), (None, None, None));
}

/// Segments of which paths are made, so that they often mean something.
fn segment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "repodata",
        "Packages",
        "repomd.xml",
        "repomd.xml.asc",
        "repomd.xml.key",
        "repomd.xml.old",
        "primary.xml.gz",
        "metalink",
        "mirrorlist",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad-primary.xml.gz",
        "d41d8cd98f00b204e9800998ecf8427e-primary.xml.gz",
        "a-1.0-1.noarch.rpm",
        "a-latest-1.noarch.rpm",
        "a_current_x86_64.rpm",
        ".",
        "..",
        "",
        "%2e%2e",
        "%2f",
        "%00",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => any::<String>()]
}

proptest! {
    #[test]
    fn nothing_that_may_change_is_taken_for_what_may_not(segments in prop::collection::vec(segment(), 0..7)) {
        let path = format!("/{}", segments.join("/"));
        let asked = ask(&path, None);
        let name = path.rsplit('/').next().unwrap();
        match asked.class {
            Class::SelfCertifying(checksum) => {
                let hex = checksum.to_string().split_once(':').unwrap().1.to_owned();
                prop_assert!(name.starts_with(&hex) && path.contains("repodata/"), "{}", path);
            }
            Class::Artifact => {
                prop_assert!(name.strip_suffix(".rpm").is_some() && asked.package.version.is_some(), "{}", path);
                prop_assert!(!["latest", "current"].iter().any(|word| name.contains(word)), "{}", path);
            }
            Class::PinnedByName => prop_assert!(false, "{}", path),
            _ => {}
        }
        let asked_for = ask(&path, Some("x")).class;
        prop_assert!(matches!(asked_for, Class::Unknown | Class::Index), "{}", path);
        let escapes = path.split('/').any(|segment| matches!(segment, ".." | "%2e%2e")) || path.contains("%00");
        prop_assert!(!escapes || asked.class == Class::Unknown, "{}", path);
        let _ = (is_likely(&path), bases(&path), place(&path));
    }

    #[test]
    fn no_document_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Xz, Packing::Zstd] {
            let _ = table(packing, &bytes);
        }
        let _ = repomd(&mut bytes.as_slice());
    }

    #[test]
    fn no_change_of_a_document_makes_a_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let mut bytes = packed(packing, &primary(&package_of("a", ABC)));
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(if cut { place } else { bytes.len() });
            let _ = table(packing, &bytes);
        }
        let mut bytes = repomd_of_all().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = repomd(&mut bytes.as_slice());
    }

    #[test]
    fn every_path_of_a_list_is_found_as_clients_ask_for_it(name in "[a-zA-Z0-9#?+~:=!@$(),;.-]{1,20}") {
        let name = format!("{name}-1-1.noarch.rpm");
        let table = table(Packing::Plain, primary(&package_of(&format!("p/{name}"), ABC)).as_bytes()).unwrap();
        let escaped: String = name.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        let found = bases(&format!("/base/p/{escaped}")).into_iter().any(|(base, rest)| base == "/base" && table.get(&rest).is_some());
        prop_assert!(found);
    }
}
