//! Limits of some things, marks, defaults, and where each comes from; `rm` and `clean`.

use std::fs;

use crate::scratch::{Scratch, session};

/// Three images of one base, named; four packages.
fn full() -> Scratch {
    let scratch = Scratch::new();
    scratch.three().name("a", &["app:1"]).name("b", &["app:2"]).name("c", &["web:1"]);
    scratch.store_packages(&["python a 10 a", "npm both 20 b s", "npm twin 30 s", "apt c 40 c"]);
    scratch
}

#[test]
fn a_limit_by_ecosystem_and_name_takes_only_what_it_is_about() {
    let scratch = full();
    let limits = "--limit ecosystem=npm,max-entries=1 --limit kind=images,name=app:*,max-entries=1";
    let plan = scratch.run(&format!("plan --json {limits}")).ends(0).stdout();
    assert!(plan.contains(r#""why":"limit-2:max-entries","rank":2"#), "{plan}");
    let table = scratch.run(&format!("plan --verbose {limits}")).ends(0).stdout();
    assert!(table.contains("over 1 (ecosystem=npm)"), "{table}");
    assert!(table.contains("over 1 (kind=images,name=app:*)"), "{table}");
    let head: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["WHAT", "FREES", "LAST", "USE", "USES", "RANK", "THEN", "WHY"]);
    scratch.feed("apply", &plan).ends(0);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("a c", "a both c"));
    // A second run finds nothing.
    scratch.run(&format!("run {limits}")).ends(0).says("nothing to remove");
}

#[test]
fn limits_by_kind_are_layered_value_by_value() {
    let scratch = full();
    let session = session();
    let user = session.store().parent().unwrap().join("home/.config/larder");
    fs::create_dir_all(&user).unwrap();
    let of_user = "[[gcctl.limit]]\necosystem = \"npm\"\nmax-entries = 0\nmax-age = \"25h\"\n";
    fs::write(user.join("config.toml"), of_user).unwrap();
    session.write("larder.toml", "[[gcctl.limit]]\necosystem = \"npm\"\nmax-entries = \"none\"\n");
    let store = scratch.root.as_str();
    let limits = session.run(&format!("limits --store {store}")).ok().stdout();
    let line = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("ecosystem=npm: max-entries").contains("none"), "{limits}");
    let age = line("ecosystem=npm: max-age");
    assert!(age.contains("25 h") && age.ends_with("config.toml"), "{limits}");
    session.run(&format!("run --store {store}")).ok();
    assert_eq!(scratch.packages(), "a both c");
    session.run(&format!("run --store {store} --limit ecosystem=npm,max-age=1h")).ok();
    assert_eq!(scratch.packages(), "a c");
    // A pattern alone is of everything with a kind.
    let wrong = session.run(&format!("plan --store {store} --limit name=a*,max-age=1h"));
    wrong.ends(2).says("a limit has a `kind`");
}

#[test]
fn each_limit_says_where_it_comes_from_and_how_it_stands() {
    let scratch = full();
    fs::write(scratch.root.join("larder.toml"), "[gcctl]\nmax-size = \"1GB\"\nlow = \"50%\"\n").unwrap();
    let mut command = scratch.command("limits --json --max-images 7");
    command.env("LARDER_MAX_AGE", "3d").env_remove("LARDER_MIN_FREE");
    let out = larder_tests::Ran::of(&mut command).ends(0).stdout();
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(
        (row("max-images")["from"].as_str(), row("max-images")["now"].as_u64()),
        (Some("option"), Some(3))
    );
    assert_eq!(row("max-age")["from"], "variable");
    assert!(row("max-size")["from"].as_str().unwrap().ends_with("larder.toml"));
    assert_eq!(
        (row("low")["value"].as_str(), row("max-disks")["value"].as_str()),
        (Some("50 %: 500MB"), Some("none"))
    );
    // What nobody has set has the value of another.
    let derived = |name: &str| (row(name)["value"].as_str().unwrap(), row(name)["from"].as_str().unwrap());
    assert_eq!(derived("high"), ("1.00GB", "as max-size"));
    assert_eq!(derived("packages-max-age"), ("3 d", "as max-age"));
    assert_eq!(derived("models-max-age"), ("3 d", "as packages-max-age"));
    assert_eq!(derived("reserved"), ("the newest of each name", "default"));
    let free = row("min-free");
    assert_eq!(free["from"], "default");
    assert!(free["value"].as_str().unwrap().starts_with("5 %, at most 10.0GB: "), "{free}");
    let age = row("max-age")["now"].as_u64().unwrap();
    assert!((40 * 3600..42 * 3600).contains(&age), "{age}");
}

#[test]
fn a_default_that_cannot_be_had_is_no_failure() {
    let scratch = full();
    let mut command = scratch.command("plan --json");
    command.env_remove("LARDER_MIN_FREE");
    let plan = larder_tests::Ran::of(&mut command).ends(0).stdout();
    assert!(plan.contains(r#""min-free-by-default":true"#), "{plan}");
    // What is named is more than any disk has: a failure where it was asked for.
    scratch.run("run --min-free 17EB --force").ends(1).says("under the limit of");
    // The newest of each name stays: `app:1` and `app:2` are of one.
    assert_eq!(scratch.keys(), "b c");
}

#[test]
fn what_is_named_goes_and_what_is_pinned_stays() {
    let scratch = full();
    scratch.run("pin b").ends(0);
    scratch.run("rm app:1 https://files.example/twin --dry-run").ends(0).says("would go into the trash");
    assert_eq!(scratch.keys(), "a b c");
    scratch.run("rm app:1 https://files.example/twin").ends(0);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("b c", "a both c"));
    scratch.run("undo").ends(0);
    assert_eq!(scratch.keys(), "a b c");
    scratch.run("rm b").ends(1).says("`b` is pinned");
    scratch.run("rm nothing").ends(1).says("nothing is stored under `nothing`");
    scratch.run("rm a https://files.example/nothing").ends(1).says("https://files.example/nothing");
    assert_eq!(scratch.keys(), "a b c", "where one is not there, none goes");
    let names = scratch.run("ls packages --ecosystem npm -0").ends(0).stdout();
    scratch.feed("rm -", &names).ends(0);
    scratch.feed("rm -", "a\nc\n").ends(0);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("b", "a c"));
}

#[test]
fn a_signature_is_removed_by_its_name_alone() {
    let scratch = Scratch::new();
    scratch.three().refer("sig", "a").run("rm sig").ends(0);
    assert_eq!(scratch.keys(), "a b c");
    scratch.refer("sig", "a").run("rm a").ends(0);
    assert_eq!(scratch.keys(), "b c");
}

#[test]
fn what_hashctx_remembers_goes_where_that_is_said() {
    let scratch = full();
    fs::create_dir(scratch.root.join("contexts")).unwrap();
    fs::write(scratch.root.join("contexts/x"), vec![1; 5000]).unwrap();
    scratch.run("clean --contexts --dry-run").ends(0).says("8.19kB about folders would be deleted");
    let before = scratch.du();
    scratch.run("clean --contexts").ends(0).says("deleted 8.19kB about folders");
    assert_eq!(before - scratch.du(), 8192);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("a b c", "a both c twin"));
    scratch.run("clean --images").ends(0);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("", "a both c twin"));
}

#[test]
fn marks_decide_when_something_goes_and_how_much_stays() {
    let scratch = full();
    let all = scratch.json("df --json")["total"].as_u64().unwrap();
    scratch.run(&format!("run --max-size {all}B --low 50%")).ends(0).says("nothing to remove");
    let governed = scratch.json("plan --json")["bytes"].as_u64().unwrap();
    let low = governed - 20_000;
    let flags = format!("--max-size {all}B --high {}B --low {low}B", governed - 1);
    let run = scratch.run(&format!("run {flags}")).ends(0);
    run.says("deleted");
    assert!(scratch.json("plan --json")["bytes"].as_u64().unwrap() <= low);
    scratch.run(&format!("run {flags}")).ends(0).says("nothing to remove");
}
