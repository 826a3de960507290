//! Builds of images whose steps fetch a model, through `pkgcache run`, and a command's own library.

use larder_tests::parts::{HUGGINGFACE, installed};
use larder_tests::{Part, Session, have};

use super::hub::{COMMITS, Hub, snapshot};

/// A project whose Dockerfile knows of no cache; nothing else leads its step to the hub.
fn project<'a>(session: &'a Session, base: &str) -> Hub<'a> {
    let hub = Hub::new(session);
    session.write("larder.toml", format!("[pkgcache]\n{}", hub.settings("")));
    let library = installed(HUGGINGFACE);
    let library = library.parent().and_then(camino::Utf8Path::parent).unwrap().join("lib");
    let copy = format!(
        "mkdir -p context/lib && cp -r {library}/python3*/site-packages/. context/lib && rm -rf context/lib/pip*"
    );
    session.run(&copy).ok();
    session.write("context/get.py", snapshot("main"));
    let (from, fetch) =
        (session.from(base), "HF_HOME=/models PYTHONPATH=/lib.py PYTHONDONTWRITEBYTECODE=1 python3 /get.py");
    let text = format!("{from}\nCOPY lib /lib.py\nCOPY get.py /\nRUN \\\n  {fetch}\n");
    session.write("context/Dockerfile", text);
    hub
}

/// Builds; the line that `run` ends with.
#[track_caller]
fn build(session: &Session, run: &str, build: &str) -> String {
    let ran = session.run(&format!("pkgcache run {run} -- {build} context")).ok();
    let said = ran.stderr();
    said.lines().rev().find(|line| line.starts_with("pkgcache: ")).unwrap_or_default().to_owned()
}

/// What the image shows has the model, and no word of the cache but for what its history tells.
#[track_caller]
fn has_the_model(shown: &str, listed: &str) {
    assert!(listed.contains(&format!("snapshots/{}/weights.bin", COMMITS[0])), "{listed}");
    for word in ["127.0.0.1", "larder-huggingface", "hf_endpoint"] {
        assert!(!listed.to_lowercase().contains(word), "{word}: {listed}");
    }
    assert!(!shown.contains("127.0.0.1"), "{shown}");
}

const LIST: &str =
    "sh -c 'env; ls -a /etc /run; find /models -name weights.bin -size +100k -o -name weights.bin -type l'";

#[test]
fn a_build_that_fetches_a_model_comes_through_the_cache() {
    if !have(&[Part::HuggingFace, Part::Docker, Part::ClientBase]) {
        return;
    }
    for buildkit in ["1", "0"] {
        let mut session = Session::new().env("DOCKER_BUILDKIT", buildkit);
        let (base, image) = (session.client_base_of("docker"), session.image("hub"));
        let hub = project(&session, &base);
        let line = build(&session, "", &format!("docker build --no-cache -t {image}"));
        assert!(!line.contains(" 0B from upstream"), "{line}");
        hub.forget();
        let line =
            build(&session, "--offline --only huggingface", &format!("docker build --no-cache -t {image}"));
        assert!(line.contains(" 0 misses, 0B from upstream"), "{line}");
        assert_eq!(hub.log(), [""; 0]);
        let listed = session.run(&format!("docker run --rm {image} {LIST}")).ok().stdout();
        let shown = session.run(&format!("docker image inspect {image}; docker history --no-trunc {image}"));
        // The classic builder writes build arguments into the history.
        let shown = if buildkit == "1" { shown.ok().stdout() } else { String::new() };
        has_the_model(&shown, &listed);
    }
}

#[test]
fn podman_builds_that_fetch_a_model_come_through_it_too() {
    if !have(&[Part::HuggingFace, Part::Podman, Part::ClientBase]) {
        return;
    }
    let mut session = Session::new().with_podman();
    let base = session.client_base_of("../bin/podman");
    let hub = project(&session, &base);
    let podman = "../bin/podman build --layers=false --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --no-cache";
    build(&session, "", &format!("{podman} -t here"));
    hub.forget();
    let line = build(&session, "--offline", &format!("{podman} -t again"));
    assert!(line.contains(" 0 misses, 0B from upstream"), "{line}");
    assert_eq!(hub.log(), [""; 0]);
    let shown = session.run("../bin/podman image inspect again; ../bin/podman history --no-trunc again");
    assert!(!shown.ok().stdout().contains("127.0.0.1"));
}

#[test]
fn a_command_s_library_is_led_to_the_cache() {
    if !have(&[Part::HuggingFace]) {
        return;
    }
    let session = Session::new();
    let hub = Hub::new(&session);
    session.write("larder.toml", format!("[pkgcache]\n{}", hub.settings("")));
    let python = installed(HUGGINGFACE);
    session.write("get.py", snapshot("main"));
    let line = |more: &str, place: &str| {
        format!("HF_HOME=$PWD/{place} HF_HUB_DISABLE_TELEMETRY=1 pkgcache run {more} -- {python} get.py")
    };
    session.run(&line("", "cold")).ok();
    hub.has_all("cold", COMMITS[0]);
    hub.forget();
    session.run(&line("--offline", "warm")).ok();
    hub.has_all("warm", COMMITS[0]);
    assert_eq!(hub.log(), [""; 0]);
    let env = session.run("pkgcache env").ok().stdout();
    assert!(env.contains("export HF_ENDPOINT=http://127.0.0.1:3144/hf\n"), "{env}");
}
