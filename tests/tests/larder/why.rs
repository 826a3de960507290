//! Why an image is a hit or is built, asked before and after.

use larder_tests::{Part, Session, have};

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
        .says("`nothing` is no image of larder.toml, and nothing is stored under it");
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
            "[image.top]\ndockerfile = \"Top\"\ntags = [\"{top}:1\"]\n[image.base]\ndockerfile = \"Base\"\ntags = [\"{base}:latest\"]\n"
        ),
    );
    let lines = session.run("larder bake --dry-run --json").ok().rows();
    let told: Vec<_> = lines
        .iter()
        .map(|line| format!("{} {} {} {}", line["image"], line["state"], line["wave"], line["needs"]))
        .collect();
    assert_eq!(told, ["\"top\" \"stale\" 2 [\"base\"]", "\"base\" \"stale\" 1 []"]);
    session.run(&format!("docker image inspect {base}")).fails();
}
