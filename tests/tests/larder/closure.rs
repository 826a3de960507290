//! A pin of all that a rebuild needs, with a real engine and a real pip: what it holds is enough
//! without a network.

use larder_tests::http::Site;
use larder_tests::{Part, Session, have};

use crate::packages::{index, wheel};

const BAKE: &str = "larder bake --json --engine docker";

/// `app` on `base`, which installs `ours-a`; `other`, which installs `ours-b`.
fn project(session: &mut Session, site: &Site) -> [String; 3] {
    let bottom = session.client_base_of("docker");
    let tags = ["below", "app", "other"].map(|name| session.image(name));
    let install = "pip install --no-compile --no-cache-dir --break-system-packages --root-user-action=ignore";
    let steps = [
        (bottom.as_str(), format!("RUN echo {} >/base\n", tags[0])),
        (tags[0].as_str(), format!("RUN cat /base && {install} ours-a\n")),
        (bottom.as_str(), format!("RUN : {} && {install} ours-b\n", tags[2])),
    ];
    let mut text = format!(
        "[pkgcache]\nallow = [{:?}]\n[pkgcache.upstream]\npypi = {{ url = \"{}/simple/\", kind = \"python\" }}\n",
        site.authority(),
        site.url()
    );
    for ((from, steps), (name, tag)) in steps.iter().zip(["below", "app", "other"].iter().zip(&tags)) {
        session.write(&format!("{name}.Dockerfile"), session.from(from) + steps);
        let keys = format!("dockerfile = \"{name}.Dockerfile\"\ntags = [\"{tag}\"]\npackages = [\"pip\"]\n");
        text = format!("{text}[image.{name}]\n{keys}");
    }
    session.write("larder.toml", text);
    tags
}

#[test]
fn what_a_closure_holds_is_enough_to_build_it_again_without_a_network() {
    if !have(&[Part::Docker, Part::ClientBase, Part::Python]) {
        return;
    }
    let mut session = Session::new();
    let site = index(&session);
    let [base, app, other] = project(&mut session, &site);
    let rows = session.run(BAKE).ok().rows();
    let key_of = |name: &str| {
        let row = rows.iter().find(|row| row["image"] == name).expect("a row");
        row["key"].as_str().expect("a key").to_owned()
    };
    let (key, base_key) = (key_of("app"), key_of("below"));
    session.run(&format!("gcctl pin {key} --closure")).ok();

    // Everything else goes.
    session.run("gcctl run --max-images 0 --max-age 1s --max-size 1 --packages-max-size 1 --trash-grace 0s --force").ends(1);
    let mut kept: Vec<_> = session.run("gcctl ls --json").ok().rows();
    kept.sort_by_key(|row| row["key"].to_string());
    let mut expected = [key.clone(), base_key];
    expected.sort();
    assert_eq!(kept.iter().map(|row| row["key"].as_str().expect("a key")).collect::<Vec<_>>(), expected);
    let urls: Vec<_> = session.run("gcctl ls packages --json").ok().rows();
    let has =
        |name: &str| urls.iter().any(|row| row["url"].as_str().is_some_and(|it| it.ends_with(&wheel(name))));
    assert!(has("ours_a") && !has("ours_b"), "{urls:?}");

    // The image is gone, here and in docker, and so is the network.
    session.run(&format!("imgtar rm {key}")).ends(1);
    session.run(&format!("gcctl unpin {key} && imgtar rm {key}")).ok();
    session.run(&format!("docker rmi -f {app} {base} {other}")).ok();
    drop(site);
    let again = session.run(&format!("{BAKE} app --rebuild")).ok();
    let row = again.rows().into_iter().find(|row| row["image"] == "app").expect("a row");
    assert_eq!((row["state"].as_str(), row["key"].as_str()), (Some("built"), Some(key.as_str())), "{again}");
    assert!(row["packages"]["hits"].as_u64() > Some(1), "{again}");
    let shown = "python3 -c 'import importlib.metadata as m; print(m.version(\"ours-a\"))'";
    assert_eq!(session.run(&format!("docker run --rm --network none {app} {shown}")).ok().stdout(), "1.0\n");
}
