//! Why an image is a hit or is built, asked before and after.

use std::net::TcpListener;

use larder_tests::{DockerRegistry, Part, Ran, Session, have};

fn project(session: &mut Session) -> String {
    let name = session.image("app");
    session.write("Dockerfile", session.from("scratch") + "ARG V\nLABEL v=$V\nCOPY one two /\n");
    session.write("one", "1");
    session.write("two", "2");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{name}:1\"]\nargs = {{ V = \"1\" }}\n"));
    session.run("git init -q . && git add . && git -c user.name=x -c user.email=x@y commit -qm one").ok();
    name
}

#[test]
fn an_image_says_why_it_is_a_hit_and_why_not() {
    if !have(&[Part::Docker, Part::Git]) {
        return;
    }
    let mut session = Session::new();
    let name = project(&mut session);
    session.run("larder why app").ends(1);
    session.run("larder bake").ok();
    let commit = session.run("git rev-parse HEAD").ok().stdout();
    let said = session.run("larder why app").ok().stdout();
    let host = session.run("uname -n").ok().stdout();
    assert!(said.starts_with("app: hit "), "{said}");
    for words in
        [format!("as `app` on {}, at commit {}", host.trim(), commit.trim()), format!("names: {name}:1")]
    {
        assert!(said.contains(&words), "`{words}` is not in {said}");
    }
    assert!(said.contains("its build took ") && said.contains(" in the store"), "{said}");

    // A new tag, and so another name: the reason is not lost.
    session.write("larder.toml", format!("[image.app]\ntags = [\"{name}:2\"]\nargs = {{ V = \"2\" }}\n"));
    session.write("one", "1b");
    let ran = session.run("larder why app").ends(1);
    for words in
        ["app: stale ", "2 changes since ", "    changed one", "    arg-changed V", "  compared with "]
    {
        assert!(ran.stdout().contains(words), "`{words}` is not in {ran}");
    }
    session.run("larder bake").ok();
    // With changes in the checkout.
    let json = session.run("larder why app --json").ok().rows();
    assert_eq!(json[0]["record"]["commit"], format!("{}+", commit.trim()));
    assert_eq!(json[0]["baked"]["state"], "hit");

    // The nearest earlier save counts, not the last.
    session.write("larder.toml", format!("[image.app]\ntags = [\"{name}:3\"]\nargs = {{ V = \"1\" }}\n"));
    session.write("one", "1");
    session.write("two", "2b");
    let ran = session.run("larder why app").ends(1);
    assert!(ran.stdout().contains("1 change since ") && ran.stdout().contains("    changed two"), "{ran}");
}

#[test]
fn a_stored_image_is_told_of_by_name_and_by_the_beginning_of_its_key() {
    if !have(&[Part::Docker, Part::Git]) {
        return;
    }
    let mut session = Session::new();
    let name = project(&mut session);
    let key = session.run("larder bake --json").ok().rows()[0]["key"].as_str().expect("a key").to_owned();
    session.write("one", "1b");
    session.run("larder bake").ok();
    let said = session.run(&format!("larder why {}", &key[..8])).ok().stdout();
    assert!(
        said.starts_with(&format!("{key}\n")) && said.contains("since then: 1 change\n    changed one\n"),
        "{said}"
    );
    // Outside the project as well.
    let said = session.run(&format!("mkdir ../out && cd ../out && larder why {name}:1")).ok().stdout();
    assert!(said.contains("as `app`") && !said.contains("since then"), "{said}");
    session
        .run("larder why nothing")
        .ends(2)
        .says("`nothing` is no image or disk of larder.toml, and nothing is stored under it");
}

#[test]
fn a_dry_run_tells_the_waves() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("one", "1");
    let [base, top] = ["base", "top"].map(|name| session.image(name));
    session.write("Base", session.from("scratch") + "COPY one /\n");
    session.write("Top", format!("FROM {base}\nCOPY one /two\n"));
    session.write(
        "larder.toml",
        format!(
            "[image.top]\ndockerfile = \"Top\"\nneeds = [\"base\"]\ntags = [\"{top}:1\"]\n[image.base]\ndockerfile = \"Base\"\ntags = [\"{base}:latest\"]\n"
        ),
    );
    // What stands below it for two reasons is told once.
    let lines = session.run("larder bake --dry-run --json").ok().rows();
    let told: Vec<_> = lines
        .iter()
        .map(|line| format!("{} {} {} {}", line["image"], line["state"], line["wave"], line["needs"]))
        .collect();
    assert_eq!(told, ["\"top\" \"stale\" 2 [\"base\"]", "\"base\" \"stale\" 1 []"]);
    session.run(&format!("docker image inspect {base}")).fails();
}

/// A project in `folder` of the session's with one packed image of three files, in git, cloned from
/// `remote`.
fn packed(session: &Session, folder: &str, remote: &str, tiers: &str) {
    let image = format!("[image.app]\npack = {{ dir = \"src\", {} }}\n", session.labels());
    session.write(&format!("{folder}/larder.toml"), format!("{image}{tiers}"));
    for file in ["one", "two", "three"] {
        session.write(&format!("{folder}/src/{file}"), file);
    }
    // So that no other project has the same commit.
    session.write(&format!("{folder}/README"), folder);
    session.run(&format!("git init -qb main {folder}")).ok();
    session.run(&format!("cd {folder} && git remote add origin {remote}")).ok();
    commit(session, folder);
}

fn commit(session: &Session, folder: &str) {
    let git = "git -c user.name=x -c user.email=x@y";
    session.run(&format!("cd {folder} && git add . && {git} commit -qm x")).ok();
}

/// Bakes or asks in a folder, on a machine that has a store of its own.
fn on(session: &Session, machine: &str, folder: &str, words: &str) -> Ran {
    session.run(&format!("cd {folder} && LARDER_DIR=$OLDPWD/store-{machine} larder {words}"))
}

const APP: &str = "https://git.example/team/app.git";

/// A miss is explained by what another machine has saved into the tier.
fn a_tier_explains(tier: &str) {
    let session = Session::new();
    let tiers = format!("[tier.team]\n{tier}\n[profile.all]\nread = [\"team\"]\nwrite = [\"team\"]\n");
    packed(&session, "app", APP, &tiers);
    let made = on(&session, "a", "app", "bake --json").ok().rows();
    let first = made[0]["key"].as_str().expect("a key").to_owned();
    session.write("app/src/one", "1b");

    let said = on(&session, "b", "app", "why app").ends(1);
    let short = &first[..12];
    for words in [
        format!("1 change since {short} in the tier `team`"),
        "    changed one".to_owned(),
        format!("  compared with {first} in the tier `team`"),
        "  of the project git.example/team/app".to_owned(),
        "  in the tier `team`".to_owned(),
    ] {
        assert!(said.stdout().contains(&words), "`{words}` is not in {said}");
    }
    let row = &on(&session, "b", "app", "bake --check --json").ends(1).rows()[0];
    assert_eq!(
        (&row["changes"]["since"], &row["changes"]["tier"]),
        (&first.as_str().into(), &"team".into()),
        "{row}"
    );
    assert_eq!(row["changes"]["lines"], serde_json::json!(["changed one"]), "{row}");

    // The store has a save that differs in more: `why` finds the nearest of both.
    on(&session, "b", "app", "bake").ok();
    for (file, text) in [("one", "one"), ("two", "2b"), ("three", "3b")] {
        session.write(&format!("app/src/{file}"), text);
    }
    on(&session, "c", "app", "bake").ok();
    session.write("app/src/three", "three");
    session.write("app/src/two", "two");
    session.write("app/src/new", "new");
    let near = on(&session, "c", "app", "bake --check").ends(1).stdout();
    assert!(near.contains("3 changes since") && !near.contains("in the tier"), "{near}");
    let said = on(&session, "c", "app", "why app").ends(1).stdout();
    assert!(said.contains(&format!("1 change since {short} in the tier `team`\n    added new\n")), "{said}");

    // What stands in the tier alone is found by name and by the beginning of its key.
    let said = on(&session, "d", "app", &format!("why {}", &short[..8])).ok().stdout();
    assert!(said.starts_with(&first), "{said}");
    assert!(said.contains("since then: 1 change\n    added new\n"), "{said}");
}

#[test]
fn a_folder_explains_a_miss() {
    if have(&[Part::Git]) {
        a_tier_explains("store = \"../near\"");
    }
}

#[test]
fn a_registry_explains_a_miss() {
    if have(&[Part::Git, Part::Registry]) {
        let aside = Session::new();
        let registry = DockerRegistry::start(&aside.aside("registry"));
        a_tier_explains(&format!("registry = \"{}/cache\"", registry.host()));
    }
}

#[test]
fn another_projects_image_of_the_name_explains_nothing() {
    if !have(&[Part::Git]) {
        return;
    }
    let session = Session::new();
    packed(&session, "theirs", "https://git.example/other/app", "");
    packed(&session, "ours", APP, "");
    packed(&session, "alone", "../nowhere", "");
    on(&session, "shared", "theirs", "bake").ok();
    session.write("ours/src/one", "ours");
    session.write("alone/src/one", "alone");
    commit(&session, "ours");
    commit(&session, "alone");
    for folder in ["ours", "alone"] {
        let said = on(&session, "shared", folder, "why app").ends(1).stdout();
        assert!(said.contains("no earlier save") && !said.contains("changed"), "{said}");
        on(&session, "shared", folder, "bake").ok();
    }
    // Another clone, whose address is written otherwise, and without the commit; its own project
    // counts, although the other's is nearer.
    packed(&session, "clone", "git@git.example:team/app", "");
    session.write("clone/src/two", "2b");
    let said = on(&session, "shared", "clone", "why app").ends(1).stdout();
    assert!(said.contains("2 changes since") && said.contains("changed one"), "{said}");
    // A fork shares the commits.
    session.run("git clone -q alone fork").ok();
    session.run("cd fork && git remote set-url origin https://git.example/fork/app").ok();
    session.write("fork/src/two", "2b");
    let said = on(&session, "shared", "fork", "why app").ends(1).stdout();
    assert!(said.contains("1 change since") && said.contains("changed two"), "{said}");
}

#[test]
fn a_tier_that_does_not_answer_costs_an_explanation_one_warning() {
    if !have(&[Part::Git]) {
        return;
    }
    let session = Session::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let tiers = format!("[tier.far]\nregistry = \"{address}/cache\"\ntimeout = \"1s\"\n");
    packed(&session, "app", APP, &tiers);
    let ran = on(&session, "a", "app", "why app").ends(1).says("the tier `far` is left out");
    assert!(ran.stdout().contains("no earlier save"), "{ran}");
    assert_eq!(ran.stderr().matches("warning").count(), 1, "{ran}");
    let ran = on(&session, "a", "app", "why abcd").ends(2).says("the tier `far` is not searched");
    assert_eq!(ran.stderr().matches("warning").count(), 1, "{ran}");
}
