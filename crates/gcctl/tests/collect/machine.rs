//! A store against a naive model of it: saves, uses, pins, runs, plans that are applied later,
//! removals and `undo`, at random, over real files.

use std::collections::{BTreeMap, BTreeSet};

use crate::scratch::Scratch;

/// A small generator (Knuth's constants): the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What is there, as somebody would note it who only watches.
#[derive(Default)]
struct Model {
    /// Keys, with the hours since their last use.
    images: BTreeMap<String, u64>,
    pins: BTreeSet<String>,
    /// Names of packages, with the hours, and the ecosystems.
    packages: BTreeMap<String, (u64, &'static str)>,
    /// What each run has moved to the trash, the last at the end.
    trash: Vec<Vec<String>>,
}

impl Model {
    /// The keys that may go, the one unused for longest first.
    fn stale(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.images.iter().filter(|(key, _)| !self.pins.contains(*key)).collect();
        keys.sort_by_key(|(key, hours)| (std::cmp::Reverse(**hours), (*key).clone()));
        keys.into_iter().map(|(key, _)| key.clone()).collect()
    }

    fn go(&mut self, keys: Vec<String>) {
        self.images.retain(|key, _| !keys.contains(key));
        if !keys.is_empty() {
            self.trash.push(keys);
        }
    }

    fn keep_images(&mut self, most: usize) {
        let over = self.images.len().saturating_sub(most);
        self.go(self.stale().into_iter().take(over).collect());
    }

    fn keep_packages(&mut self, ecosystem: &str, most: usize) {
        let mut own: Vec<_> = self.packages.iter().filter(|(_, it)| it.1 == ecosystem).collect();
        own.sort_by_key(|(_, it)| it.0);
        let over: Vec<_> = own.into_iter().skip(most).map(|(name, _)| name.clone()).collect();
        self.packages.retain(|name, _| !over.contains(name));
    }

    fn is(&self, scratch: &Scratch, after: &str) {
        let (keys, packages) = (scratch.keys(), scratch.packages());
        let joined = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(keys, joined(self.images.keys().collect()), "after {after}");
        assert_eq!(packages, joined(self.packages.keys().collect()), "after {after}");
    }
}

/// The bytes of all that collection governs, without the folders of the trash and with them.
fn governed(scratch: &Scratch) -> (u64, u64) {
    let df = scratch.json("df --json");
    let all = crate::PARTS.iter().map(|part| df[part].as_u64().unwrap()).sum::<u64>();
    assert_eq!(all, scratch.du(), "{df}");
    let number = |part: &str| df[part].as_u64().unwrap();
    let all = all - number("contexts") - number("events") - number("first-seen") - number("other");
    (all - number("trash-folders"), all)
}

/// Runs it; what it says that went from the disk has gone from it.
fn run(scratch: &Scratch, words: &str, plan: Option<&str>) {
    let (_, before) = governed(scratch);
    let ran = match plan {
        None => scratch.run(&format!("{words} --json")),
        Some(plan) => scratch.feed(&format!("{words} --json"), plan),
    };
    let out = ran.stdout();
    let end: serde_json::Value = serde_json::from_str(out.lines().last().expect("a line")).unwrap();
    let number = |name: &str| end[name].as_u64().unwrap();
    let freed = number("bytes") - number("trashed") + number("package-bytes") + number("emptied");
    let (left, after) = governed(scratch);
    assert_eq!(before + number("trash-folders") - after, freed, "{words}: {end}");
    assert_eq!(end["left"]["bytes"].as_u64().unwrap(), left, "{words}");
}

fn step(scratch: &Scratch, model: &mut Model, random: &mut Random, hours: u64) -> String {
    let number = random.below(12);
    let (key, most) = (format!("k{number}"), usize::try_from(random.below(6)).unwrap());
    match random.below(9) {
        0 | 1 if !model.images.contains_key(&key) => {
            let shared = format!("s{}", number % 3);
            scratch.save(&key, hours, &[&shared, &key]);
            model.images.insert(key.clone(), hours);
            format!("save {key}")
        }
        2 => {
            let ecosystem = ["apt", "npm"][usize::try_from(number % 2).unwrap()];
            let name = format!("p{number}");
            let body = format!("b{}", number % 5);
            scratch.store_packages(&[&format!("{ecosystem} {name} {hours} {name} {body}")]);
            model.packages.insert(name.clone(), (hours, ecosystem));
            format!("store {name}")
        }
        3 if model.images.contains_key(&key) => {
            if model.pins.remove(&key) {
                scratch.run(&format!("unpin {key}")).ends(0);
            } else {
                scratch.run(&format!("pin {key}")).ends(0);
                model.pins.insert(key.clone());
            }
            format!("pin {key}")
        }
        4 => {
            let words = format!("run --max-images {most}");
            run(scratch, &words, None);
            model.keep_images(most);
            words
        }
        5 => {
            let words = format!("run --limit ecosystem=npm,max-entries={most}");
            run(scratch, &words, None);
            model.keep_packages("npm", most);
            words
        }
        6 => {
            // What is used between the plan and its end stays.
            let plan = scratch.run(&format!("plan --max-images {most} --json")).ends(0).stdout();
            let doomed: Vec<_> = model.stale();
            let over = model.images.len().saturating_sub(most);
            let mut doomed: Vec<_> = doomed.into_iter().take(over).collect();
            if let Some(first) = doomed.first().cloned() {
                scratch.age(&first, hours);
                model.images.insert(first.clone(), hours);
                doomed.remove(0);
            }
            run(scratch, "apply", Some(&plan));
            model.go(doomed);
            format!("apply {most}")
        }
        7 if model.images.contains_key(&key) && !model.pins.contains(&key) => {
            run(scratch, &format!("rm {key}"), None);
            model.go(vec![key.clone()]);
            format!("rm {key}")
        }
        8 if !model.trash.is_empty() => {
            // A key that was saved anew since stays as it is.
            let keys = model.trash.pop().unwrap();
            scratch.run("undo");
            for (key, hours) in keys.into_iter().zip(hours..) {
                model.images.entry(key).or_insert_with_key(|key| {
                    // What comes back was used now; this tells which of them was first.
                    scratch.age(key, hours);
                    hours
                });
            }
            "undo".to_owned()
        }
        _ => "nothing".to_owned(),
    }
}

#[test]
fn a_store_is_what_a_naive_model_of_it_says() {
    for seed in 1..=4 {
        let (scratch, mut model, mut random) = (Scratch::new(), Model::default(), Random(seed));
        let mut done = Vec::new();
        for hours in (0..45).rev() {
            // So far apart that a step can use several hours.
            done.push(step(&scratch, &mut model, &mut random, 10 + hours * 20));
            model.is(&scratch, &format!("{seed}: {}", done.join(", ")));
        }
        scratch.assert_whole();
        scratch.run("run").ends(0);
        scratch.run("run").ends(0).says("nothing to remove");
    }
}
