//! The alarm where what is removed is wanted again: it names the limit that would have kept it.

use std::fs;

use crate::scratch::Scratch;

const PACKAGES: [&str; 4] = ["npm one 40 a", "npm two 30 b", "npm three 20 c", "npm four 10 d"];

/// A limit that stands: `max-size 1kB`.
fn settle(scratch: &Scratch, limit: &str) {
    let (name, value) = limit.split_once(' ').unwrap();
    let value = if name.ends_with("images") { value.to_owned() } else { format!("\"{value}\"") };
    let (table, name) = match name.strip_prefix("packages-") {
        Some(name) => ("pkgcache", name),
        None => ("gcctl", name),
    };
    fs::write(scratch.root.join("larder.toml"), format!("[{table}]\n{name} = {value}\n")).unwrap();
}

#[test]
fn what_goes_for_an_option_of_one_run_raises_no_alarm() {
    for (words, piped) in
        [("--max-size 13kB", false), ("--max-age 5h", true), ("--limit ecosystem=npm,max-entries=1", false)]
    {
        let scratch = Scratch::new();
        scratch.store_packages(&PACKAGES);
        for key in ["a", "b", "c"] {
            scratch.save(key, 20, &["base", key]).name(key, &["app:1"]);
        }
        if piped {
            let plan = scratch.run(&format!("plan --json {words}")).ends(0).stdout();
            scratch.feed("apply --force", &plan);
        } else {
            scratch.run(&format!("run --force {words}"));
        }
        scratch.store_packages(&PACKAGES);
        for key in ["a", "b", "c"] {
            crate::save(&scratch.store, key, &["base", key]);
            let key = key.parse().unwrap();
            let saved = storekit::Event::new("imgtar", storekit::Kind::Save, &key, jiff::Timestamp::now());
            scratch.store.events().record(&saved).unwrap();
        }
        let ran = scratch.run("plan").ends(0);
        assert!(!ran.stderr().contains("wanted again"), "{words}: {}", ran.stderr());
    }
}

/// The limit that an alarm names: `max-size`, `31GB`.
fn advised(stderr: &str) -> (String, String) {
    let (_, advice) = stderr.split_once("; `").unwrap();
    let (limit, _) = advice.split_once("` would have kept them").unwrap();
    let (name, value) = limit.split_once(" = ").unwrap();
    (name.to_owned(), value.trim_matches('"').to_owned())
}

#[test]
fn packages_that_are_fetched_again_are_told_with_the_limit_that_would_have_kept_them() {
    for limit in ["packages-max-size 13kB", "packages-max-age 5h", "max-size 13kB"] {
        let scratch = Scratch::new();
        settle(&scratch, limit);
        scratch.store_packages(&PACKAGES).run("run --force").ends(0);
        let ran = scratch.run("plan").ends(0);
        assert!(!ran.stderr().contains("too tight"), "{}", ran.stderr());
        // Two of three, or of four, are half and more.
        scratch.store_packages(&PACKAGES[..2]);
        fs::remove_file(scratch.root.join("larder.toml")).unwrap();
        let ran = scratch
            .run("plan")
            .ends(0)
            .says("packages that were removed in the last 7 days, 2 were wanted again");
        let (name, value) = advised(&ran.stderr());
        assert_eq!(name, limit.split_once(' ').unwrap().0);
        // With that limit, and all of them, nothing would have gone.
        let kept = Scratch::new();
        kept.store_packages(&PACKAGES)
            .run(&format!("run --{name} {value}"))
            .ends(0)
            .says("nothing to remove");
    }
}

#[test]
fn images_that_are_built_again_are_told_with_the_limit_that_would_have_kept_them() {
    for limit in ["max-images 0", "max-age 5h", "max-size 1kB"] {
        let scratch = Scratch::new();
        // `max-size` cannot be met, and keeps images without names.
        for key in ["a", "b", "c"] {
            scratch.save(key, 20, &["base", key]).name(key, &["app:1"]);
        }
        scratch.save("d", 1, &["d"]).name("d", &["app:1"]);
        settle(&scratch, limit);
        scratch.run("run --force");
        fs::remove_file(scratch.root.join("larder.toml")).unwrap();
        for key in ["a", "b", "c"] {
            crate::save(&scratch.store, key, &["base", key]);
            let key = key.parse().unwrap();
            let saved = storekit::Event::new("imgtar", storekit::Kind::Save, &key, jiff::Timestamp::now());
            scratch.store.events().record(&saved).unwrap();
        }
        let ran = scratch.run("plan").ends(0).says("3 were wanted again");
        let (name, value) = advised(&ran.stderr());
        assert_eq!(name, limit.split_once(' ').unwrap().0);
        let kept = Scratch::new();
        for (key, hours) in [("a", 20), ("b", 20), ("c", 20), ("d", 1)] {
            kept.save(key, hours, &["base", key]).name(key, &["app:1"]);
        }
        kept.run(&format!("run --{name} {value}")).ends(0).says("nothing to remove");
    }
}
