//! Archives that are small and ask for much: refused soon, or taken for what they are.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::session::Session;
use crate::kit::tars::{Tar, blob, config, descriptor, docker, gzip, id, layer, manifest, oci, zstd};
use crate::strangers::hostile::refused;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn base() -> Vec<u8> {
    layer("base", "first")
}

/// An index of these, as often as `times` says.
fn index(listed: &Value, times: usize) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": vec![listed; times] })
        .to_string()
        .into_bytes()
}

/// An archive whose index leads to one image by so many ways at each of so many levels.
fn nested(times: usize, levels: usize) -> Vec<u8> {
    let plain = base();
    let mut blobs = vec![plain.clone(), config(&[&plain]).to_string().into_bytes()];
    blobs.push(manifest(&[&plain], &[("", &plain)]).to_string().into_bytes());
    let mut listed = descriptor(MANIFEST, &blobs[2]);
    for _ in 0..levels {
        blobs.push(index(&listed, times));
        listed = descriptor(INDEX, &blobs[blobs.len() - 1]);
    }
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    oci(&blobs, &[listed]).end()
}

#[test]
fn an_index_that_names_itself_over_and_over_is_refused_soon() {
    let begun = Instant::now();
    refused(&nested(400, 4), "10000 documents");
    refused(&nested(1, 6), "too deep");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

/// What came into a store by another way, such as a clone: whoever reads it reads each document
/// once.
#[test]
fn a_stored_index_that_names_itself_over_and_over_takes_no_time() {
    let session = Session::new();
    session.feed("import k", &nested(2, 1)).ok();
    let images = session.store().images();
    let blobs = images.blobs();
    let mut entry = images.get(&"k".parse().unwrap()).unwrap().unwrap();
    for _ in 0..6 {
        let listed =
            json!({ "mediaType": INDEX, "digest": entry.descriptor.digest, "size": entry.descriptor.size });
        let lease = blobs.put(&index(&listed, 1000)).unwrap();
        entry.descriptor = storekit::Descriptor::new(INDEX, lease.digest(), lease.size());
    }
    let key = "bomb".parse().unwrap();
    images.commit(&key, &entry, None, &[], storekit::Overwrite::Yes).unwrap();
    let begun = Instant::now();
    for words in ["info bomb", "ls", "verify", "has bomb", "export bomb out.tar", "extract bomb /base -C out"]
    {
        session.run(words).ok();
    }
    session.feed("import other", &docker("app:1", &[&base()]).end()).ok();
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn more_names_than_anybody_gives_are_refused() {
    let names: Vec<_> = (0..20_000).map(|n| format!("app:{n}")).collect();
    let config = config(&[]).to_string();
    let list = json!([{ "Config": "c.json", "RepoTags": names, "Layers": [] }]);
    refused(&Tar::default().file("c.json", &config).json("manifest.json", &list).end(), "20000 names");
    let document = manifest(&[], &[]).to_string();
    let listed = vec![descriptor(MANIFEST, document.as_bytes()); 20_000];
    refused(&oci(&[document.as_bytes(), config.as_bytes()], &listed).end(), "20000 names");
    // Those that are read may still be too long for a key's file: no key is written that nobody
    // could read.
    let names: Vec<_> = (0..9_000).map(|n| format!("{}/app:{n}", "registry".repeat(20))).collect();
    let list = json!([{ "Config": "c.json", "RepoTags": names, "Layers": [] }]);
    refused(&Tar::default().file("c.json", &config).json("manifest.json", &list).end(), "its names");
}

#[test]
fn documents_of_more_than_20_mib() {
    let filler = " ".repeat(20 << 20);
    let archive = |list: String, config: String| {
        Tar::default().file("c.json", config).file("manifest.json", list).end()
    };
    let list = json!([{ "Config": "c.json", "Layers": [] }]).to_string();
    let config = config(&[]).to_string();
    refused(&archive(list.clone() + &filler, config.clone()), "larger than 21.0MB");
    refused(&archive(list, config + &filler), "larger than 21.0MB");
    // A compressed archive is small, and its documents need not be.
    refused(&zstd(&Tar::default().file("index.json", "[".to_owned() + &filler).end()), "larger than 21.0MB");
}

#[test]
fn documents_that_nest_without_end() {
    let deep = format!("{{\"a\":{}", "[".repeat(200_000));
    refused(&Tar::default().file("index.json", &deep).end(), "cannot be understood");
    let listed = |kind| [descriptor(kind, deep.as_bytes())];
    for kind in [MANIFEST, INDEX] {
        refused(&oci(&[deep.as_bytes()], &listed(kind)).end(), "cannot be understood");
    }
    let list = json!([{ "Config": "c.json", "Layers": [] }]);
    refused(&Tar::default().file("c.json", &deep).json("manifest.json", &list).end(), "cannot be understood");
}

#[test]
fn digests_of_another_kind() {
    let plain = base();
    let config = config(&[&plain]).to_string();
    for other in ["sha512:00", "sha512:", "md5:d41d8cd98f00b204e9800998ecf8427e", "SHA256:00", "", "../../x"]
    {
        for place in ["/config/digest", "/layers/0/digest"] {
            let mut document = manifest(&[&plain], &[("", &plain)]);
            *document.pointer_mut(place).unwrap() = json!(other);
            let document = document.to_string();
            let listed = [descriptor(MANIFEST, document.as_bytes())];
            refused(
                &oci(&[document.as_bytes(), config.as_bytes(), &plain], &listed).end(),
                "cannot be understood",
            );
        }
        let listed = json!({ "mediaType": MANIFEST, "digest": other, "size": 7 });
        refused(&oci(&[], &[listed]).end(), "cannot be understood");
        let wrong = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [other] } }).to_string();
        let list = json!([{ "Config": "c.json", "Layers": ["l"] }]);
        let archive = Tar::default().file("c.json", wrong).file("l", &plain).json("manifest.json", &list);
        refused(&archive.end(), "cannot be understood");
    }
}

/// A zstd frame whose window is 2^28 bytes.
fn wide_window(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(28)).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// An archive of one image, whose one layer comes in this form.
fn with_layer(plain: &[u8], form: &str, bytes: &[u8]) -> Vec<u8> {
    let document = manifest(&[plain], &[(form, bytes)]).to_string();
    let config = config(&[plain]).to_string();
    let listed = [descriptor(MANIFEST, document.as_bytes())];
    oci(&[document.as_bytes(), config.as_bytes(), bytes], &listed).end()
}

#[test]
fn a_window_that_would_fill_the_memory() {
    let plain = base();
    refused(&wide_window(&docker("app:1", &[&plain]).end()), "memory");
    refused(&with_layer(&plain, "+zstd", &wide_window(&plain)), "memory");
}

/// What gzip and zstd allow, and engines read: several in a row, and frames that hold nothing.
#[test]
fn members_and_frames_in_a_row_are_one_layer() {
    let plain = layer("base", &"text ".repeat(2000));
    let (left, right) = plain.split_at(3000);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"notes"].concat();
    let layers = [
        ("+gzip", [gzip(left), gzip(right)].concat()),
        ("+gzip", [gzip(left), gzip(b""), gzip(right)].concat()),
        ("+zstd", [zstd(left), zstd(right)].concat()),
        ("+zstd", [skipped.clone(), zstd(left), skipped.clone(), zstd(right), skipped.clone()].concat()),
    ];
    for (form, bytes) in &layers {
        let archive = with_layer(&plain, form, bytes);
        for file in [false, true] {
            let session = Session::new();
            if file {
                session.write("a.tar", &archive);
                session.run("import k a.tar").ok();
            } else {
                session.feed("import k", &archive).ok();
            }
            assert_eq!(session.ids("k"), [id(&[&plain])]);
            // Kept as it came.
            assert!(session.blobs().contains(&storekit::Digest::of(bytes)));
            session.run("verify").ok();
            session.run("extract k /base -C out").ok();
            assert_eq!(std::fs::read(session.path("out/base")).unwrap(), "text ".repeat(2000).as_bytes());
        }
    }
    // So may the archive itself come.
    let whole = docker("app:1", &[&plain]).end();
    let (left, right) = whole.split_at(5000);
    for archive in
        [[gzip(left), gzip(right)].concat(), [skipped.clone(), zstd(left), zstd(right), skipped].concat()]
    {
        let session = Session::new();
        session.feed("import k", &archive).ok();
        assert_eq!(session.ids("k"), [id(&[&plain])]);
    }
}

#[test]
fn what_follows_a_compressed_layer() {
    let plain = base();
    for (form, bytes) in [("+gzip", gzip(&plain)), ("+zstd", zstd(&plain))] {
        for more in [&b"more"[..], &[0; 512], &bytes[..bytes.len() - 3]] {
            refused(&with_layer(&plain, form, &[&bytes[..], more].concat()), "");
        }
        refused(&with_layer(&plain, form, &bytes[..bytes.len() - 3]), "");
    }
}

/// What an index lists and is not a document is kept as it is; what is called by another name is
/// known for what it is.
#[test]
fn types_that_nobody_knows() {
    let plain = base();
    let packed = zstd(&plain);
    let config = config(&[&plain]).to_string();
    let document = manifest(&[&plain], &[("+zstd", &packed)]).to_string();
    let other = b"neither JSON nor a tar".repeat(10);
    let inner = json!({ "schemaVersion": 2, "manifests": [
        descriptor(MANIFEST, document.as_bytes()), descriptor("application/x-other", &other)] })
    .to_string();
    let blobs = [inner.as_bytes(), document.as_bytes(), config.as_bytes(), &packed, &other];
    for listed in
        [descriptor(INDEX, inner.as_bytes()), descriptor("application/x-unknown", document.as_bytes())]
    {
        let session = Session::new();
        session.feed("import k", &oci(&blobs, &[listed]).end()).ok();
        assert_eq!(session.ids("k"), [id(&[&plain])]);
        // A collector sees what hangs on it.
        let images = session.store().images();
        let entry = images.get(&"k".parse().unwrap()).unwrap().unwrap();
        let reach = images.walker().reach(&entry.descriptor).unwrap();
        assert!(reach.is_whole() && reach.present.contains_key(&storekit::Digest::of(&packed)));
        session.run("verify").ok();
    }
}

/// A name with `blobs/sha256/` and no digest is that of any other file.
#[test]
fn blobs_with_odd_names_are_passed_over() {
    let plain = base();
    let odd = [blob(&plain).to_uppercase(), "blobs/sha256/00".to_owned(), "blobs/sha512/00".to_owned()];
    let archive = odd.iter().fold(docker("app:1", &[&plain]), |tar, name| tar.file(name, "anything"));
    let session = Session::new();
    session.feed("import k", &archive.end()).ok();
    assert_eq!(session.ids("k"), [id(&[&plain])]);
}
