//! Archives that no image tool writes: refused, and nothing stands in the store afterwards.

use imgtar::archive::import::import;
use imgtar::image::commit::Notes;
use imgtar::source::Source;
use serde_json::json;
use tar::EntryType;

use crate::kit::session::Session;
use crate::kit::tars::{Tar, blob, config, descriptor, docker, gzip, id, layer, manifest, oci, zstd};

/// Refused through a pipe and as a file alike, with these words; nothing stands under the key.
#[track_caller]
pub(crate) fn refused(archive: &[u8], says: &str) {
    let session = Session::new();
    session.feed("import k", archive).ends(2).says(says);
    session.write("a.tar", archive);
    session.run("import k a.tar").ends(2).says(says);
    session.run("has k").ends(1);
    // Blobs may be there, but only sound ones.
    for digest in session.blobs() {
        session.store().images().blobs().verify(&digest).unwrap();
    }
}

fn base() -> Vec<u8> {
    layer("base", "first")
}

fn sound() -> Tar {
    docker("app:1", &[&base()])
}

#[test]
fn the_file_is_named_that_is_refused() {
    let session = Session::new();
    session.write("one.tar", sound().cut());
    session.run("import k one.tar").ends(2).says("cannot import `one.tar`").says("cut off");
    session.write("two.tar", layer("a", "b"));
    session.run("import k two.tar").ends(2).says("cannot import `two.tar`").says("no index.json");
}

#[test]
fn names_that_leave_the_archive() {
    for name in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"a/../x"] {
        refused(&sound().entry(name, EntryType::Regular, b"", b"x").end(), "is refused");
    }
    refused(&sound().pax("path", "a\0b").file("x", "x").end(), "NUL");
}

#[test]
fn links_that_leave_the_archive() {
    for target in ["/etc/passwd", "../../x"] {
        refused(&sound().link("a/layer.tar", target).end(), "is refused");
    }
    refused(&sound().entry(b"a", EntryType::Link, b"b", b"x").end(), "it is not a file, and has a size");
    refused(&sound().entry(b"a", EntryType::Link, b"/etc/passwd", b"").end(), "is refused");
}

#[test]
fn links_in_a_circle() {
    let config = config(&[&base()]).to_string();
    let archive = Tar::default()
        .file("c.json", config)
        .link("a/layer.tar", "../b/layer.tar")
        .link("b/layer.tar", "../a/layer.tar")
        .json("manifest.json", &json!([{ "Config": "c.json", "Layers": ["a/layer.tar"] }]));
    refused(&archive.end(), "circle");
}

#[test]
fn devices_pipes_and_sparse_files() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse] {
        refused(&sound().entry(b"x", kind, b"", b"").end(), "");
    }
}

#[test]
fn sizes_that_are_not_those_of_the_blobs() {
    let plain = base();
    let packed = gzip(&plain);
    for wrong in ["config", "layers"] {
        let mut document = manifest(&[&plain], &[("+gzip", &packed)]);
        let place = if wrong == "config" { &mut document["config"] } else { &mut document["layers"][0] };
        place["size"] = json!(7);
        let document = document.to_string();
        let config = config(&[&plain]).to_string();
        let listed = [descriptor("application/vnd.oci.image.manifest.v1+json", document.as_bytes())];
        let archive = oci(&[document.as_bytes(), config.as_bytes(), &packed], &listed).end();
        refused(&archive, "a document announces 7 bytes");
    }
    let document = manifest(&[&plain], &[("+gzip", &packed)]).to_string();
    let config = config(&[&plain]).to_string();
    let mut listed = descriptor("application/vnd.oci.image.manifest.v1+json", document.as_bytes());
    listed["size"] = json!(7);
    let archive = oci(&[document.as_bytes(), config.as_bytes(), &packed], &[listed]).end();
    refused(&archive, "a document announces 7 bytes");
}

#[test]
fn lists_without_an_image() {
    refused(&oci(&[], &[]).end(), "its index.json lists none");
    refused(&Tar::default().json("manifest.json", &json!([])).end(), "its manifest.json lists none");
    refused(&Tar::default().file("x", "x").end(), "no index.json and no manifest.json");
}

#[test]
fn bytes_after_the_end_of_a_compressed_archive() {
    for packed in [gzip(&sound().end()), zstd(&sound().end())] {
        for junk in [&b"more than a header"[..], b"\n", b"\0\0\0"] {
            refused(&[&packed, junk].concat(), "there is data after the end of its");
        }
    }
}

#[test]
fn a_name_that_is_there_twice() {
    refused(&sound().json("manifest.json", &json!([])).end(), "twice");
}

#[test]
fn archives_that_are_cut_off() {
    let whole = sound().end();
    refused(&sound().cut(), "cut off");
    for length in [700, 2000, whole.len() - 1600, whole.len() - 1024] {
        refused(&whole[..length], "");
    }
    let packed = zstd(&whole);
    refused(&packed[..packed.len() - 5], "cut off");
    let packed = gzip(&whole);
    refused(&packed[..packed.len() - 5], "cut off");
}

/// Whatever the form, and wherever the end: around each block, and at odd places between.
#[test]
fn archives_that_are_cut_off_anywhere() {
    let plain = base();
    let packed = zstd(&plain);
    let document = manifest(&[&plain], &[("+zstd", &packed)]).to_string();
    let config = config(&[&plain]).to_string();
    let listed = [descriptor("application/vnd.oci.image.manifest.v1+json", document.as_bytes())];
    let layout = oci(&[document.as_bytes(), config.as_bytes(), &packed], &listed).end();
    let whole = sound().end();
    let session = Session::new();
    let store = crate::strangers::untrusted::store(&session);
    let key = "k".parse().unwrap();
    for archive in [gzip(&whole), zstd(&whole), layout, whole] {
        let plain_tar = archive.len() % 512 == 0;
        let cuts =
            (0..archive.len()).filter(|at| at % 37 == 0 || (plain_tar && matches!(at % 512, 0 | 1 | 511)));
        for at in cuts {
            let file = session.write("a.tar", &archive[..at]);
            let stream = Box::new(std::io::Cursor::new(archive[..at].to_vec()));
            for source in [Source::Stream(stream), Source::File(file)] {
                // Of the two blocks of zeros at the end, one is enough.
                let is_whole = plain_tar && at >= archive.len() - 512;
                let imported = import(&store, &key, source, &Notes { force: true, ..Notes::default() }, &());
                assert_eq!(imported.is_ok(), is_whole, "{at} of {} bytes", archive.len());
            }
        }
        let _ = store.images().remove(std::slice::from_ref(&key), &store.trash().shredder());
    }
    session.run("verify").ok();
}

#[test]
fn something_after_the_end() {
    let mut archive = sound().end();
    archive.extend([1; 512]);
    refused(&archive, "follows its end");
}

#[test]
fn a_pax_size_goes_before_the_headers_size() {
    // To a reader that ignores PAX, the second header is inside the first file.
    let archive = sound().pax("size", "512").file("x", "").bytes(&[7; 512]).end();
    let session = Session::new();
    session.feed("import k", &archive).ok();
    refused(&sound().pax("size", "999999999999").file("x", "x").end(), "");
}

#[test]
fn headers_that_fill_the_memory() {
    let long = vec![b'a'; 2 << 20];
    refused(
        &sound().entry(b"././@LongLink", EntryType::GNULongName, b"", &long).file("x", "").end(),
        "1.05MB",
    );
}

#[test]
fn bytes_that_are_not_what_their_name_says() {
    let wrong = blob(b"other");
    refused(&Tar::default().file(&wrong, r#"{"a":1}"#).end(), "hashes to");
    let plain = base();
    let packed = gzip(&plain);
    let listed =
        |manifest: &str| [descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())];
    let config = config(&[&plain]).to_string();
    for (suffix, announced, found) in
        [("", &plain, &packed), ("+gzip", &packed, &plain), ("+gzip", &packed, &zstd(&plain))]
    {
        let manifest = manifest(&[&plain], &[(suffix, announced)]).to_string();
        let tar = oci(&[config.as_bytes(), manifest.as_bytes()], &listed(&manifest));
        // In a file the size is seen before the bytes are.
        refused(&tar.file(&blob(announced), found).end(), "");
    }
    let (a, b) = (base(), layer("base", "secon"));
    // A layer in the place of another.
    let tar = docker("app:1", &[&a]).cut();
    let at = tar.windows(a.len()).position(|window| window == a).unwrap();
    let mut tar = tar;
    tar[at..at + b.len()].copy_from_slice(&b);
    tar.extend([0; 1024]);
    refused(&tar, "hashes to");
}

#[test]
fn a_compressed_layer_with_another_content() {
    let (plain, other) = (base(), gzip(&layer("evil", "evil")));
    let manifest = manifest(&[&plain], &[("+gzip", &other)]).to_string();
    let config = config(&[&plain]).to_string();
    let listed = [descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())];
    refused(&oci(&[config.as_bytes(), manifest.as_bytes(), &other], &listed).end(), "hashes to");
}

#[test]
fn documents_that_lie() {
    let no_layer = json!([{ "Config": "c.json", "Layers": ["x/layer.tar"] }]);
    let config = config(&[&base()]).to_string();
    refused(&Tar::default().file("c.json", &config).json("manifest.json", &no_layer).end(), "is missing");
    refused(&Tar::default().json("manifest.json", &no_layer).end(), "is missing");
    refused(&Tar::default().file("manifest.json", "[{").end(), "cannot be understood");
    let escaping = json!([{ "Config": "../../c.json", "Layers": [] }]);
    refused(&Tar::default().json("manifest.json", &escaping).end(), "leads out");
    let count = json!([{ "Config": "c.json", "Layers": [] }]);
    refused(&Tar::default().file("c.json", &config).json("manifest.json", &count).end(), "diff_ids");
    let deep = format!("[{}", "[".repeat(100_000));
    refused(&Tar::default().file("manifest.json", deep).end(), "cannot be understood");
}

#[test]
fn what_is_no_image_archive() {
    refused(b"", "is empty");
    refused(&[7; 5000], "is not a tar");
    refused(&layer("a", "b"), "no index.json and no manifest.json");
    refused(&gzip(b"hello"), "");
}

#[test]
fn a_refused_archive_leaves_what_stood_there() {
    let session = Session::new();
    session.feed("import k", &sound().end()).ok();
    session.feed("import k --force", &sound().cut()).ends(2);
    assert_eq!(session.ids("k"), [id(&[&base()])]);
    session.run("verify").ok();
}

#[test]
fn random_damage_never_panics() {
    use proptest::prelude::*;
    let archive = sound().end();
    proptest!(ProptestConfig { cases: 60, ..ProptestConfig::default() }, |(at in 0..archive.len(), byte in any::<u8>())| {
        let mut damaged = archive.clone();
        damaged[at] = byte;
        let session = Session::new();
        let run = session.feed("import k", &damaged);
        prop_assert!(run.code() == 0 || run.code() == 2, "{}: {}", run.code(), run.stderr());
        if run.code() == 0 {
            prop_assert_eq!(session.run("verify").code(), 0);
        }
    });
}
