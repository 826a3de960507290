//! `info`: what it tells, and that what it says would be free is.

use std::fs;

use storekit::{PackageKey, Store};

use crate::index::Random;
use crate::scratch::{Scratch, layer};

/// What collection governs, in bytes.
fn governed(scratch: &Scratch) -> u64 {
    let df = scratch.json("df --json");
    let all: u64 = crate::PARTS[..9].iter().map(|part| df[part].as_u64().unwrap()).sum();
    all - df["trash-folders"].as_u64().unwrap()
}

/// Any images and packages, with bases, bodies and subjects that some of them share: what is said
/// of any set of them is what is free when just these are removed.
#[test]
fn what_would_be_free_without_any_set_is_free_without_it() {
    for seed in 0..12 {
        let (scratch, mut random) = (Scratch::new(), Random(seed));
        let keys: Vec<_> = (0..6).map(|number| format!("k{number}")).collect();
        for key in &keys {
            let layers: Vec<_> = (0..2).map(|_| format!("l{}", random.below(5))).collect();
            scratch.save(key, 1, &layers.iter().map(String::as_str).collect::<Vec<_>>());
        }
        scratch.refer("sig", "k0").refer("sig-of-sig", "sig");
        let packages: Vec<_> = (0..5)
            .map(|number| format!("npm p{number} 1 b{} b{}", random.below(4), random.below(4)))
            .collect();
        scratch.store_packages(&packages.iter().map(String::as_str).collect::<Vec<_>>());
        // Half of them go: the others are young, and pinned where they are images.
        let going: Vec<_> = keys.iter().filter(|_| random.below(2) == 0).collect();
        let urls: Vec<_> = (0..5).filter(|_| random.below(2) == 0).collect();
        let url = |number: &u64| format!("https://files.example/p{number}");
        let mut words: Vec<String> =
            going.iter().map(|key| (*key).clone()).chain(urls.iter().map(url)).collect();
        // Twice is once.
        words.extend(words.first().cloned());
        if words.len() < 3 {
            continue;
        }
        let told = scratch.json(&format!("info --json {}", words.join(" ")));
        for key in &going {
            scratch.age(key, 100);
        }
        for number in &urls {
            age_package(&scratch.store, &url(number));
        }
        let before = governed(&scratch);
        scratch.run("run --max-age 50h --trash-grace 0s --force").ends(0);
        let left: Vec<_> = keys.iter().filter(|key| !going.contains(key)).cloned().collect();
        assert!(left.iter().all(|key| scratch.keys().contains(key)), "{seed}");
        assert_eq!(told["frees"].as_u64().unwrap(), before - governed(&scratch), "{seed}: {words:?} {told}");
    }
}

fn age_package(store: &Store, url: &str) {
    let key = PackageKey::new("npm", "files.example", url, None);
    let file = fs::File::options().append(true).open(store.packages().path(&key)).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(100 * 3600)).unwrap();
}

#[test]
fn an_image_is_told_with_its_layers_and_what_its_build_fetched() {
    let scratch = Scratch::new();
    scratch.three().refer("sig", "a").store_packages(&["npm one 1 body"]);
    let key = PackageKey::new("npm", "files.example", "https://files.example/one", None);
    let record = format!(
        "{{\"version\":1,\"objects\":2,\"bytes\":7}}\n{{\"url\":\"https://files.example/one\",\"ecosystem\":\"npm\",\
         \"name\":\"one\",\"version\":\"1.0\",\"entry\":\"{}\",\"level\":\"indexed\",\"bytes\":7}}\nodd\n{{\"url\":\"x\\u001b[31m\"}}\n",
        key.path()
    );
    fs::create_dir_all(scratch.root.join("images/fetched")).unwrap();
    fs::write(scratch.root.join("images/fetched/a"), record).unwrap();
    let text = scratch.run("info a").ends(0).stdout();
    for line in [
        format!("layer {}  8.19kB  shared with b c\n", layer("base")),
        format!("layer {}  8.19kB\n", layer("a")),
        "fetched npm one 1.0 (indexed, 7B) https://files.example/one\n".to_owned(),
        "with it goes sig\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert!(text.contains("\nmanifest sha256:") && text.contains("\nconfig sha256:"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let json = scratch.json("info a --json");
    assert_eq!(json["fetched"].as_array().unwrap().len(), 2);
    assert_eq!(json["referrers"], serde_json::json!(["sig"]));
    let text = scratch.run("info https://files.example/one").ends(0).stdout();
    assert!(text.contains("from files.example\n") && text.ends_with("built into a\n"), "{text}");
    let ran = scratch.run("info a none b").ends(1).says("`gcctl ls` lists the keys");
    assert!(ran.stdout().ends_with("would be free\n"), "{}", ran.stdout());
    assert!(ran.stdout().contains("without these 2 images together "), "{}", ran.stdout());
}
