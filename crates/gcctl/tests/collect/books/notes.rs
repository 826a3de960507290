//! What is listed and planned is the same with notes of the images (`.images`), whatever they say,
//! as without.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use larder_tests::until;
use storekit::oci::{CONFIG, MANIFEST};
use storekit::{Descriptor, Digest};

use crate::index::Random;
use crate::scratch::Scratch;

/// As many images as it takes for notes, and some more.
const MANY: u64 = 1200;

impl Scratch {
    fn notes(&self) -> Utf8PathBuf {
        self.root.join(".images")
    }

    fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = self.store.images().blobs().path(&digest);
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
        digest
    }

    fn key_file(&self, number: u64) -> Utf8PathBuf {
        self.root.join(format!("images/keys/k{number}"))
    }

    /// An image of two layers as a save leaves it: a new file under the name.
    fn put_image(&self, number: u64, random: &mut Random) {
        let describe =
            |media: &str, bytes: &[u8]| Descriptor::new(media, self.blob(bytes), bytes.len() as u64);
        let layers = [0, 1].map(|_| {
            let text = format!("layer {}", random.below(400));
            describe("application/vnd.oci.image.layer.v1.tar", text.as_bytes())
        });
        let config = describe(CONFIG, b"{}");
        let mut manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
        if random.below(20) == 0 {
            manifest["subject"] = serde_json::json!(layers[0]);
        }
        let manifest = describe(MANIFEST, manifest.to_string().as_bytes());
        let (digest, size, app) = (manifest.digest, manifest.size, random.below(50));
        let text = format!(
            "version = 1\nmedia-type = \"{MANIFEST}\"\ndigest = \"{digest}\"\nsize = {size}\nnames = \
             [\"app{app}:v{number}\"]\nsaved = \"2026-01-02T03:04:05Z\"\nimage = \"app{app}\"\n"
        );
        let staged = self.root.join(format!("images/keys/.tmp-{number}"));
        fs::write(&staged, text).unwrap();
        let used = SystemTime::now() - Duration::from_secs(60 * random.below(10_000));
        fs::File::options().append(true).open(&staged).unwrap().set_modified(used).unwrap();
        fs::rename(staged, self.key_file(number)).unwrap();
    }

    fn of_many_images(seed: u64) -> (Self, Random) {
        let scratch = Self::new();
        let mut random = Random(seed);
        scratch.store.images().prepare().unwrap();
        (0..MANY).for_each(|number| scratch.put_image(number, &mut random));
        (scratch, random)
    }

    /// The words, but for when it was and how much the disk has free.
    fn said(&self, words: &str) -> Vec<String> {
        let shown = |line: &str| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["time"].take();
            line["free"].take();
            line.to_string()
        };
        self.run(words).ends(0).stdout().lines().map(shown).collect()
    }

    fn is_the_same_without_notes(&self, words: &str) {
        let with = self.said(words);
        fs::remove_file(self.notes()).unwrap();
        assert_eq!(self.said(words), with, "{words}");
    }
}

const WORDS: [&str; 3] = ["ls --json", "plan --json --max-images 300", "plan --json --max-age 3d"];

#[test]
fn the_images_are_the_same_with_notes_as_without() {
    for seed in 0..2 {
        let (scratch, mut random) = Scratch::of_many_images(seed);
        scratch.run("df").ends(0);
        assert!(scratch.notes().exists());
        for round in 0..4 {
            for _ in 0..40 {
                let number = random.below(2 * MANY);
                let key = scratch.key_file(number);
                let layer = Digest::of(format!("layer {}", random.below(400)).as_bytes());
                let layer = scratch.store.images().blobs().path(&layer);
                match random.below(6) {
                    0 => scratch.put_image(number, &mut random),
                    1 if key.exists() => fs::remove_file(key).unwrap(),
                    2 if key.exists() => {
                        let file = fs::File::options().append(true).open(key).unwrap();
                        file.set_modified(SystemTime::now()).unwrap();
                    }
                    // In place, and as old as before.
                    3 if key.exists() => {
                        let text = fs::read_to_string(&key).unwrap().replace("app1", "bpp1");
                        let used = fs::metadata(&key).unwrap().modified().unwrap();
                        let file = fs::File::options().write(true).open(key).unwrap();
                        file.write_all_at(text.as_bytes(), 0).unwrap();
                        file.set_modified(used).unwrap();
                    }
                    4 if layer.exists() && round == 3 => fs::remove_file(layer).unwrap(),
                    5 if layer.exists() && round == 3 => fs::write(layer, "x").unwrap(),
                    _ => {}
                }
            }
            let _ = fs::hard_link(scratch.key_file(round), scratch.root.join(format!("linked-{round}")));
            if let Ok(mut bytes) = fs::read(scratch.notes()) {
                let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                match random.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 0x10,
                    _ => {}
                }
                fs::write(scratch.notes(), bytes).unwrap();
            }
            scratch.is_the_same_without_notes(WORDS[usize::try_from(round).unwrap() % WORDS.len()]);
            assert_eq!(scratch.json("df --json")["total"], scratch.du());
        }
    }
}

#[test]
fn a_document_that_was_changed_in_place_is_read_again() {
    let (scratch, _) = Scratch::of_many_images(7);
    scratch.run("ls").ends(0);
    assert!(scratch.notes().exists());
    let path = scratch.store.images().blobs().path(&scratch.digest("k7"));
    let old = fs::metadata(&path).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b" ", 0).unwrap();
    file.set_modified(old).unwrap();
    let ls = scratch.run("ls").ends(0).stdout();
    assert_eq!(ls.matches("(damaged)").count(), 1, "{ls}");
}

#[test]
fn the_notes_of_images_are_on_the_books_and_stay_where_little_has_changed() {
    let (scratch, mut random) = Scratch::of_many_images(8);
    assert_eq!(scratch.json("df --json")["total"], scratch.du());
    let written = || fs::metadata(scratch.notes()).unwrap().modified().unwrap();
    // What was written within this tick of the clock is noted by a later run.
    let all_is_noted = || {
        let before = written();
        scratch.run("df").ends(0);
        written() == before
    };
    until("all images are noted", all_is_noted);
    let before = written();
    scratch.put_image(5, &mut random);
    assert_eq!(scratch.json("df --json")["total"], scratch.du());
    assert_eq!(written(), before, "one image is not worth it");
    // Where they cannot be written, the images are read.
    fs::remove_file(scratch.notes()).unwrap();
    fs::create_dir(scratch.notes()).unwrap();
    assert_eq!(scratch.run("ls").ends(0).stdout().lines().count() as u64, MANY + 1);
}
