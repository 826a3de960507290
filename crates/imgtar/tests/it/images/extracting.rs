//! Files out of images: what is to be seen of their layers, and nothing that leaves the folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use camino::Utf8Path;
use larder_tests::{Part, Ran, have};
use proptest::prelude::*;
use tar::EntryType;

use crate::kit::session::Session;
use crate::kit::tars::{Tar, config, descriptor, docker, gzip, manifest, oci, zstd};

fn folder(tar: Tar, name: &str) -> Tar {
    tar.entry(format!("{name}/").as_bytes(), EntryType::Directory, b"", b"")
}

fn hard(tar: Tar, name: &str, target: &str) -> Tar {
    tar.entry(name.as_bytes(), EntryType::Link, target.as_bytes(), b"")
}

/// A store with an image of these layers, the lowest first, under `k`.
fn image(layers: &[Vec<u8>]) -> Session {
    let session = Session::new();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    session.feed("import k", &docker("app:1", &layers).end()).ok();
    session
}

/// Everything below a folder, sorted: `d name`, `f name content`, `l name target`.
fn listing(top: &Utf8Path) -> Vec<String> {
    fn walk(top: &Utf8Path, folder: &Utf8Path, into: &mut Vec<String>) {
        for entry in folder.read_dir_utf8().unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(top).unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                into.push(format!("l {name} {}", path.read_link_utf8().unwrap()));
            } else if kind.is_dir() {
                into.push(format!("d {name}"));
                walk(top, path, into);
            } else {
                into.push(format!("f {name} {}", fs::read_to_string(path).unwrap_or_default()));
            }
        }
    }
    let mut found = Vec::new();
    walk(top, top, &mut found);
    found.sort();
    found
}

#[track_caller]
fn extracts(session: &Session, paths: &str, expected: &[&str]) {
    let out = session.path("out");
    let _ = fs::remove_dir_all(&out);
    session.run(&format!("extract k {paths} -C out")).ok();
    assert_eq!(listing(&out), expected);
}

fn layered() -> Session {
    let base = folder(Tar::default(), "usr");
    let base = folder(base, "usr/bin").link("bin", "usr/bin").file("usr/bin/dash", "dash");
    let base = hard(base, "usr/bin/also", "usr/bin/dash").link("usr/bin/sh", "dash");
    let base = folder(base, "app").file("app/old", "1").file("app/kept", "1").file("app/gone", "1");
    let base = folder(base, "cache").file("cache/x", "1").link("abs", "/app");
    let top = folder(Tar::default(), "app").file("app/old", "2").file("app/.wh.gone", "");
    let top = folder(top, "cache").file("cache/.wh..wh..opq", "").file("cache/new", "2");
    let top = folder(top, "dist").file("dist/a-1.whl", "a").file("dist/b-1.whl", "b").file("dist/b.txt", "t");
    image(&[base.end(), top.end()])
}

#[test]
fn the_upper_layers_go_before_the_lower() {
    let session = layered();
    extracts(&session, "/app", &["d app", "f app/kept 1", "f app/old 2"]);
    extracts(&session, "cache", &["d cache", "f cache/new 2"]);
    extracts(&session, "/app/old /app/kept", &["d app", "f app/kept 1", "f app/old 2"]);
    session.run("extract k /app/gone -C gone").ends(1).says("the image has no `/app/gone`");
    session.run("extract k /cache/x -C gone").ends(1);
}

#[test]
fn patterns_choose_files() {
    let session = layered();
    extracts(&session, "/dist/*.whl", &["d dist", "f dist/a-1.whl a", "f dist/b-1.whl b"]);
    extracts(&session, "dist/?.txt --strip-components 1", &["f b.txt t"]);
    extracts(&session, "bin/s?", &["d bin", "l bin/sh dash"]);
    session.run("extract k dist/*.rpm -C none").ends(1).says("`dist/*.rpm`");
}

#[test]
fn nothing_is_written_where_one_path_is_missing() {
    let session = layered();
    session.run("extract k /app /none -C out").ends(1);
    assert_eq!(listing(&session.path("out")), [""; 0]);
    session.run("extract k /app /none -o out.tar").ends(1);
    assert!(!session.path("out.tar").exists());
    let stdout = session.run("extract k /app /none -o -").ends(1).bytes().to_vec();
    assert!(!tar_reads(&session, &stdout));
    session.run("extract other /app -C out").ends(1).says("nothing is stored");
}

fn tar_reads(session: &Session, bytes: &[u8]) -> bool {
    let file = session.write("it.tar", bytes);
    Ran::of(session.program("tar").args(["-xOf", file.as_str()])).code() == 0
}

#[test]
fn links_are_followed_inside_the_image() {
    let session = layered();
    extracts(&session, "/bin/dash", &["d bin", "f bin/dash dash"]);
    extracts(&session, "/bin", &["l bin usr/bin"]);
    extracts(&session, "/bin/", &["d bin", "f bin/also dash", "f bin/dash dash", "l bin/sh dash"]);
    extracts(&session, "/abs/old", &["d abs", "f abs/old 2"]);
    let out = |name: &str| fs::metadata(session.path("out").join(name)).unwrap().ino();
    extracts(
        &session,
        "/usr/bin",
        &["d usr", "d usr/bin", "f usr/bin/also dash", "f usr/bin/dash dash", "l usr/bin/sh dash"],
    );
    assert_eq!(out("usr/bin/also"), out("usr/bin/dash"));
}

#[test]
fn links_in_a_circle_lead_nowhere() {
    let session = image(&[Tar::default().link("a", "b").link("b", "a").link("self", "self/x").end()]);
    for path in ["/a/x", "/b/", "/self/y"] {
        session.run(&format!("extract k {path} -C out")).ends(1);
    }
}

/// An entry without bytes whose header gives it a size all the same.
fn sized(tar: Tar, name: &str, kind: EntryType, size: u64) -> Tar {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_link_name("a").unwrap();
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    tar.bytes(header.as_bytes())
}

/// Go's writers take over the size of the file that is linked; engines and GNU tar pass over no
/// bytes.
#[test]
fn the_size_of_what_has_no_bytes_hides_no_entry() {
    let tar = Tar::default().file("a", "first");
    let tar = sized(sized(tar, "hard", EntryType::Link, 5), "soft", EntryType::Symlink, 5000);
    let tar = sized(tar, "folder/", EntryType::Directory, 512).pax("size", "700");
    let layer = sized(tar, "more", EntryType::Link, 0).file("b", "second").end();
    let session = image(&[layer]);
    session.run("extract k / -C out").ok().says("extracted 5 files and 1 folder");
    for (name, text) in
        [("a", "first"), ("hard", "first"), ("soft", "first"), ("more", "first"), ("b", "second")]
    {
        assert_eq!(fs::read_to_string(session.path("out").join(name)).unwrap(), text);
    }
    let tar = session.run("extract k / -o -").ok().bytes().to_vec();
    let mut tar = tar::Archive::new(&tar[..]);
    let names = tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["a", "hard", "soft", "folder/", "more", "b"]);
    let absurd = image(&[sized(Tar::default().file("a", "1"), "b", EntryType::Link, 1 << 40).end()]);
    absurd.run("extract k a -C out").ends(2).says("it is not a file, and has a size");
}

#[test]
fn hard_links_are_found_in_their_layer_and_below() {
    let first = Tar::default().file("a", "one").file("b", "two");
    let second = hard(hard(Tar::default(), "c", "a"), "d", "/b");
    let third = Tar::default().file("a", "three").file(".wh.b", "");
    let session = image(&[first.end(), second.end(), third.end()]);
    extracts(&session, "c d", &["f c one", "f d two"]);
    extracts(&session, "/", &["f a three", "f c one", "f d two"]);
    let chain = hard(hard(hard(Tar::default().file("a", "1"), "b", "a"), "c", "b"), "d", "c");
    let session = image(&[chain.end()]);
    extracts(&session, "d c", &["f c 1", "f d 1"]);
    let broken = hard(hard(Tar::default().file("x", "1"), "a", "b"), "b", "a");
    let session = image(&[hard(broken, "c", "none").end()]);
    session.run("extract k a -C out").ends(2).says("hard links");
    session.run("extract k c -C out").ends(2).says("hard link");
    extracts(&session, "x", &["f x 1"]);
}

#[test]
fn one_platform_is_chosen() {
    let session = layered();
    session.run("extract k /app --platform linux/arm64 -C out").ends(2).says("no image for linux/arm64");
    session.run("extract k /app --platform linux/amd64 -C out").ok();
}

#[test]
fn layers_of_every_form_are_read() {
    let plain = Tar::default().file("x", "1").end();
    for (suffix, bytes) in [("", plain.clone()), ("+gzip", gzip(&plain)), ("+zstd", zstd(&plain))] {
        let config = config(&[&plain]).to_string();
        let manifest = manifest(&[&plain], &[(suffix, &bytes)]).to_string();
        let listed = [descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())];
        let session = Session::new();
        let archive = oci(&[config.as_bytes(), manifest.as_bytes(), &bytes], &listed).end();
        session.feed("import k", &archive).ok();
        extracts(&session, "x", &["f x 1"]);
    }
}

#[test]
fn a_damaged_layer_shows_nothing() {
    for cut in [false, true] {
        let content = "content ".repeat(20_000);
        let plain = Tar::default().file("a", "1").file("big", &content).file("z", "1").end();
        let session = image(&[plain]);
        let blobs = session.path("../store/images/blobs/sha256");
        let layer = blobs.read_dir_utf8().unwrap().flatten().max_by_key(|it| it.metadata().unwrap().len());
        let layer = layer.unwrap().into_path();
        let mut bytes = fs::read(&layer).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        if cut {
            bytes.truncate(middle);
        }
        let damage = || fs::write(&layer, &bytes).unwrap();
        damage();
        session.run("extract k a -C out").ends(3);
        assert!(!session.path("out").exists() || listing(&session.path("out")).is_empty());
        if !cut {
            damage();
            let run = session.run("extract k a -o -").ends(3);
            assert!(!tar_reads(&session, run.bytes()));
        }
    }
}

#[test]
fn files_keep_modes_and_times() {
    let mut header = tar::Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_mode(0o6755);
    header.set_mtime(1_000_000);
    header.set_size(0);
    header.set_cksum();
    let session = image(&[Tar::default().bytes(header.as_bytes()).end()]);
    let stat = |flags: &str| {
        let _ = fs::remove_dir_all(session.path("out"));
        session.run(&format!("extract k x -C out {flags}")).ok();
        let found = fs::metadata(session.path("out/x")).unwrap();
        (found.permissions().mode() & 0o7777, found.mtime())
    };
    let (mode, time) = stat("");
    assert_eq!((mode & 0o7000, mode & 0o700, time), (0, 0o700, 1_000_000));
    assert_eq!(stat("-p"), (0o6755, 1_000_000));
}

#[test]
fn long_names_come_whole() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let session = image(&[Tar::default().pax("path", &long).file("short", "1").end()]);
    extracts(&session, "/", &[&format!("d {}", "d".repeat(150)), &format!("f {long} 1")]);
    let tar = session.run("extract k / -o -").ok().bytes().to_vec();
    let mut archive = tar::Archive::new(&tar[..]);
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(&*entry.path_bytes(), long.as_bytes());
}

#[test]
fn files_take_the_place_of_files_and_of_nothing_else() {
    let session = layered();
    session.write("out/app/old", "mine");
    session.write("out/app/other", "mine");
    session.run("extract k /app/old -C out").ok();
    assert_eq!(listing(&session.path("out")), ["d app", "f app/old 2", "f app/other mine"]);
    session.write("clash/app", "a file");
    session.run("extract k /app/old /dist -C clash").ends(2).says("stands there");
    assert_eq!(listing(&session.path("clash")), ["f app a file"]);
    session.write("other/app/old/x", "a folder");
    session.run("extract k /app/old -C other").ends(2).says("stands there");
}

#[test]
fn links_in_the_folder_are_not_followed() {
    let session = layered();
    session.write("outside/old", "mine");
    fs::create_dir(session.path("out")).unwrap();
    symlink(session.path("outside"), session.path("out/app")).unwrap();
    session.run("extract k /app/old -C out").ends(2).says("stands there");
    assert_eq!(listing(&session.path("outside")), ["f old mine"]);
    fs::remove_file(session.path("out/app")).unwrap();
    fs::create_dir(session.path("out/app")).unwrap();
    symlink(session.path("outside/old"), session.path("out/app/old")).unwrap();
    session.run("extract k /app/old -C out").ok();
    assert_eq!(listing(&session.path("outside")), ["f old mine"]);
    assert_eq!(listing(&session.path("out")), ["d app", "f app/old 2"]);
}

/// Refused, or at least nothing comes of it: the folder around stays as it is.
#[track_caller]
fn harmless(layers: &[Vec<u8>], paths: &str, code: i32) {
    let session = image(layers);
    session.write("around", "mine");
    let before =
        listing(&session.path("")).into_iter().filter(|it| !it.contains("store")).collect::<Vec<_>>();
    session.run(&format!("extract k {paths} -C out")).ends(code);
    let after = listing(&session.path(""));
    let after: Vec<_> =
        after.into_iter().filter(|it| !it.contains("store") && !it.contains(" out")).collect();
    assert_eq!(before, after);
    if code != 0 && session.path("out").exists() {
        assert_eq!(listing(&session.path("out")), [""; 0]);
    }
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in ["../around", "/around", "a/../../around", "a/..", ".."] {
        let layer =
            Tar::default().file("x", "1").entry(name.as_bytes(), EntryType::Regular, b"", b"evil").end();
        harmless(&[layer], "/", 2);
    }
    harmless(&[Tar::default().pax("path", "a\0/../../around").file("x", "1").end()], "/", 2);
    harmless(&[hard(Tar::default(), "x", "../around").end()], "x", 2);
    harmless(&[Tar::default().file(".wh...", "").file(".wh.", "").file("x", "1").end()], "/", 0);
    harmless(&[Tar::default().file("a/.wh...", "").end(), Tar::default().file("x", "1").end()], "/", 0);
}

#[test]
fn files_through_links_of_the_image_are_refused() {
    for target in ["..", "/etc", "."] {
        let layer = Tar::default().link("a", target).file("a/around", "evil").end();
        harmless(std::slice::from_ref(&layer), "/", 2);
        harmless(&[layer], "a/around", 2);
        // In two layers, the upper one's folder stands.
        let (lower, upper) = (Tar::default().link("a", target), Tar::default().file("a/around", "2"));
        harmless(&[lower.end(), upper.end()], "/", 0);
    }
    // A link is taken as it is, and never followed.
    harmless(&[Tar::default().link("a", "../around").end()], "a", 0);
    harmless(&[Tar::default().link("a", "../around").end()], "a/", 1);
    harmless(&[hard(Tar::default().link("a", "../around"), "b", "a").end()], "b", 0);
    // A file where the upper layer's link stood.
    let layer = Tar::default().link("a", "../around").file("a", "mine").end();
    harmless(&[layer], "a", 0);
}

#[test]
fn devices_and_holes_are_left_out_or_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let session = image(&[Tar::default().entry(b"dev/x", kind, b"", b"").file("y", "1").end()]);
        session.run("extract k / -C out").ok().says("left out");
        assert_eq!(listing(&session.path("out")), ["f y 1"]);
        let tar = session.run("extract k /dev -o -").ok().bytes().to_vec();
        assert_eq!(tar::Archive::new(&tar[..]).entries().unwrap().count(), 1);
    }
    harmless(&[Tar::default().entry(b"x", EntryType::GNUSparse, b"", b"").end()], "x", 2);
    let sparse = Tar::default().pax("GNU.sparse.major", "1").file("x", "1").file("y", "1").end();
    harmless(std::slice::from_ref(&sparse), "x", 2);
    harmless(&[sparse], "y", 0);
}

#[test]
fn layers_that_are_no_tars_or_are_cut_off() {
    let whole = Tar::default().file("x", "1").file("big", "1".repeat(5000)).cut();
    harmless(&[whole[..3000].to_vec()], "big", 2);
    harmless(std::slice::from_ref(&whole), "big", 0);
    let long = vec![b'a'; 2 << 20];
    let layer =
        Tar::default().entry(b"././@LongLink", EntryType::GNULongName, b"", &long).file("x", "").end();
    harmless(&[layer], "/", 2);
    let deep = "d/".repeat(255) + "x";
    harmless(&[Tar::default().pax("path", &deep).file("x", "1").end()], "/", 0);
    let deeper = "d/".repeat(256) + "x";
    harmless(&[Tar::default().pax("path", &deeper).file("x", "1").end()], "/", 2);
}

#[test]
fn what_a_killed_extraction_left_goes_with_the_next() {
    let session = layered();
    session.write("out/.tmp-imgtar-1-1/x", "left");
    session.run("extract k dist/b.txt -C out").ok();
    assert_eq!(listing(&session.path("out")), ["d dist", "f dist/b.txt t"]);
}

#[test]
fn what_was_taken_is_told() {
    let session = layered();
    let text = session.run("extract k /dist --json -C out").ok().stdout();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({ "path": "dist", "kind": "folder" }));
    assert_eq!(lines[1], serde_json::json!({ "path": "dist/a-1.whl", "kind": "file", "bytes": 1 }));
    session.run("extract k /dist --json -o -").ends(2).says("both go to stdout");
    session.run("extract k /dist").ends(2);
}

#[test]
fn layers_with_any_bytes_changed_do_no_harm() {
    let tar = Tar::default().file("a", "1").pax("path", "b/c").file("x", "2").link("l", "../around");
    let tar = hard(folder(tar, "d"), "h", "a").file("d/.wh.e", "").file("l2", "3".repeat(700));
    let sound = tar.end();
    let change = (0..sound.len(), proptest::sample::select(b"\0/.0127gxLKS5\xff".to_vec()));
    let cases = ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(changes in proptest::collection::vec(change, 1..4), mend in any::<bool>())| {
        let mut layer = sound.clone();
        for (at, byte) in changes {
            layer[at] = byte;
            // With the right sum, so that what changed is looked at.
            let block = at - at % 512;
            if mend && layer[block + 257..block + 262] == *b"ustar" {
                layer[block + 148..block + 156].fill(b' ');
                let sum: u32 = layer[block..block + 512].iter().map(|byte| u32::from(*byte)).sum();
                layer[block + 148..block + 155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        let session = image(&[layer]);
        session.write("around", "mine");
        let run = session.run("extract k / -C out/in");
        prop_assert!(matches!(run.code(), 0..=2), "{}", run.stderr());
        let _ = session.run("extract k a b/c h l/x -o out.tar");
        fs::remove_dir_all(session.path("../store")).unwrap();
        let _ = fs::remove_dir_all(session.path("out/in"));
        let _ = fs::remove_file(session.path("out.tar"));
        prop_assert_eq!(listing(&session.path("")), ["d out", "f around mine"]);
    });
}

/// A layer of random entries over a few names, such as tools write: a folder comes before what is
/// in it, no name comes twice.
fn random_layer() -> impl Strategy<Value = Vec<(u8, String, String)>> {
    let name =
        proptest::sample::select(vec!["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/a", "b/b/b"]);
    let entry = (0..7u8, name, "[a-b]{1}(/[a-b])?");
    proptest::collection::vec(entry.prop_map(|(kind, name, text)| (kind, name.to_owned(), text)), 0..7)
}

/// The tar of such a layer, less the entries that contradict others of it; and the same as lines.
fn layer_tar(entries: &[(u8, String, String)], mark: usize) -> Vec<u8> {
    let mut kinds: std::collections::BTreeMap<String, char> = std::collections::BTreeMap::new();
    let mut tar = Tar::default();
    for (kind, name, text) in entries {
        let parents: Vec<&str> = name.match_indices('/').map(|(at, _)| &name[..at]).collect();
        let whole = *kind == 5 || *kind == 6;
        let clear = !kinds.contains_key(name)
            && parents.iter().all(|it| kinds.get(*it).is_none_or(|kind| *kind == 'd'));
        let is_above = kinds.keys().any(|other| other.starts_with(&format!("{name}/")));
        if !clear || (is_above && *kind != 0) || (whole && is_above) {
            continue;
        }
        for parent in parents {
            if kinds.insert(parent.to_owned(), 'd').is_none() {
                tar = folder(tar, parent);
            }
        }
        let (parent, last) =
            name.rsplit_once('/').map_or(("", name.as_str()), |(parent, last)| (parent, last));
        let join = |last: &str| if parent.is_empty() { last.to_owned() } else { format!("{parent}/{last}") };
        let first = kinds.iter().find(|(_, kind)| **kind == 'f').map(|(name, _)| name.clone());
        let (grown, noted) = match (kind, first) {
            (0, _) => (folder(tar, name), 'd'),
            (3, _) => (tar.link(name, text), 'l'),
            (4, Some(first)) => (hard(tar, name, &first), 'h'),
            (5, _) => (tar.file(&join(&format!(".wh.{last}")), ""), 'w'),
            (6, _) => (folder(tar, name).file(&format!("{name}/.wh..wh..opq"), ""), 'd'),
            _ => (tar.file(name, format!("{mark} {name} {text}")), 'f'),
        };
        tar = grown;
        kinds.insert(name.clone(), noted);
    }
    tar.end()
}

#[test]
fn random_images_unpack_as_umoci_unpacks_them() {
    if !have(&[Part::Umoci]) {
        return;
    }
    let layers = proptest::collection::vec(random_layer(), 1..5);
    let cases = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(layers in layers)| {
        let plain: Vec<Vec<u8>> = layers.iter().enumerate().map(|(at, layer)| layer_tar(layer, at)).collect();
        let packed: Vec<Vec<u8>> = plain.iter().map(|layer| gzip(layer)).collect();
        let plain: Vec<&[u8]> = plain.iter().map(Vec::as_slice).collect();
        let forms: Vec<(&str, &[u8])> = packed.iter().map(|layer| ("+gzip", layer.as_slice())).collect();
        let (config, manifest) = (config(&plain).to_string(), manifest(&plain, &forms).to_string());
        let mut blobs = vec![config.as_bytes(), manifest.as_bytes()];
        let mut own = packed.clone();
        own.sort();
        own.dedup();
        blobs.extend(own.iter().map(Vec::as_slice));
        let listed = [descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())];
        let session = Session::new();
        session.feed("import k", &oci(&blobs, &listed).end()).ok();
        let image = format!("{}:k", session.path("../store/images"));
        let mut umoci = session.program("umoci");
        let unpack = umoci.args(["raw", "unpack", "--rootless", "--image", &image]).arg(session.path("umoci"));
        Ran::of(unpack).ok();
        let expected = listing(&session.path("umoci"));
        if expected.is_empty() {
            return Ok(());
        }
        session.run("extract k / -C out").ok();
        prop_assert_eq!(listing(&session.path("out")), expected.clone());
        fs::create_dir(session.path("untarred")).unwrap();
        session.run("extract k / -o out.tar").ok();
        Ran::of(session.program("tar").args(["-xf", "out.tar", "-C", "untarred"])).ok();
        prop_assert_eq!(listing(&session.path("untarred")), expected);
    });
}

/// An image with whiteouts and links, built by the engine: extracted whole, it is what the engine's
/// container has.
#[test]
fn a_built_image_extracts_as_the_engine_exports_it() {
    if !larder_tests::have(&[larder_tests::Part::Docker, larder_tests::Part::Base]) {
        return;
    }
    let mut outer = larder_tests::Session::new();
    let (base, name) = (outer.base(), outer.image("extract"));
    let dockerfile = "RUN rm -r /usr/share/doc /etc/apt && mkdir /etc/apt && echo new > /etc/apt/x && ln -s apt /etc/link\n\
        RUN echo one > /one && ln /one /two && ln -s /etc /conf && chmod 4755 /one\n\
        RUN rm /two /etc/passwd && echo three > /etc/hostname3 && rm -r /usr/share/man && ln -s /one /usr/share/man\n";
    outer.write("Dockerfile", outer.from(&base) + dockerfile);
    outer.run(&format!("DOCKER_BUILDKIT=0 docker build -q -t {name} .")).ok();
    outer.run(&format!("imgtar save k {name} && imgtar extract k / -C out -p")).ok();
    outer.run(&format!("id=$(docker create {name}) && docker export $id > e.tar; docker rm $id")).ok();
    // The engine puts these into every container; devices are not extracted.
    let own = "--exclude=.dockerenv --exclude=dev --exclude=proc --exclude=sys --exclude=etc/hostname \
        --exclude=etc/hosts --exclude=etc/resolv.conf --exclude=etc/mtab";
    outer.run(&format!("mkdir e && tar -xpf e.tar -C e {own} && imgtar extract k / -o - | (mkdir t && tar -xpf - -C t {own})")).ok();
    let list = |folder: &str| {
        outer.run(&format!("cd {folder} && find . -mindepth 1 ! -path './dev*' ! -path './proc*' ! -path './sys*' \
            ! -path ./.dockerenv ! -path ./etc ! -path ./etc/hostname ! -path ./etc/hosts ! -path ./etc/resolv.conf ! -path ./etc/mtab \
            -printf '%P %y %m %l %Ts\\n' | sort; find . -type f ! -path './etc/host*' ! -path ./etc/resolv.conf \
            ! -path './.dockerenv' ! -path './dev*' | sort | xargs -d '\\n' sha256sum")).ok().stdout()
    };
    let expected = list("e");
    for folder in ["out", "t"] {
        let found = list(folder);
        let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert!(found == expected, "{folder}: {differs:?}");
    }
    outer
        .run("imgtar extract k /conf/debian_version -C c && cmp c/conf/debian_version e/etc/debian_version")
        .ok();
}
