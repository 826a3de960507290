//! The names that images get in registries, and images that are found by a name.

use std::net::TcpListener;

use larder_tests::Session;

use super::{Scene, from, image};

fn releases(host: &str) -> String {
    format!(
        "[profile.release]\nwhen = {{ tag = \"v*\" }}\ntags = [\n\"{host}/team/{{image}}:v{{version}}\",\n\"{host}/team/{{image}}:{{sha}}\",\n\
         {{ name = \"{host}/team/{{image}}:{{minor}}\", move = \"forward\" }},\n{{ name = \"{host}/team/{{image}}:{{major}}\", move = \"forward\" }},\n\
         {{ name = \"{host}/team/{{image}}:latest\", move = \"forward\" }},\n]\n"
    )
}

impl Scene {
    /// Commits another content and tags it.
    fn commit(&self, version: &str) {
        self.session.write("src/file", version);
        self.session.run(&format!("git add -A && git commit -qm {version} && git tag v{version}")).ok();
    }
}

#[test]
fn a_release_moves_names_forward_only() {
    let Some(scene) = Scene::start(releases) else { return };
    let session = &scene.session;
    session.run("git init -q").ok();
    scene.commit("1.0.0");
    let sha = session.run("git rev-parse HEAD").ok().stdout().trim().to_owned();
    let listed = session.run("larder tags").ok().stdout();
    assert_eq!(listed.matches("pushed").count(), 5, "{listed}");
    assert!(scene.tags("team/app").is_empty());
    let said = session.run("larder bake").ok().stdout();
    assert_eq!(said.matches("tagged: app: ").count(), 5, "{said}");
    let mut tags = vec!["1", "1.0", "latest", "v1.0.0", &sha];
    tags.sort_unstable();
    assert_eq!(scene.tags("team/app"), tags);

    scene.commit("1.1.0");
    session.run("larder bake").ok();
    let newest = scene.digest("team/app:v1.1.0");
    assert_ne!(newest, scene.digest("team/app:v1.0.0"));
    assert_eq!(scene.digest("team/app:latest"), newest);

    // A backport has its own series alone.
    session.run("git checkout -q v1.0.0").ok();
    scene.commit("1.0.1");
    let listed = session.run("larder tags").ok().stdout();
    assert_eq!(listed.matches("stays: 1.1.0 is there").count(), 2, "{listed}");
    session.run("larder bake").ok();
    assert_eq!(
        (scene.digest("team/app:latest"), scene.digest("team/app:1")),
        (newest.clone(), newest.clone())
    );
    assert_eq!(scene.digest("team/app:1.0"), scene.digest("team/app:v1.0.1"));

    // A pre-release has its full version alone.
    scene.commit("2.0.0-rc.1");
    session.run("larder bake").ok();
    assert!(scene.tags("team/app").contains(&"v2.0.0-rc.1".to_owned()));
    assert!(!scene.tags("team/app").contains(&"2".to_owned()));
    assert_eq!(scene.digest("team/app:latest"), newest);

    // A build without a version moves nothing forward.
    session.write("src/file", "topic");
    session.run("git checkout -qb topic && git add -A && git commit -qm topic && git tag release-5.0.0").ok();
    let listed = session.run("larder tags --profile release").ok().says("`release-5.0.0` is not a version");
    assert_eq!(listed.stdout().matches("stays: no version is built").count(), 1, "{listed}");
    session.run("git tag -d release-5.0.0 && larder bake --profile release").ok();
    assert_eq!(scene.digest("team/app:latest"), newest);
    let topic = session.run("git rev-parse HEAD").ok().stdout();
    assert_ne!(scene.digest(&format!("team/app:{}", topic.trim())), newest);

    session.run("git checkout -q v2.0.0-rc.1").ok();

    // Where files differ from the commit, no name would say what it is.
    scene.session.write("src/file", "changed");
    let before = scene.tags("team/app");
    session.run("larder bake").ends(1).says("files differ from the git commit");
    let listed = session.run("larder tags").ends(1).says("files differ from the git commit");
    assert!(!listed.stdout().contains("pushed"), "{listed}");
    // Nor where git does not know what it is made from; what is not an input does not matter.
    session.run("git checkout -q src/file && echo '*.tmp' > .git/info/exclude").ok();
    session.write("notes", "mine");
    session.run("larder tags").ok();
    for new in ["src/new", "src/ignored.tmp"] {
        session.write(new, "new");
        let why = format!("`{new}`, an input of `app`, is not in the git commit");
        session.run("larder tags").ends(1).says(&why);
        session.run("larder bake").ends(1).says(&why);
        session.run(&format!("rm {new}")).ok();
    }
    assert_eq!(scene.tags("team/app"), before);
}

#[test]
fn nothing_is_tagged_where_anything_failed() {
    let Some(scene) = Scene::start(releases) else { return };
    let session = &scene.session;
    session.run("git init -q").ok();
    let bad = "[image.bad]\npack = { dir = \"none\" }\n";
    let file = session.run("cat larder.toml").ok().stdout();
    session.write("larder.toml", format!("{file}{bad}"));
    scene.commit("1.0.0");
    session.run("larder bake").ends(2);
    assert!(scene.tags("team/app").is_empty());
    session.run("larder bake app").ok();
    assert_eq!(scene.tags("team/app").len(), 5);
    // A step that fails comes before the names, too.
    session.write("larder.toml", format!("{file}[[ci.step]]\nname = \"test\"\nrun = \"test -e passes\"\n"));
    scene.commit("1.1.0");
    session.run("larder ci").ends(1).says("failed: test: `test -e passes` ended with code 1");
    assert!(!scene.tags("team/app").contains(&"v1.1.0".to_owned()));
    session.run("touch passes && larder ci").ok();
    assert!(scene.tags("team/app").contains(&"v1.1.0".to_owned()));
}

/// A profile that gives the image a name in each of these places.
fn places(places: &[&str]) -> String {
    let names: Vec<_> = places.iter().map(|place| format!("\"{place}\"")).collect();
    format!("[profile.all]\ntags = [{}]\n", names.join(", "))
}

#[test]
fn all_names_are_given_or_none() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let tags = |host: &str| places(&[&format!("{host}/{{image}}:dev"), &format!("{address}/{{image}}:dev")]);
    let Some(scene) = Scene::start(tags) else { return };
    let session = &scene.session;
    session.run("larder bake").ends(2).says(&format!("`{address}/app` takes no push"));
    assert!(scene.tags("app").is_empty());

    // A name that cannot be is known before anything is baked.
    let host = scene.registry.host();
    let bad = places(&[&format!("{host}/{{image}}:dev"), &format!("{host}/{{branch}}/{{image}}:dev")]);
    session.write("larder.toml", format!("{}{bad}", image(session)));
    session.write("src/file", "two");
    let branch = "GITHUB_ACTIONS=true GITHUB_REF=refs/heads/a..b GITHUB_REF_NAME=a..b";
    for job in ["bake", "ci"] {
        let ran = session.run(&format!("{branch} larder {job}")).ends(2).says("a..b");
        assert!(ran.stdout().is_empty() && !ran.stderr().contains("building"), "{ran}");
    }

    // Where a registry fails midway, it is said which names there are.
    let both = places(&[&format!("{host}/{{image}}:dev"), &format!("{host}/other/{{image}}:dev")]);
    session.write("larder.toml", format!("{}{both}", image(session)));
    let repository = "../registry/data/docker/registry/v2/repositories/other/app";
    session.run(&format!("mkdir -p {repository} && touch {repository}/_manifests")).ok();
    let ran = session.run("larder bake").ends(2).says("not all names were given");
    let ran = ran.says(&format!("given: `{host}/app:dev`")).says("another run gives them all");
    assert!(ran.stderr().contains(&format!("`{host}/other/app:dev`")), "{ran}");
    session.run(&format!("rm {repository}/_manifests && larder bake")).ok();
    assert_eq!(
        (scene.tags("app"), scene.tags("other/app")),
        (vec!["dev".to_owned()], vec!["dev".to_owned()])
    );
}

#[test]
fn a_registry_that_does_not_answer_is_named() {
    let session = Session::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("an address").to_string();
    session.write("src/file", "one");
    session.write("larder.toml", format!("{}{}", image(&session), releases(&host)));
    let release = "GITHUB_ACTIONS=true GITHUB_REF=refs/tags/v1.0.0 GITHUB_REF_NAME=v1.0.0";
    let asks = |line: &str| session.run(&format!("{release} {line}"));
    asks("larder tags").ends(2).says(&format!("`{host}/team/app`"));
    // What is forbidden is not what is not there.
    asks("LARDER_READ_ONLY=1 larder tags").ok().says("forbid those of the profile `release`");
}

#[test]
fn of_two_releases_at_once_the_higher_one_has_the_names() {
    let Some(scene) = Scene::start(releases) else { return };
    let session = &scene.session;
    session.run("git init -q").ok();
    scene.commit("1.0.0");
    scene.commit("2.0.0");
    session.run("git clone -q . ../one && git -C ../one checkout -q v1.0.0 && git clone -q . ../two").ok();
    for round in 0..3 {
        let line = format!(
            "(cd ../one && LARDER_DIR=../one-{round} larder bake) & one=$!; (cd ../two && LARDER_DIR=../two-{round} larder bake) & two=$!; wait $one && wait $two"
        );
        session.run(&line).ok();
        assert_eq!(scene.digest("team/app:latest"), scene.digest("team/app:v2.0.0"), "round {round}");
        assert_eq!(scene.digest("team/app:1"), scene.digest("team/app:v1.0.0"));
    }
}

#[test]
fn an_image_is_taken_by_the_name_of_another_kind_of_build() {
    let kinds = |host: &str| {
        format!(
            "[profile.dev]\nwhen = {{ branch = \"*\" }}\ntrust = 1\ntags = [\"{host}/{{image}}:dev\"]\n\
             [profile.release]\nwhen = {{ tag = \"v*\" }}\ntrust = 2\nalso-read = [\"{host}/{{image}}:dev\", \"{host}/{{image}}:latest\"]\n\
             tags = [\"{host}/{{image}}:v{{version}}\"]\n"
        )
    };
    let Some(scene) = Scene::start(kinds) else { return };
    let session = &scene.session;
    session.run("git init -q && git add -A && git commit -qm one").ok();
    assert_eq!(from(&scene.bake_on("dev"))[1], "built");
    assert_eq!(scene.tags("app"), ["dev"]);
    session.run("git tag v1.0.0").ok();
    let report = scene.bake_on("release");
    let name = format!("{}/app:dev", scene.registry.host());
    assert_eq!((from(&report)[1], from(&report)[3]), ("hit", name.as_str()), "{report}");
    assert_eq!(scene.digest("app:v1.0.0"), scene.digest("app:dev"));
    // What stands there was made for another key: it is not taken.
    scene.commit("1.1.0");
    assert_eq!(from(&scene.bake_on("release"))[1], "built");
}
