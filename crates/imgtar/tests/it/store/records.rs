//! What the builds of an image fetched, as it is kept beside the image.

use std::fs;

use crate::kit::session::Session;

/// A record of these objects, as pkgcache writes it.
fn record(session: &Session, complete: bool, names: &[&str]) {
    let head = format!("{{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\",\"complete\":{complete}}}\n");
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let line = |name: &&str| {
        format!(
            "{{\"url\":\"https://h.example/{name}\",\"ecosystem\":\"npm\",\"name\":\"{name}\",\"digest\":\"{digest}\",\"bytes\":1500}}\n"
        )
    };
    session.write("record", head + &names.iter().map(line).collect::<String>());
}

#[test]
fn what_a_build_fetched_is_kept_beside_its_image() {
    let session = Session::new();
    session.write("d/f", "x");
    let told = || {
        let lines = session.run("info k --packages --json").ok().rows();
        let names = lines[1..].iter().map(|line| line["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), lines[0]["complete"] == true)
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    session.run("pack k d").ok();
    session.run("info k --packages").ends(1).says("no record of what its build fetched was saved with `k`");
    session.run("info none --packages").ends(1).says("nothing is stored under `none`");
    record(&session, false, &["b", "a"]);
    session.run("pack k d --packages record --force").ok();
    assert_eq!(told(), (names(&["a", "b"]), false));
    let table =
        session.run("info k --packages").ok().says("2 objects, 3.00kB; steps from the engine's own cache");
    assert!(
        table
            .stdout()
            .contains("npm        a              1.50kB            0123456789ab  https://h.example/a\n"),
        "{table}"
    );
    // A build with steps that the engine had adds to it; one from scratch begins it anew.
    record(&session, false, &["c"]);
    session.run("pack k d --packages record --force").ok();
    assert_eq!(told(), (names(&["a", "b", "c"]), false));
    record(&session, false, &[]);
    session.run("pack k d --packages record --force").ok();
    assert_eq!(told(), (names(&["a", "b", "c"]), false));
    session.run("info k --packages").ok().says("3 objects, 4.50kB; 3 of an earlier build; steps from");
    record(&session, true, &["d"]);
    session.run("pack k d --packages record --force").ok();
    assert_eq!(told(), (names(&["d"]), true));
    session.run("info k --packages").ok().says("1 object, 1.50kB\n");
    // What was not there, and what the cache alone needed, is no part of the image.
    let text = fs::read_to_string(session.path("record")).unwrap().replace("\"version\":1", "\"version\":2");
    let more = "{\"url\":\"https://h.example/no\",\"ecosystem\":\"npm\",\"status\":404}\n\
        {\"url\":\"https://h.example/index\",\"ecosystem\":\"npm\",\"bytes\":9,\"needed\":true}\n";
    session.write("record", text + more);
    session.run("pack k d --packages record --force").ok();
    let table = session.run("info k --packages").ok().says("1 object, 1.50kB; 1 more was not there\n");
    assert!(!table.stdout().contains("/no") && !table.stdout().contains("/index"), "{table}");
    assert_eq!(session.run("info k --packages --json").ok().rows().len(), 4);
    // It goes with the image, and of a save without one nothing is known.
    session.run("rm k").ok();
    session.run("pack k d").ok();
    session.run("info k --packages").ends(1);
    record(&session, true, &[]);
    session.run("pack k d --packages record --force").ok();
    assert_eq!(told(), (names(&[]), true));
    // The same image again keeps its record, another one has none.
    session.run("pack k d --force").ok();
    assert_eq!(told(), (names(&[]), true));
    session.write("d/f", "y");
    session.run("pack k d --force").ok();
    session.run("info k --packages").ends(1);
    // What is no record is refused before anything is saved.
    session.write("record", "{}\n");
    session.run("pack other d --packages record").ends(2).says("`record` is not a record");
    session.run("has other").ends(1);
}

#[test]
fn a_new_key_takes_up_the_record_of_the_image_before() {
    let session = Session::new();
    let pack = |key: &str, more: &str| {
        session.write("d/f", key);
        session.run(&format!("pack {key} d --packages record {more}")).ok();
    };
    let told = |key: &str| {
        let lines = session.run(&format!("info {key} --packages --json")).ok().rows();
        let told = lines[1..].iter().map(|line| {
            let earlier = if line["earlier"] == true { "-" } else { "" };
            format!("{}{earlier}", line["name"].as_str().unwrap())
        });
        (told.collect::<Vec<_>>().join(" "), lines[0]["complete"] == true)
    };
    record(&session, true, &["base"]);
    pack("one", "--image app --name ours/app:1");
    // The engine had the step that fetched `base`.
    record(&session, false, &["top"]);
    pack("two", "--image app --name ours/app:2");
    assert_eq!(told("two"), ("base- top".to_owned(), false));
    record(&session, false, &[]);
    pack("three", "--image app --name ours/app:3");
    assert_eq!(told("three"), ("base- top-".to_owned(), false));
    // Another project's image of that name, and one without a name, are others.
    record(&session, false, &["x"]);
    for (key, more) in [("four", "--image app --name theirs/app:1"), ("five", "--name ours/app:1")] {
        pack(key, more);
        assert_eq!(told(key), ("x".to_owned(), false), "{key}");
    }
    // From scratch, all is known.
    record(&session, true, &["base"]);
    pack("six", "--image app --name ours/app:4");
    assert_eq!(told("six"), ("base".to_owned(), true));
}

#[test]
fn a_hostile_record_is_an_error_and_no_more() {
    let session = Session::new();
    session.write("d/f", "x");
    record(&session, true, &["a"]);
    session.run("pack k d --packages record").ok();
    let file = session.store().root().join("images/fetched/k");
    let head = "{\"version\":1,\"time\":\"2026-01-02T03:04:05Z\"";
    let deep = format!("{head}}}\n{{\"url\":\"u\",\"x\":{}1{}}}\n", "[".repeat(9999), "]".repeat(9999));
    for text in ["", "x", "\u{0}", "{}", "[]\n", &format!("{head}}}\nnull\n"), &deep] {
        fs::write(&file, text).unwrap();
        for more in ["", "--json"] {
            session.run(&format!("info k --packages {more}")).ends(3).says("the record of what `k` fetched");
        }
    }
    fs::write(&file, head.replace(":1,", ":3,") + "}\n").unwrap();
    session.run("info k --packages").ends(2).says("version 3");
    // Numbers without measure, and what a terminal would obey.
    let most = u64::MAX;
    let line = format!("{{\"url\":\"u\\u001b[2J\",\"bytes\":{most}}}\n");
    fs::write(&file, format!("{head},\"left_out\":{most}}}\n{line}{}", line.replace("u\\", "v\\"))).unwrap();
    let table = session.run("info k --packages").ok();
    assert!(!table.stdout().contains('\u{1b}'), "{table}");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    session.run("info k --packages").ends(2).says("it is a folder");
    // A save begins it anew, where it can.
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "x").unwrap();
    session.run("pack k d --packages record --force").ok();
    session.run("info k --packages").ok().says("1 object, 1.50kB\n");
}
