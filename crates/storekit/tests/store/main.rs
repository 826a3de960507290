//! What DESIGN promises of a store, seen through the library's front door.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests damage files as they like, and may panic"
)]

mod index;
mod lookup;

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::oci::{CONFIG, INDEX, MANIFEST};
use storekit::{
    Beside, Committed, Descriptor, Digest, Discarded, Entry, Error, Key, Lease, Overwrite, Store,
};

struct Scratch {
    _dir: tempfile::TempDir,
    store: Store,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().join("store");
        let store = Store::open_or_create(&root).unwrap().with_patience(Duration::from_millis(200));
        store.images().prepare().unwrap();
        Self { _dir: dir, store }
    }

    fn index(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.store.images().folder().join("index.json")).unwrap()).unwrap()
    }

    fn blob(&self, digest: &Digest) -> Utf8PathBuf {
        self.store.images().blobs().path(digest)
    }
}

/// An image of one layer; its blobs are leased.
fn image(store: &Store, layer: &[u8]) -> (Descriptor, Vec<Lease>) {
    let blobs = store.images().blobs();
    let layer = blobs.put(layer).unwrap();
    let config = blobs.put(b"{}").unwrap();
    let describe = |media: &str, lease: &Lease| Descriptor::new(media, lease.digest(), lease.size());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(CONFIG, &config),
        "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = blobs.put(manifest.to_string().as_bytes()).unwrap();
    (describe(MANIFEST, &manifest), vec![layer, config, manifest])
}

fn entry(descriptor: Descriptor) -> Entry {
    Entry::new(descriptor, Timestamp::now())
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn save(store: &Store, name: &str, layer: &[u8]) -> (Entry, Committed) {
    let (descriptor, leases) = image(store, layer);
    let entry = entry(descriptor);
    let committed = store.images().commit(&key(name), &entry, None, &leases, Overwrite::No).unwrap();
    (entry, committed)
}

/// Writes index.json as another tool would: what it finds and one descriptor more.
fn add_foreign(scratch: &Scratch, descriptor: &Descriptor, name: Option<&str>) {
    let mut index = scratch.index();
    let mut descriptor = serde_json::to_value(descriptor).unwrap();
    if let Some(name) = name {
        descriptor["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": name});
    }
    index["manifests"].as_array_mut().unwrap().push(descriptor);
    fs::write(scratch.store.images().folder().join("index.json"), index.to_string()).unwrap();
}

#[track_caller]
fn assert_whole(store: &Store, name: &str) {
    let (_, reach) = store.images().find(&key(name)).unwrap().expect("the key is there");
    assert!(reach.is_whole(), "{name} lacks {:?}", reach.missing);
}

#[test]
fn a_link_that_leads_nowhere_is_named_where_a_store_is_to_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let link = Utf8Path::from_path(dir.path()).unwrap().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let error = Store::open_or_create(&link).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot follow the link `{link}`"));
    fs::create_dir(dir.path().join("nowhere")).unwrap();
    Store::open_or_create(&link).unwrap();
}

#[test]
fn a_saved_image_is_found_whole() {
    let scratch = Scratch::new();
    let (saved, committed) = save(&scratch.store, "k", b"layer");
    assert_eq!(committed, Committed::Saved);
    assert_eq!(scratch.store.images().get(&key("k")).unwrap(), Some(saved));
    assert_whole(&scratch.store, "k");
    assert!(scratch.store.images().find(&key("other")).unwrap().is_none());
}

#[test]
fn the_first_save_wins_unless_forced() {
    let scratch = Scratch::new();
    let (first, _) = save(&scratch.store, "k", b"first");
    assert_eq!(save(&scratch.store, "k", b"second").1, Committed::AlreadyThere);
    assert_eq!(scratch.store.images().get(&key("k")).unwrap(), Some(first));
    let (descriptor, leases) = image(&scratch.store, b"second");
    let second = entry(descriptor);
    scratch.store.images().commit(&key("k"), &second, None, &leases, Overwrite::Yes).unwrap();
    assert_eq!(scratch.store.images().get(&key("k")).unwrap(), Some(second));
}

#[test]
fn a_damaged_image_counts_as_unsaved() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    fs::write(scratch.blob(&Digest::of(b"layer")), b"lAyer").unwrap();
    assert_eq!(save(&scratch.store, "k", b"second").1, Committed::Saved);
    assert_whole(&scratch.store, "k");
}

#[test]
fn writing_a_damaged_blob_again_mends_it() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    fs::write(scratch.blob(&Digest::of(b"layer")), b"lAyer").unwrap();
    let (_, _leases) = image(&scratch.store, b"layer");
    scratch.store.images().blobs().verify(&Digest::of(b"layer")).unwrap();
}

#[test]
fn an_unreadable_key_file_counts_as_unsaved() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    fs::write(scratch.store.images().folder().join("keys/k"), "<<<<<<< ours\n").unwrap();
    assert!(scratch.store.images().get(&key("k")).unwrap_err().is_corrupt());
    assert_eq!(save(&scratch.store, "k", b"layer").1, Committed::Saved);
    assert_whole(&scratch.store, "k");
}

#[test]
fn a_damaged_blob_is_told_and_moved_aside() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    let digest = Digest::of(b"layer");
    fs::write(scratch.blob(&digest), b"lAyer").unwrap();
    let mut read = Vec::new();
    let blobs = scratch.store.images().blobs();
    let error = blobs.reader(&digest).unwrap().unwrap().read_to_end(&mut read).unwrap_err();
    assert!(Error::io("read", "blob", error).is_corrupt());
    assert!(!blobs.contains(&digest));
    assert!(matches!(blobs.lease(&digest), Ok(None)), "a damaged blob was brought back");
    let (_, reach) = scratch.store.images().find(&key("k")).unwrap().unwrap();
    assert_eq!(reach.missing, [digest].into());
}

#[test]
fn a_blob_of_another_size_counts_as_missing() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    fs::write(scratch.blob(&Digest::of(b"layer")), b"lay").unwrap();
    let (_, reach) = scratch.store.images().find(&key("k")).unwrap().unwrap();
    assert!(!reach.is_whole());
}

#[test]
fn announced_digests_are_checked_before_a_blob_has_its_name() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let mut writer = blobs.create().unwrap();
    writer.write_all(b"other").unwrap();
    assert!(matches!(writer.finish(Some(&Digest::of(b"layer"))), Err(Error::Mismatch { .. })));
    assert!(blobs.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(blobs.folder()).unwrap().count(), 0, "an unfinished file was left");
}

#[test]
fn nothing_half_written_stands_under_a_final_name() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let mut writer = blobs.create().unwrap();
    writer.write_all(b"half").unwrap();
    assert!(blobs.list().unwrap().is_empty());
    assert_eq!(scratch.store.images().sweep_unfinished().unwrap(), 0, "a living writer's file was swept");
    drop(writer.finish(None).unwrap());
    assert_eq!(blobs.list().unwrap(), [Digest::of(b"half")]);
}

#[test]
fn a_leased_blob_is_not_discarded_and_a_discarded_one_comes_back() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let blobs = images.blobs();
    let lease = blobs.put(b"blob").unwrap();
    let digest = lease.digest();
    let batch = scratch.store.trash().batch(Timestamp::now());
    let lock = scratch.store.lock_exclusive().unwrap();
    assert_eq!(images.discard_blob(&lock, &digest, &batch).unwrap(), Discarded::InUse);
    drop(lease);
    assert_eq!(images.discard_blob(&lock, &digest, &batch).unwrap(), Discarded::Moved);
    assert_eq!(images.discard_blob(&lock, &digest, &batch).unwrap(), Discarded::Gone);
    drop(lock);
    assert!(!blobs.contains(&digest));
    let reused = blobs.lease(&digest).unwrap().expect("the trash still has it");
    assert_eq!(reused.size(), 4);
    assert!(blobs.contains(&digest));
}

#[test]
fn a_commit_brings_back_what_was_discarded_meanwhile() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let (descriptor, leases) = image(&scratch.store, b"layer");
    drop(leases);
    let batch = scratch.store.trash().batch(Timestamp::now());
    let lock = scratch.store.lock_exclusive().unwrap();
    for digest in images.blobs().list().unwrap() {
        images.discard_blob(&lock, &digest, &batch).unwrap();
    }
    drop(lock);
    images.commit(&key("k"), &entry(descriptor), None, &[], Overwrite::No).unwrap();
    assert_whole(&scratch.store, "k");
}

#[test]
fn a_commit_without_its_blobs_writes_nothing() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let (descriptor, leases) = image(&scratch.store, b"layer");
    drop(leases);
    fs::remove_file(scratch.blob(&Digest::of(b"layer"))).unwrap();
    let error = images.commit(&key("k"), &entry(descriptor), None, &[], Overwrite::No).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    assert!(images.keys().unwrap().is_empty());
}

#[test]
fn undo_brings_back_entries_with_their_blobs_and_inputs() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let (descriptor, leases) = image(&scratch.store, b"layer");
    images.commit(&key("k"), &entry(descriptor), Some(b"inputs"), &leases, Overwrite::No).unwrap();
    drop(leases);
    let batch = scratch.store.trash().batch(Timestamp::now());
    assert_eq!(images.remove(&[key("k"), key("never")], &batch).unwrap(), [key("k")]);
    let lock = scratch.store.lock_exclusive().unwrap();
    for digest in images.blobs().list().unwrap() {
        images.discard_blob(&lock, &digest, &batch).unwrap();
    }
    drop(lock);
    assert!(images.list().unwrap().is_empty());
    assert_eq!(images.undo(&batch).unwrap(), [key("k")]);
    assert_whole(&scratch.store, "k");
    assert_eq!(images.inputs(&key("k")).unwrap().unwrap(), b"inputs");
}

#[test]
fn the_trash_is_emptied_after_its_grace() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    save(&scratch.store, "k", b"layer");
    images.remove(&[key("k")], &scratch.store.trash().batch(Timestamp::now())).unwrap();
    let trash = scratch.store.trash();
    assert_eq!(trash.empty(Duration::from_secs(60), SystemTime::now()).unwrap(), 0);
    let later = SystemTime::now() + Duration::from_secs(61);
    // A clock that was ahead: the grace begins when the folder is first seen.
    let folder = scratch.store.root().join("trash").join(trash.batches().unwrap()[0].name());
    let bytes = storekit::trash::disk_bytes(&folder).unwrap();
    assert!(bytes > 4096, "a file and its folders: {bytes}");
    fs::File::open(folder).unwrap().set_modified(later + Duration::from_secs(86_400)).unwrap();
    assert_eq!(trash.empty(Duration::from_secs(60), later).unwrap(), 0);
    let later = later + Duration::from_secs(61);
    assert_eq!(trash.empty(Duration::from_secs(60), later).unwrap(), bytes);
    assert!(trash.batches().unwrap().is_empty());
}

#[test]
fn a_bad_key_file_is_an_error_and_never_an_empty_list() {
    let scratch = Scratch::new();
    save(&scratch.store, "a", b"layer");
    fs::write(scratch.store.images().folder().join("keys/b"), "version = 2\n").unwrap();
    assert!(matches!(scratch.store.images().list(), Err(Error::Newer { found: 2, .. })));
}

#[test]
fn nested_indexes_are_followed_and_too_deep_ones_refused() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let (mut descriptor, leases) = image(&scratch.store, b"layer");
    for depth in 1..=9 {
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]});
        let lease = blobs.put(index.to_string().as_bytes()).unwrap();
        descriptor = Descriptor::new(INDEX, lease.digest(), lease.size());
        match scratch.store.images().walker().reach(&descriptor) {
            Ok(reach) => assert_eq!(reach.present.len(), leases.len() + depth),
            Err(error) => {
                assert!(depth > 7 && matches!(error, Error::BadDocument { .. }), "{depth}: {error}");
            }
        }
    }
}

#[test]
fn a_layer_that_lies_elsewhere_need_not_be_there() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let config = blobs.put(b"{}").unwrap();
    let mut layer =
        Descriptor::new("application/vnd.oci.image.layer.nondistributable.v1.tar", Digest::of(b"far"), 3);
    layer.urls = vec!["https://example.com/far".into()];
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": Descriptor::new(CONFIG, config.digest(), 2), "layers": [layer],
    });
    let manifest = blobs.put(manifest.to_string().as_bytes()).unwrap();
    let root = Descriptor::new(MANIFEST, manifest.digest(), manifest.size());
    assert!(scratch.store.images().walker().reach(&root).unwrap().is_whole());
}

#[test]
fn what_a_document_refers_to_is_told_and_is_not_needed() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let config = blobs.put(b"{}").unwrap();
    let subject = Descriptor::new(MANIFEST, Digest::of(b"image"), 9);
    let reach = |subject: serde_json::Value| {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "config": Descriptor::new(CONFIG, config.digest(), 2), "layers": [], "subject": subject,
        });
        let manifest = blobs.put(manifest.to_string().as_bytes()).unwrap();
        let root = Descriptor::new(MANIFEST, manifest.digest(), manifest.size());
        let reach = scratch.store.images().walker().reach(&root).unwrap();
        assert!(reach.is_whole());
        reach.subject
    };
    assert_eq!(reach(serde_json::to_value(&subject).unwrap()), Some(subject.digest));
    for nonsense in [serde_json::json!(null), serde_json::json!({}), serde_json::json!("x")] {
        assert_eq!(reach(nonsense), None);
    }
}

#[test]
fn a_stamp_from_the_future_counts_as_used_now() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    let path = scratch.store.images().folder().join("keys/k");
    let future = SystemTime::now() + Duration::from_secs(1_000_000);
    fs::File::options().append(true).open(&path).unwrap().set_modified(future).unwrap();
    assert!(scratch.store.images().last_use(&key("k")).unwrap().unwrap() <= SystemTime::now());
    // A clock that is behind makes no use an earlier one.
    scratch.store.images().touch(&key("k"));
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), future);
    assert!(scratch.store.images().is_stamped_ahead(&key("k")));
    scratch.store.images().settle_stamps().unwrap();
    assert!(
        fs::metadata(&path).unwrap().modified().unwrap() <= SystemTime::now(),
        "it was not stamped again"
    );
}

#[test]
fn each_use_is_stamped() {
    let scratch = Scratch::new();
    save(&scratch.store, "k", b"layer");
    let images = scratch.store.images();
    let path = images.folder().join("keys/k");
    let stamp = || fs::metadata(&path).unwrap().modified().unwrap();
    // Whoever chose the key a moment ago has to see it.
    let time = SystemTime::now() - Duration::from_millis(50);
    fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    images.touch(&key("k"));
    assert!(stamp() > time);
}

#[test]
fn events_are_one_line_each_and_cut_off_ones_are_passed_over() {
    let scratch = Scratch::new();
    let events = scratch.store.events();
    let event = storekit::Event::new(
        "imgtar",
        storekit::Kind::Hit,
        &key("k"),
        "2026-01-02T03:04:05Z".parse().unwrap(),
    );
    events.record(&event).unwrap();
    events.record(&event).unwrap();
    let path = scratch.store.root().join("events/2026-01-02.ndjson");
    let text = fs::read_to_string(&path).unwrap();
    let line = r#"{"time":"2026-01-02T03:04:05Z","tool":"imgtar","kind":"hit","key":"k"}"#;
    assert_eq!(text, format!("{line}\n{line}\n"));
    fs::write(&path, format!("{line}\n{}", &line[..20])).unwrap();
    assert_eq!(events.read().unwrap(), [event]);
}

#[test]
fn a_second_writer_of_a_leased_blob_gets_a_lease_on_the_same_file() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let blobs = images.blobs();
    let first = blobs.put(b"blob").unwrap();
    let mut writer = blobs.create().unwrap();
    writer.write_all(b"blob").unwrap();
    let second = writer.finish(None).unwrap();
    drop(second);
    let batch = scratch.store.trash().batch(Timestamp::now());
    let lock = scratch.store.lock_exclusive().unwrap();
    assert_eq!(images.discard_blob(&lock, &first.digest(), &batch).unwrap(), Discarded::InUse);
}

#[test]
fn no_key_file_is_written_that_cannot_be_read_again() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let many: Vec<String> = (0..60_000).map(|n| format!("registry.example/app:{n}")).collect();
    let (descriptor, leases) = image(&scratch.store, b"layer");
    let entry = Entry { names: many.clone(), ..entry(descriptor.clone()) };
    let refused = images.commit(&key("k"), &entry, None, &leases, Overwrite::Yes).unwrap_err();
    assert!(matches!(&refused, Error::Io { .. }), "{refused}");
    assert!(images.get(&key("k")).unwrap().is_none());
    save(&scratch.store, "other", b"other");
    images.set_names(&key("other"), many).unwrap_err();
    assert_whole(&scratch.store, "other");
    // Nor does another tool's word make one.
    let long = Descriptor { media_type: "x".repeat(2 << 20), ..descriptor };
    add_foreign(&scratch, &long, Some("long"));
    assert_eq!(images.list().unwrap().len(), 1);
}

#[test]
fn a_key_file_of_any_length_keeps_no_other_image_from_being_saved() {
    let scratch = Scratch::new();
    save(&scratch.store, "long", b"one");
    let path = scratch.store.root().join("images/keys/long");
    fs::write(&path, [fs::read(&path).unwrap(), b"#".repeat(2 << 20)].concat()).unwrap();
    assert!(scratch.store.images().get(&key("long")).unwrap_err().is_corrupt());
    save(&scratch.store, "other", b"two");
    assert_eq!(scratch.store.images().list_sound().unwrap().len(), 1);
}

#[test]
fn a_damaged_key_file_keeps_no_other_image_from_being_saved() {
    let scratch = Scratch::new();
    save(&scratch.store, "a", b"layer");
    fs::write(scratch.store.images().folder().join("keys/a"), "garbage").unwrap();
    assert_eq!(save(&scratch.store, "b", b"other").1, Committed::Saved);
    assert_whole(&scratch.store, "b");
    assert_eq!(scratch.index()["manifests"].as_array().unwrap().len(), 1);
    assert!(scratch.store.images().list().unwrap_err().is_corrupt(), "who must know all still hears of it");
}

#[test]
fn undo_leaves_what_was_saved_since() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let (old, leases) = image(&scratch.store, b"old");
    images.commit(&key("k"), &entry(old), Some(b"old inputs"), &leases, Overwrite::No).unwrap();
    let batch = scratch.store.trash().batch(Timestamp::now());
    images.remove(&[key("k")], &batch).unwrap();
    let (new, _) = save(&scratch.store, "k", b"new");
    assert!(images.undo(&batch).unwrap().is_empty());
    assert_eq!(images.get(&key("k")).unwrap(), Some(new));
    assert_eq!(images.inputs(&key("k")).unwrap(), None);
}

#[test]
fn what_is_kept_beside_an_entry_goes_and_comes_with_it() {
    let scratch = Scratch::new();
    let images = scratch.store.images();
    let (first, leases) = image(&scratch.store, b"first");
    let beside = Beside { inputs: Some(b"inputs"), fetched: Some(b"fetched") };
    images.commit_with(&key("k"), &entry(first.clone()), beside, &leases, Overwrite::No).unwrap();
    let fetched = || images.fetched(&key("k")).unwrap();
    assert_eq!(fetched().as_deref(), Some(&b"fetched"[..]));
    let batch = scratch.store.trash().batch(Timestamp::now());
    images.remove(&[key("k")], &batch).unwrap();
    assert_eq!(fetched(), None);
    assert_eq!(images.undo(&batch).unwrap(), [key("k")]);
    assert_eq!(fetched().as_deref(), Some(&b"fetched"[..]));
    assert_eq!(images.inputs(&key("k")).unwrap().as_deref(), Some(&b"inputs"[..]));
    // A save without one says nothing of what was fetched.
    images.commit(&key("k"), &entry(first), None, &leases, Overwrite::Yes).unwrap();
    assert_eq!(fetched(), None);
    // What a writer left that died before the entry goes.
    std::fs::write(images.folder().join("fetched/gone"), "x").unwrap();
    assert!(images.abandoned().unwrap() > 0 && images.sweep_unfinished().unwrap() > 0);
    assert!(!images.folder().join("fetched/gone").exists());
}

#[test]
fn a_blob_is_taken_up_where_its_writer_left_it() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let digest = Digest::of(b"first second");
    blobs.resume(&digest).unwrap().write_all(b"first ").unwrap();
    let mut writer = blobs.resume(&digest).unwrap();
    assert_eq!(writer.size(), 6);
    // While it is written, nobody else has it, and no collection takes it.
    assert_eq!(blobs.resume(&digest).unwrap().size(), 0);
    assert_eq!(scratch.store.images().sweep_unfinished().unwrap(), 0);
    writer.write_all(b"second").unwrap();
    let lease = writer.finish(Some(&digest)).unwrap();
    assert_eq!((lease.digest(), lease.size()), (digest, 12));
    // Others can lease what has its name now.
    assert!(blobs.lease_sound(&digest).unwrap().is_some());
    assert_eq!(blobs.list().unwrap(), [digest]);
    assert_eq!(scratch.store.images().abandoned().unwrap(), 0);
}

#[test]
fn what_was_left_and_does_not_match_is_gone() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let digest = Digest::of(b"right");
    let mut writer = blobs.resume(&digest).unwrap();
    writer.write_all(b"wrong").unwrap();
    assert!(matches!(writer.finish(Some(&digest)), Err(Error::Mismatch { .. })));
    let mut writer = blobs.resume(&digest).unwrap();
    assert_eq!(writer.size(), 0);
    writer.write_all(b"wrong, and longer").unwrap();
    writer.restart().unwrap();
    writer.write_all(b"right").unwrap();
    assert_eq!(writer.finish(Some(&digest)).unwrap().size(), 5);
    assert_eq!(blobs.read(&digest, 99).unwrap(), b"right");
}

#[test]
fn a_collection_removes_what_was_left() {
    let scratch = Scratch::new();
    let blobs = scratch.store.images().blobs();
    let digest = Digest::of(b"right");
    blobs.resume(&digest).unwrap().write_all(b"ri").unwrap();
    assert!(scratch.store.images().sweep_unfinished().unwrap() > 0);
    assert_eq!(blobs.resume(&digest).unwrap().size(), 0);
}
