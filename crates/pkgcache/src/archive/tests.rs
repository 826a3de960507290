//! What comes out goes in; and what somebody made up does not.

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::{Digest, Level, PackageEntry, PackageKey, Store, StoredResponse};
use tar::{EntryType, Header};

use super::{Export, Imported, import, named_in};
use crate::commands::Selection;
use crate::error::Error;

struct Scene {
    folder: tempfile::TempDir,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open_or_create(&Utf8Path::from_path(folder.path()).unwrap().join("store")).unwrap();
        store.packages().prepare().unwrap();
        Self { folder, store }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join(name)
    }

    fn put(&self, url: &str, body: &str) -> PackageEntry {
        let mut writer = self.store.packages().body().unwrap();
        writer.write(body.as_bytes()).unwrap();
        let lease = writer.finish(None).unwrap();
        let entry = entry(url, body);
        self.store.packages().put(&entry, &[lease]).unwrap();
        entry
    }

    fn export(&self, name: &str, since: Option<&Utf8Path>) -> Utf8PathBuf {
        let earlier = since.map(|path| named_in(path).unwrap()).unwrap_or_default();
        let mut export = Export::new(self.store.packages(), earlier, false).unwrap();
        export.add_selection(&Selection::default()).unwrap();
        export.write(&self.path(name)).unwrap();
        self.path(name)
    }

    /// The URLs with the bodies that are stored, sorted.
    fn stored(&self) -> Vec<(String, Vec<String>)> {
        let mut all = Vec::new();
        let blobs = self.store.packages().blobs();
        let read = |digest: Digest| String::from_utf8(blobs.read(&digest, 1 << 20).unwrap()).unwrap();
        self.store
            .packages()
            .each::<storekit::Error>(&mut |found| {
                let entry = found.entry.unwrap();
                let bodies = entry.responses.iter().map(|it| read(it.digest)).collect();
                all.push((entry.key.url, bodies));
                Ok(())
            })
            .unwrap();
        all.sort();
        all
    }

    #[track_caller]
    fn refuses(&self, archive: &[u8], why: &str) {
        let path = self.path("hostile");
        std::fs::write(&path, archive).unwrap();
        let before = self.stored();
        match import(&self.store, &path) {
            Err(Error::BadArchive { reason, .. }) => assert!(reason.contains(why), "{reason}: not `{why}`"),
            other => panic!("it was taken, or is not called damaged: {other:?}"),
        }
        assert_eq!(self.stored(), before, "something was stored ({why})");
        let unfinished = std::fs::read_dir(self.store.packages().blobs().folder()).unwrap();
        let unfinished =
            unfinished.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(unfinished.count(), 0, "unfinished files stay ({why})");
    }
}

fn entry(url: &str, body: &str) -> PackageEntry {
    let mut entry = PackageEntry::new(PackageKey::new("generic", "h.example", url, None));
    let time = Timestamp::UNIX_EPOCH;
    entry.responses.push(StoredResponse {
        status: 200,
        digest: Digest::of(body.as_bytes()),
        size: body.len() as u64,
        part: None,
        announced: None,
        level: Level::None,
        requested: time,
        received: time,
        headers: Vec::new(),
        vary: Vec::new(),
        selecting: std::collections::BTreeMap::new(),
    });
    entry
}

/// A file of an archive: its name, its kind, its bytes.
type Made = (String, EntryType, Vec<u8>);

fn body(text: &str) -> Made {
    (format!("blobs/sha256/{}", Digest::of(text.as_bytes()).hex()), EntryType::Regular, text.into())
}

fn object(entry: &PackageEntry) -> Made {
    (format!("entries/{}", entry.key.path()), EntryType::Regular, entry.to_text().into())
}

fn manifest(objects: u64, bodies: &[&str]) -> Made {
    let bytes: usize = bodies.iter().map(|body| body.len()).sum();
    let mut text = format!(
        "{{\"version\":1,\"objects\":{objects},\"bodies\":{},\"bytes\":{bytes},\"expected\":0}}\n",
        bodies.len()
    );
    for body in bodies {
        let digest = Digest::of(body.as_bytes());
        let line = serde_json::json!({ "digest": digest, "size": body.len(), "url": "u" });
        text = format!("{text}{line}\n");
    }
    ("manifest.ndjson".to_owned(), EntryType::Regular, text.into())
}

fn tar(files: &[Made]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, kind, bytes) in files {
        let mut header = Header::new_gnu();
        // As they are, also where no well-meaning writer would have them.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(*kind);
        header.set_cksum();
        out.append(&header, &bytes[..]).unwrap();
    }
    out.into_inner().unwrap()
}

fn packed(files: &[Made]) -> Vec<u8> {
    zstd::encode_all(&tar(files)[..], 1).unwrap()
}

#[test]
fn what_is_exported_is_imported_and_the_same_gives_the_same_file() {
    let (one, two) = (Scene::new(), Scene::new());
    one.put("https://h.example/a", "first");
    one.put("https://h.example/b", "second");
    // A body that two have is carried once.
    one.put("https://h.example/c", "first");
    let archive = one.export("one.tar.zst", None);
    assert_eq!(std::fs::read(&archive).unwrap(), std::fs::read(one.export("again", None)).unwrap());
    let imported = import(&two.store, &archive).unwrap();
    assert_eq!(imported, Imported { objects: 3, bodies: 2, bytes: 11, ..Imported::default() });
    assert_eq!(two.stored(), one.stored());
    let again = import(&two.store, &archive).unwrap();
    assert_eq!((again.bodies, again.present, again.objects), (0, 2, 3));
    assert_eq!(std::fs::read(two.export("back", None)).unwrap(), std::fs::read(&archive).unwrap());
}

#[test]
fn a_later_export_leaves_out_what_an_earlier_one_carried_and_says_so() {
    let (one, two) = (Scene::new(), Scene::new());
    one.put("https://h.example/a", "first");
    let first = one.export("first", None);
    one.put("https://h.example/b", "second");
    let second = one.export("second", Some(&first));
    // One after that expects both.
    one.put("https://h.example/c", "third");
    let third = one.export("third", Some(&second));
    assert_eq!(named_in(&third).unwrap().len(), 3);
    let mut early = import(&two.store, &third).unwrap();
    // They come in the order of the entries' paths.
    early.named.sort();
    assert_eq!((early.bodies, early.missing), (1, 2));
    assert_eq!(early.named, ["https://h.example/a", "https://h.example/b"]);
    assert_eq!(two.stored(), [("https://h.example/c".to_owned(), vec!["third".to_owned()])]);
    for archive in [&first, &second, &third] {
        assert_eq!(import(&two.store, archive).unwrap().missing, 0);
    }
    assert_eq!(two.stored(), one.stored());
}

#[test]
fn what_is_stored_already_stays_beside_what_comes() {
    let (one, two) = (Scene::new(), Scene::new());
    one.put("https://h.example/a", "theirs");
    let archive = one.export("one", None);
    let mut ours = two.put("https://h.example/a", "ours");
    ours.responses[0].received = "2026-01-02T03:04:05Z".parse().unwrap();
    two.store.packages().put(&ours, &[]).unwrap();
    import(&two.store, &archive).unwrap();
    let both = vec!["ours".to_owned(), "theirs".to_owned()];
    assert_eq!(two.stored(), [("https://h.example/a".to_owned(), both)], "the newer one is first");
    // A body that is damaged here is written anew.
    std::fs::write(two.store.packages().blobs().path(&Digest::of(b"theirs")), "their").unwrap();
    assert_eq!(import(&two.store, &archive).unwrap().bodies, 1);
    assert_eq!(two.stored()[0].1[1], "theirs");
}

#[test]
fn what_belongs_to_an_account_is_left_out() {
    let one = Scene::new();
    let mut entry = one.put("https://h.example/a", "private");
    entry.key.scope = Some(Digest::of(b"secret"));
    one.store.packages().put(&entry, &[]).unwrap();
    for (private, objects) in [(false, 1), (true, 2)] {
        let mut export = Export::new(one.store.packages(), HashSet::default(), private).unwrap();
        assert_eq!(export.add_selection(&Selection::default()).unwrap(), 2);
        let carried = export.write(&one.path("out")).unwrap();
        assert_eq!((carried.objects, carried.left_out), (objects, 2 - objects));
    }
}

#[test]
fn a_damaged_body_is_never_exported() {
    let one = Scene::new();
    one.put("https://h.example/a", "first");
    std::fs::write(one.store.packages().blobs().path(&Digest::of(b"first")), "fIrst").unwrap();
    let mut export = Export::new(one.store.packages(), HashSet::default(), false).unwrap();
    export.add_selection(&Selection::default()).unwrap();
    assert!(export.write(&one.path("out")).is_err());
    assert!(!one.path("out").exists());
}

#[test]
fn archives_that_somebody_made_up_are_refused_and_leave_nothing() {
    let scene = Scene::new();
    scene.put("https://h.example/own", "own");
    let a = entry("https://h.example/a", "body");
    let good = [manifest(1, &["body"]), body("body"), object(&a)];
    let with = |at: usize, made: Made| {
        let mut files = good.to_vec();
        files[at] = made;
        packed(&files)
    };
    let plain = |name: &str, bytes: &str| (name.to_owned(), EntryType::Regular, bytes.into());
    scene.refuses(b"", "");
    scene.refuses(b"no archive at all", "");
    scene.refuses(&packed(&[]), "it is empty");
    scene.refuses(&packed(&good[1..]), "it does not begin with a manifest");
    // Names that lead elsewhere, and files of other kinds.
    for name in
        ["../../etc/passwd", "/etc/passwd", "blobs/sha256/../../x", "blobs/sha256/", "entries/../a.toml"]
    {
        scene.refuses(&with(1, plain(name, "body")), name.trim_start_matches("entries/"));
    }
    let hex = body("body").0;
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Directory, EntryType::GNUSparse] {
        scene.refuses(&with(1, (hex.clone(), kind, "body".into())), "is not a plain file");
    }
    for kind in [EntryType::GNULongName, EntryType::XHeader, EntryType::XGlobalHeader] {
        scene.refuses(&with(1, ("x".to_owned(), kind, vec![b'x'; 1 << 16])), "is not a plain file");
    }
    // Bodies.
    scene.refuses(&with(1, (hex.clone(), EntryType::Regular, "bodY".into())), "that should be sha256:");
    scene.refuses(
        &with(1, (hex.clone(), EntryType::Regular, "longer".into())),
        "more than its manifest names",
    );
    scene
        .refuses(&packed(&[good[0].clone(), good[1].clone(), good[1].clone(), good[2].clone()]), "more than");
    scene.refuses(&packed(&good[..2]), "it ends before all");
    // Objects.
    let never = object(&entry("https://h.example/a", "a body that never came"));
    scene.refuses(&packed(&[manifest(1, &[]), never]), "it has a body that nothing names");
    scene.refuses(
        &packed(&[good[0].clone(), good[1].clone(), plain("entries/h.example/00/x.toml", "?")]),
        "x.toml",
    );
    let elsewhere = object(&entry("https://h.example/b", "body")).0;
    scene.refuses(
        &with(2, (elsewhere, EntryType::Regular, a.to_text().into())),
        "does not stand where its URL says",
    );
    scene.refuses(&with(2, (object(&a).0, EntryType::Regular, vec![b'#'; (1 << 20) + 1])), "too large");
    let mut announced = a.clone();
    announced.responses[0].announced = Some(format!("sha512:{}", "0".repeat(128)).parse().unwrap());
    scene.refuses(&with(2, object(&announced)), "was announced as sha512:");
    announced.responses[0].announced = Some(Digest::of(b"other").into());
    scene.refuses(&with(2, object(&announced)), "was announced as sha256:");
    // Manifests.
    scene.refuses(&with(0, plain("manifest.ndjson", "")), "cannot be understood");
    let long = format!("{{\"version\":1{}", " ".repeat(1 << 17));
    scene.refuses(&with(0, plain("manifest.ndjson", &long)), "too long");
    let counts = String::from_utf8(good[0].2.clone()).unwrap().replace("\"bytes\":4", "\"bytes\":5");
    scene.refuses(&with(0, plain("manifest.ndjson", &counts)), "names other bodies than it says");
    // Cut off anywhere, it is not taken for whole; what came whole by then would be.
    let whole = packed(&good);
    for end in 1..whole.len() {
        std::fs::write(scene.path("cut"), &whole[..end]).unwrap();
        assert!(matches!(import(&scene.store, &scene.path("cut")), Err(Error::BadArchive { .. })), "{end}");
    }
    // The same where a body is announced that never comes.
    std::fs::write(scene.path("lacking"), with(0, manifest(1, &["other", "body"]))).unwrap();
    assert!(matches!(import(&scene.store, &scene.path("lacking")), Err(Error::BadArchive { .. })));
    let mut bomb = tar(&good);
    bomb.extend(vec![0; 64 << 20]);
    std::fs::write(scene.path("bomb"), zstd::encode_all(&bomb[..], 1).unwrap()).unwrap();
    assert!(matches!(import(&scene.store, &scene.path("bomb")), Err(Error::BadArchive { .. })));
}

#[test]
fn what_has_no_room_and_what_is_of_a_later_version_is_refused_before_anything_is_written() {
    let scene = Scene::new();
    let made = |text: String| {
        let files = [("manifest.ndjson".to_owned(), EntryType::Regular, text.into())];
        std::fs::write(scene.path("made"), packed(&files)).unwrap();
        import(&scene.store, &scene.path("made"))
    };
    let (digest, size) = (Digest::of(b"x"), u64::MAX / 2);
    let huge = format!("{{\"version\":1,\"objects\":1,\"bodies\":1,\"bytes\":{size},\"expected\":0}}\n");
    let line = format!("{{\"digest\":\"{digest}\",\"size\":{size},\"url\":\"u\"}}\n");
    assert!(matches!(made(huge.clone() + &line), Err(Error::NoRoom { needed, .. }) if needed == size));
    assert!(matches!(made(huge.replace(":1,\"obj", ":2,\"obj")), Err(Error::NewerArchive { found: 2, .. })));
    assert!(scene.stored().is_empty());
}

#[test]
fn damaged_archives_never_panic_and_never_store_a_wrong_body() {
    let (one, two) = (Scene::new(), Scene::new());
    for number in 0..4 {
        one.put(&format!("https://h.example/{number}"), &format!("body {number}").repeat(50));
    }
    let good = zstd::decode_all(&std::fs::read(one.export("good", None)).unwrap()[..]).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut bad = good.clone();
        let at = usize::try_from(seed >> 33).unwrap() % bad.len();
        bad[at] ^= u8::try_from(seed & 0xff).unwrap() | 1;
        std::fs::write(two.path("bad"), zstd::encode_all(&bad[..], 1).unwrap()).unwrap();
        let _ = import(&two.store, &two.path("bad"));
    }
    // Whatever was stored is what its digest says: `stored` reads it so.
    for (_, bodies) in two.stored() {
        assert!(bodies.iter().all(|body| body.starts_with("body ")), "{bodies:?}");
    }
}

#[test]
fn an_archive_that_was_damaged_on_the_way_is_told_wherever_it_was() {
    let one = Scene::new();
    for number in 0..4 {
        one.put(&format!("https://h.example/{number}"), &format!("body {number}").repeat(50));
    }
    let good = std::fs::read(one.export("good", None)).unwrap();
    let whole = zstd::decode_all(&good[..]).unwrap();
    for at in 0..good.len() {
        let two = Scene::new();
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(two.path("bad"), &bad).unwrap();
        let imported = import(&two.store, &two.path("bad"));
        // A few bits of a frame say nothing.
        assert!(imported.is_err() || zstd::decode_all(&bad[..]).is_ok_and(|it| it == whole), "byte {at}");
    }
}
