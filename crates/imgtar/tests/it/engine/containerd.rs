//! docker with containerd's store, by recorded answers, and containerd itself.

use larder_tests::{Part, have, sh};

use crate::engine::engines::{layers, with, wrapped};
use crate::kit::containerd::Containerd;
use crate::kit::session::Session;
use crate::kit::tars::docker;

/// What docker with containerd answers, and what it is sent: an OCI layout without the blobs of an
/// image of ours, and nothing like the archive without layers that it would take for whole.
#[test]
fn docker_with_containerd_gets_an_image_layout() {
    let session = Session::new();
    let [base, top] = layers("containerd");
    session.feed("import first", &docker("first:1", &[&base]).end()).ok();
    session.feed("import second", &docker("second:1", &[&base, &top]).end()).ok();
    let script = "case \"$1 $2\" in\n\
                  'image inspect') echo 'Error: No such image: x' >&2; exit 1;;\n\
                  'info --format') echo '[\"overlayfs\",[[\"driver-type\",\"io.containerd.snapshotter.v1\"]]]';;\n\
                  'image ls') cat ids 2>/dev/null; exit 0;;\n'load '*) cat >loaded.tar;;\nesac";
    let program = wrapped(&session, "docker", script);
    let entries = |words: &str| {
        with(&session, &program, "docker", words).0.ok();
        let list = sh(&format!("tar -tf {}", session.path("loaded.tar")));
        list.lines()
            .filter_map(|line| line.strip_prefix("blobs/sha256/"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let digest = |bytes: &[u8]| storekit::Digest::of(bytes).hex();
    let first = entries("load first");
    assert!(first.contains(&digest(&base)), "{first:?}");
    let index = sh(&format!("tar -xOf {} index.json", session.path("loaded.tar")));
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    // An image of the same layers that is not the archive's own may have them in another form.
    session.write("ids", format!("sha256:{}\n", digest(b"other")));
    let second = entries("load second");
    assert!(second.contains(&digest(&base)) && second.contains(&digest(&top)), "{second:?}");
    session.write("ids", format!("{}\n", index["manifests"][0]["digest"].as_str().unwrap()));
    let second = entries("load second");
    assert!(!second.contains(&digest(&base)) && second.contains(&digest(&top)), "{second:?}");
    assert!(
        sh(&format!("tar -tvf {}", session.path("loaded.tar")))
            .lines()
            .all(|line| { line.ends_with('/') || line.split_whitespace().nth(2) != Some("0") })
    );
}

/// What the engine above stands in for: containerd takes a layout without the blobs that it has,
/// and gives the whole image back; of one without blobs that it has not, it makes a broken image,
/// which is why none is ever sent.
#[test]
fn containerd_completes_an_image_layout_with_the_blobs_that_it_has() {
    if !have(&[Part::Containerd]) {
        return;
    }
    let session = Session::new();
    let [base, top] = layers("ctr");
    session.feed("import first", &docker("docker.io/library/first:1", &[&base]).end()).ok();
    session.feed("import second", &docker("docker.io/library/second:1", &[&base, &top]).end()).ok();
    let script = "case \"$1 $2\" in\n\
                  'image inspect') echo 'Error: No such image: x' >&2; exit 1;;\n\
                  'info --format') echo '[\"overlayfs\",[[\"driver-type\",\"io.containerd.snapshotter.v1\"]]]';;\n\
                  'image ls') ctr -a containerd/sock -n moby image ls | awk 'NR>1 { print $3 }';;\n\
                  'load '*) cat >loaded.tar && ctr -a containerd/sock -n moby image import --no-unpack loaded.tar;;\nesac";
    let program = wrapped(&session, "docker", script);
    let containerd = Containerd::start(&session);
    with(&session, &program, "docker", "load first").0.ok();
    let (run, _) = with(&session, &program, "docker", "load second --json");
    let line = run.ok().json();
    assert_eq!((&line["layers_sent"], &line["layers_skipped"]), (&1.into(), &1.into()));
    let ctr = |words: &str| sh(&format!("ctr -a {} -n moby {words}", containerd.socket));
    let whole = ctr("image check");
    assert_eq!(whole.matches("complete").count(), 2, "{whole}");
    let file = session.path("again.tar");
    ctr(&format!("image export {file} docker.io/library/second:1"));
    session.run("import again again.tar").ok();
    assert_eq!(session.ids("again"), session.ids("second"));
}
