//! What the package clients of each image were given, with a real engine and a real pip.

use larder_tests::http::Site;
use larder_tests::{Part, Ran, Session, have, until};
use serde_json::Value;

/// Makes the wheel of an empty package, and prints its digest.
const WHEEL: &str = r"
import hashlib, sys, zipfile
name = sys.argv[1]
info = f'{name}-1.0.dist-info'
files = {f'{name}.txt': name, f'{info}/METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n'}
files[f'{info}/RECORD'] = ''.join(f'{it},,\n' for it in [*files, f'{info}/RECORD'])
with zipfile.ZipFile(f'{name}-1.0-py3-none-any.whl', 'w') as out:
    for path, text in files.items():
        out.writestr(zipfile.ZipInfo(path), text)
print(hashlib.sha256(open(f'{name}-1.0-py3-none-any.whl', 'rb').read()).hexdigest(), end='')
";

/// The packages that the index has.
const PACKAGES: [&str; 3] = ["ours_a", "ours_b", "ours_shared"];

pub(crate) fn wheel(name: &str) -> String {
    format!("/files/{name}-1.0-py3-none-any.whl")
}

/// An index of Python packages.
pub(crate) fn index(session: &Session) -> Site {
    let site = Site::new();
    session.write("wheel.py", WHEEL);
    for name in PACKAGES {
        let digest = session.run(&format!("python3 wheel.py {name}")).ok().stdout();
        let bytes = std::fs::read(session.path(&format!("{name}-1.0-py3-none-any.whl"))).expect("a wheel");
        site.put(&wheel(name), bytes);
        let page = format!("<a href=\"{}#sha256={digest}\">{name}-1.0-py3-none-any.whl</a>", wheel(name));
        site.put_with(&format!("/simple/{}/", name.replace('_', "-")), "content-type: text/html", page);
    }
    site
}

/// Images `a` and `b`: each installs a package of its own, then one that both have.
fn project(session: &mut Session, site: &Site, more: &str) {
    let base = session.client_base_of("docker");
    let [a, b] = ["a", "b"].map(|name| session.image(name));
    for name in ["a", "b"] {
        let install =
            "pip install --no-compile --no-cache-dir --break-system-packages --root-user-action=ignore";
        // Steps of this test's own: what the engine has of another one would fetch nothing.
        let steps = format!("RUN : {a} && {install} ours-{name}\nRUN {install} ours-shared\n");
        session.write(&format!("{name}.Dockerfile"), session.from(&base) + &steps);
    }
    let image = |name: &str, tag: &str| {
        format!(
            "[image.{name}]\ndockerfile = \"{name}.Dockerfile\"\ntags = [\"{tag}\"]\npackages = [\"pip\"]\n{more}\n"
        )
    };
    session.write(
        "larder.toml",
        format!(
            "{}{}[pkgcache]\nallow = [{:?}]\n[pkgcache.upstream]\npypi = {{ url = \"{}/simple/\", kind = \"python\" }}\n",
            image("a", &a),
            image("b", &b),
            site.authority(),
            site.url()
        ),
    );
}

const BAKE: &str = "larder bake --json --engine docker";

/// The names of the packages on record of a key, and whether that is all.
fn on_record(session: &Session, key: &Value) -> (Vec<String>, bool) {
    let lines = session.run(&format!("imgtar info {key} --packages --json")).ok().rows();
    let files = lines.iter().filter(|line| line["url"].as_str().is_some_and(|url| url.contains("/files/")));
    let names = files.map(|line| line["name"].as_str().expect("a name").to_owned()).collect();
    (names, lines[0]["complete"] == true)
}

#[test]
fn images_that_are_baked_at_once_have_records_of_their_own() {
    if !have(&[Part::Docker, Part::ClientBase, Part::Python]) {
        return;
    }
    let mut session = Session::new();
    let site = index(&session);
    project(&mut session, &site, "");
    // Neither gets to the end before the other one has begun.
    let held = site.hold("/simple/ours-shared/");
    let bake = session.start(&format!("{BAKE} -j2"));
    until("both have their own", || site.count(&wheel("ours_a")) + site.count(&wheel("ours_b")) == 2);
    drop(held);
    let first = Ran::after(BAKE, bake).ok();
    let rows = first.rows();
    assert_eq!(site.count(&wheel("ours_shared")), 1, "it was fetched twice");
    let sum =
        |name: &str| rows.iter().map(|row| row["packages"][name].as_u64().expect("a count")).sum::<u64>();
    // Three wheels; the one that both have was sent twice.
    let wheels = |names: &[&str]| names.iter().map(|name| site.bytes(&wheel(name)) as u64).sum::<u64>();
    assert!(sum("fetched") >= wheels(&PACKAGES) && sum("saved") >= wheels(&["ours_shared"]), "{first}");
    for (row, own) in rows.iter().zip(["ours-a", "ours-b"]) {
        let (names, complete) = on_record(&session, &row["key"]);
        assert_eq!(names, [own, "ours-shared"], "{first}");
        assert!(!complete, "steps may have come from the engine's own cache");
    }
    let lines = session.run("imgtar info a --packages --json").ok().rows();
    let of = |url: &str| lines.iter().find(|line| line["url"] == format!("{}{url}", site.url())).expect(url);
    let (page, file) = (of("/simple/ours-a/"), of(&wheel("ours_a")));
    let digest = session.run("sha256sum ours_a-1.0-py3-none-any.whl").ok().stdout();
    let digest = digest.split(' ').next().expect("a digest").to_owned();
    assert_eq!(file["digest"], format!("sha256:{digest}"));
    for (name, value) in
        [("ecosystem", "python"), ("name", "ours-a"), ("version", "1.0"), ("level", "indexed")]
    {
        assert_eq!(file[name], value, "{file}");
    }
    // What a rebuild without a network needs: the index and the file, by their entries.
    for line in [page, file] {
        let entry = session.store().join("packages/entries").join(line["entry"].as_str().expect("an entry"));
        assert!(entry.is_file(), "{line}");
    }
    let table = session.run("imgtar info a --packages").ok().says("the engine's own cache");
    let line = table.stdout().lines().find(|line| line.contains("ours-a ")).expect("a line").to_owned();
    for word in ["python", "1.0", "indexed", &format!("{}{}", site.url(), wheel("ours_a"))] {
        assert!(line.contains(word), "{word}: {table}");
    }
}

#[test]
fn a_build_that_the_engine_has_cached_leaves_the_record() {
    if !have(&[Part::Docker, Part::ClientBase, Part::Python]) {
        return;
    }
    let mut session = Session::new();
    let site = index(&session);
    project(&mut session, &site, "");
    let bakes = |words: &str| session.run(&format!("{BAKE} a {words}")).ok().rows().remove(0);
    let first = bakes("");
    let key = &first["key"];
    assert_eq!(on_record(&session, key).0, ["ours-a", "ours-shared"]);
    // What is stored is damaged, and built anew; the engine has all its steps.
    let damage = |session: &Session| {
        let blob = &session.blobs()[0];
        session
            .run(&format!(
                "chmod u+w {blob} && truncate -s -1 {blob} && docker rmi $(docker images -q {})",
                first["tags"][0].as_str().expect("a tag")
            ))
            .ok();
    };
    damage(&session);
    let again = bakes("");
    assert_eq!(
        (&again["state"], &again["saved"], &again["key"]),
        (&"built".into(), &true.into(), key),
        "{again}"
    );
    assert_eq!((&again["packages"]["hits"], &again["packages"]["misses"]), (&0.into(), &0.into()), "{again}");
    assert_eq!(on_record(&session, key).0, ["ours-a", "ours-shared"]);
    // A build from scratch knows all that is in the image.
    let scratch = bakes("--rebuild");
    assert!(scratch["packages"]["hits"].as_u64() > Some(0), "{scratch}");
    assert_eq!(on_record(&session, key), (vec!["ours-a".to_owned(), "ours-shared".to_owned()], true));
    // The record goes with its key; with the steps cached, there is nothing to tell then.
    session.run(&format!("imgtar rm {key}")).ok();
    session.run(&format!("imgtar info {key} --packages")).ends(1);
    assert_eq!(bakes("")["state"], "built");
    session.run(&format!("imgtar info {key} --packages")).ends(1).says("no record of what its build fetched");
    // Another key of the image, whose first steps the engine has: it takes up what these fetched.
    let scratch = bakes("--rebuild");
    assert!(on_record(&session, &scratch["key"]).1, "{scratch}");
    let dockerfile = std::fs::read_to_string(session.path("a.Dockerfile")).expect("a Dockerfile");
    session.write("a.Dockerfile", dockerfile + "RUN : more\n");
    let other = bakes("");
    assert_eq!((&other["state"], &other["packages"]["misses"]), (&"built".into(), &0.into()), "{other}");
    assert_ne!(&other["key"], key);
    assert_eq!(
        on_record(&session, &other["key"]),
        (vec!["ours-a".to_owned(), "ours-shared".to_owned()], false)
    );
    session
        .run("imgtar info a --packages")
        .ok()
        .says("of an earlier build; steps from the engine's own cache");
}

#[test]
fn a_build_from_a_tar_is_led_to_the_cache_too() {
    if !have(&[Part::Docker, Part::ClientBase, Part::Python]) {
        return;
    }
    let mut session = Session::new();
    let site = index(&session);
    project(&mut session, &site, "ignore = \"all\"\n");
    let row = session.run(&format!("{BAKE} a")).ok().rows().remove(0);
    assert!(row["packages"]["misses"].as_u64() > Some(1), "{row}");
    assert_eq!(on_record(&session, &row["key"]).0, ["ours-a", "ours-shared"]);
    // The Dockerfile that was hashed has no trace of it.
    assert_eq!(session.run(&format!("{BAKE} a")).ok().rows()[0]["state"], "hit");
}
