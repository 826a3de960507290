//! Push and pull with Debian's docker-registry, with skopeo and docker on the other side.

use std::fmt::Write;
use std::time::Duration;

use larder_tests::{Part, Ran, have, sh};
use serde_json::Value;

use crate::kit::remotes::{PASSWORD, Real};
use crate::kit::session::Session;
use crate::kit::tars::{docker, gzip, id, layer, manifest, oci};

/// A layer of a mebibyte or so that does not compress.
pub(crate) fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    while text.len() < 3 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    layer("noise", &text)
}

fn two_layers() -> [Vec<u8>; 2] {
    [noise(7), layer("top", "a small layer")]
}

pub(crate) fn saved(session: &Session) -> String {
    let [base, top] = two_layers();
    session.feed("import k", &docker("app:1", &[&base, &top]).end()).ok();
    id(&[&base, &top])
}

fn digest(session: &Session, key: &str) -> String {
    session.run(&format!("info {key} --json")).ok().json()["digest"].as_str().unwrap().to_owned()
}

fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap()
}

#[test]
fn what_is_pushed_is_pulled_byte_for_byte() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    let id = saved(&session);
    let there = format!("{}/team/app:1", registry.host);
    session.run(&format!("has --remote {there}")).ends(1).says("there is no");
    session.run(&format!("resolve {there}")).ends(1);
    session.run(&format!("pull {there}")).ends(1);
    let pushed = session.run(&format!("push k {there} --json")).ok().says("moved").json();
    assert_eq!(pushed["digest"], digest(&session, "k"));
    assert!(number(&pushed, "moved_bytes") > 1_000_000 && number(&pushed, "moved_blobs") == 3);
    session.run(&format!("has --remote {there}")).ok();
    assert_eq!(session.run(&format!("resolve {there}")).ok().stdout().trim(), digest(&session, "k"));

    let again = session.run(&format!("push k {there} --json")).ok().json();
    assert_eq!(number(&again, "moved_bytes"), 0);
    let other = Session::new();
    let pulled = other.run(&format!("pull {there} --json")).ok().json();
    assert_eq!(number(&pulled, "moved_blobs"), 2, "{pulled}");
    assert_eq!(pulled["names"][0], there);
    let key = pulled["key"].as_str().unwrap();
    assert_eq!(key, digest(&session, "k").replace(':', "-"));
    assert_eq!((digest(&other, key), other.ids(key)), (digest(&session, "k"), vec![id]));
    other.run("verify").ok();
    other.run(&format!("pull {there} --key k --name app:2")).ok().says("0B in 0 blobs moved");
    assert_eq!(other.run("info k --json").ok().json()["names"][0], "app:2");
    other.run(&format!("pull {there} --key k")).ok().says("stored already");
    let by_digest = format!("{}/team/app@{}", registry.host, digest(&session, "k"));
    other.run(&format!("pull {by_digest} --key d")).ok();
    other.run(&format!("push k {by_digest}")).ends(2).says("name a tag");
    other.run(&format!("push nothing {there}")).ends(1);
}

#[test]
fn skopeo_reads_what_was_pushed() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    if !have(&[Part::Skopeo]) {
        return;
    }
    let id = saved(&session);
    let there = format!("{}/app:1", registry.host);
    session.run(&format!("push k {there}")).ok();
    let raw = sh(&format!("skopeo inspect --raw --tls-verify=false docker://{there}"));
    assert_eq!(raw, session.run("info k --manifest").ok().stdout().trim());

    let gzipped = format!("{}/app:gzip", registry.host);
    session.run(&format!("push k {gzipped} --compress gzip")).ok();
    let raw = sh(&format!("skopeo inspect --raw --tls-verify=false docker://{gzipped}"));
    let document: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(document["config"]["digest"], id.as_str());
    for layer in document["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    }
    // It checks every digest and every diffID on the way.
    let copy = session.path("copy");
    sh(&format!("skopeo copy -q --src-tls-verify=false docker://{gzipped} docker-archive:{copy}"));
    session.run(&format!("import copied {copy}")).ok();
    let diff_ids = |key: &str| {
        let info = session.run(&format!("info {key} --json")).ok().json();
        let layers = info["images"][0]["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["diff_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(diff_ids("copied"), diff_ids("k"));

    let again = session.run(&format!("push k {gzipped} --compress gzip --json")).ok().json();
    assert_eq!(number(&again, "moved_bytes"), 0, "{again}");
    let other = Session::new();
    other.run(&format!("pull {gzipped} --key k")).ok();
    assert_eq!(other.ids("k"), [id.as_str()]);
    // And back to zstd.
    let zstd = format!("{}/app:zstd", registry.host);
    other.run(&format!("push k {zstd} --compress zstd")).ok();
    let raw = sh(&format!("skopeo inspect --raw --tls-verify=false docker://{zstd}"));
    assert!(raw.contains("tar+zstd") && !raw.contains("+gzip") && raw.contains(&id), "{raw}");
}

#[test]
fn what_skopeo_pushes_is_pulled() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    if !have(&[Part::Skopeo]) {
        return;
    }
    let [base, top] = two_layers();
    let archive = session.write("a.tar", docker("app:1", &[&base, &top]).end());
    for format in ["v2s2", "oci"] {
        let there = format!("{}/app:{format}", registry.host);
        sh(&format!(
            "skopeo copy -q --format {format} --dest-tls-verify=false docker-archive:{archive} docker://{there}"
        ));
        session.run(&format!("pull {there} --key {format}")).ok();
        let raw = sh(&format!("skopeo inspect --raw --tls-verify=false docker://{there}"));
        assert_eq!(session.run(&format!("info {format} --manifest")).ok().stdout(), raw);
        session.run(&format!("export {format} out.tar")).ok();
        // Docker's manifests keep Docker's types, unless the layers become what these do not know.
        let recoded = format!("{}/recoded:{format}", registry.host);
        session.run(&format!("push {format} {recoded} --compress zstd")).ok();
        sh(&format!("skopeo inspect --tls-verify=false docker://{recoded}"));
    }
    session.run("verify").ok();
}

#[test]
fn indexes_and_attestations_survive() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    let (archive, index, [_, arm64]) = crate::images::archives::platforms();
    session.feed("import k", &archive).ok();
    let there = format!("{}/app:1", registry.host);
    session.run(&format!("push k {there}")).ok();
    let other = Session::new();
    other.run(&format!("pull {there} --key k")).ok();
    assert_eq!(other.run("info k --manifest").ok().stdout(), index);
    assert_eq!(other.ids("k"), session.ids("k"));
    assert_eq!(other.blobs().len(), session.blobs().len());

    let one = Session::new();
    one.run(&format!("pull {there} --key k --platform linux/arm64")).ok();
    assert_eq!(one.ids("k"), [arm64.as_str()]);
    let resolved = one.run(&format!("resolve {there} --platform linux/arm64")).ok().stdout();
    assert_eq!(resolved.trim(), digest(&one, "k"));
    one.run(&format!("pull {there} --platform linux/s390x")).ends(2).says("it has linux/amd64, linux/arm64");

    // Written anew, the index names what is there, and the configs are the same.
    let recoded = format!("{}/app:zstd", registry.host);
    session.run(&format!("push k {recoded} --compress zstd")).ok();
    other.run(&format!("pull {recoded} --key zstd")).ok();
    assert_eq!(other.ids("zstd"), session.ids("k"));
    assert_ne!(digest(&other, "zstd"), digest(&other, "k"));
    other.run("verify").ok();
}

#[test]
fn a_blob_that_another_repository_has_does_not_move() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    saved(&session);
    session.run(&format!("push k {}/one:1", registry.host)).ok();
    let pushed = session.run(&format!("push k {}/two:1 --json", registry.host)).ok().json();
    assert_eq!((number(&pushed, "moved_blobs"), number(&pushed, "mounted_blobs")), (0, 3), "{pushed}");
    // Another store knows nothing of it, unless it is told.
    let other = Session::new();
    saved(&other);
    let told = other.run(&format!("push k {}/three:1 --from two --json", registry.host)).ok().json();
    assert_eq!((number(&told, "moved_blobs"), number(&told, "mounted_blobs")), (0, 3), "{told}");
    other.run(&format!("push k {}/four:1 --from ../x", registry.host)).ends(2);
    other.run(&format!("push k {}/four:1 --from two:1", registry.host)).ends(2).says("names no repository");
}

#[test]
fn a_registry_with_tls_and_a_password() {
    let session = Session::new();
    let Some(registry) = Real::start_guarded(&session) else { return };
    saved(&session);
    let there = format!("{}/team/app:1", registry.host);
    let run = |words: &str, config: &str| {
        let mut command = session.command(words);
        command.env("SSL_CERT_FILE", session.path("ca.pem")).env("REGISTRY_AUTH_FILE", session.path(config));
        Ran::of(&mut command)
    };
    let auth = |text: &str| sh(&format!("printf %s '{text}' | base64"));
    let host = &registry.host;
    let good = auth(&format!("user:{PASSWORD}"));
    session.write("good.json", format!(r#"{{"auths":{{"{host}":{{"auth":"{good}"}}}}}}"#));
    session.write("bad.json", format!(r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#, auth("user:wrong")));
    session.write("scoped.json", format!(r#"{{"auths":{{"{host}/team":{{"auth":"{good}"}}}}}}"#));
    session.write("broken.json", "{");

    session
        .run(&format!("push k {there}"))
        .ends(2)
        .says("it is not signed by an authority that this machine trusts");
    session.run(&format!("has --remote {there} --plain-http")).ends(2);
    run(&format!("push k {there}"), "none.json").ends(2).says("docker login");
    let refused = run(&format!("push k {there}"), "bad.json").ends(2).says("does not let you push");
    assert!(!refused.stderr().contains("wrong"), "{}", refused.stderr());
    run(&format!("push k {there}"), "broken.json").ends(2).says("broken.json");
    run(&format!("push k {there}"), "good.json").ok();
    run(&format!("has --remote {there}"), "scoped.json").ok();
    run(&format!("resolve {host}/other/app"), "scoped.json").ends(2);
    let pulled = format!("pull {there} --key pulled");
    run(&pulled, "good.json").ok();
    // By name too, and with the credentials where docker keeps them.
    session.write(
        "../home/.docker/config.json",
        format!(r#"{{"auths":{{"localhost":{{}},"{host}":{{"auth":"{good}"}}}}}}"#),
    );
    let mut command = session.command(&format!("has --remote {there}"));
    Ran::of(command.env("SSL_CERT_FILE", session.path("ca.pem"))).ok();
}

#[test]
fn docker_pulls_what_was_pushed_with_gzip() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    if !have(&[Part::Docker]) {
        return;
    }
    let mark = format!("{} {:?}", std::process::id(), std::time::SystemTime::now());
    let layers = [layer("a", &mark), layer("b", "b")];
    session.feed("import k", &docker("app:1", &[&layers[0], &layers[1]]).end()).ok();
    let there = format!("{}/app:1", registry.host);
    session.run(&format!("push k {there} --compress gzip")).ok();
    sh(&format!("docker pull -q {there}"));
    let found = sh(&format!("docker image inspect --format '{{{{.Id}}}}' {there}"));
    let resolved = session.run(&format!("resolve {there} --engine docker")).ok().stdout();
    let told = session.run(&format!("resolve {there}")).ok().stdout();
    sh(&format!("docker rmi -f {there}"));
    assert_eq!(found, id(&[&layers[0], &layers[1]]));
    assert_eq!(resolved, told);
    session
        .run("resolve no-such-image-anywhere:1 --engine docker")
        .ends(1)
        .says("the engine has no image `no-such-image-anywhere:1`");
}

#[test]
fn imgtars_own_registry_takes_and_gives_the_same() {
    let (session, there, other) = (Session::new(), Session::new(), Session::new());
    let (id, registry) = (saved(&session), there.serve(""));
    let name = format!("{}/team/app:1", registry.address);
    session.run(&format!("push k {name}")).ok();
    session.run(&format!("push k {name} --json")).ok().says("0B in 0 blobs moved");
    other.run(&format!("pull {name} --key k")).ok();
    assert_eq!((other.ids("k"), digest(&other, "k")), (vec![id], digest(&session, "k")));
    let (archive, index, _) = crate::images::archives::platforms();
    session.feed("import several", &archive).ok();
    session.run(&format!("push several {}/app:all", registry.address)).ok();
    other.run(&format!("pull {}/app:all --key all", registry.address)).ok();
    assert_eq!(other.run("info all --manifest").ok().stdout(), index);
    session.run(&format!("push several {}/app:zstd --compress zstd", registry.address)).ok();
    other.run("verify").ok();
    there.run("verify").ok();
}

#[test]
fn many_pushes_and_pulls_at_once() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    saved(&session);
    let there = format!("{}/app:1", registry.host);
    let run = |words: String| {
        let mut command = session.command(&words);
        move || Ran::of(&mut command)
    };
    std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..6).map(|_| scope.spawn(run(format!("push k {there}")))).collect();
        for push in pushes {
            push.join().unwrap().ok();
        }
    });
    let other = Session::new();
    let run = |words: String| {
        let mut command = other.command(&words);
        move || Ran::of(&mut command)
    };
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..6).map(|at| scope.spawn(run(format!("pull {there} --key k{at}")))).collect();
        for pull in pulls {
            pull.join().unwrap().ok();
        }
    });
    other.run("verify").ok();
    assert_eq!(other.blobs().len(), 4);
}

#[test]
fn a_registry_that_is_not_there_is_trouble_soon() {
    let session = Session::new();
    let started = std::time::Instant::now();
    session.run("has --remote 127.0.0.1:1/app").ends(2).says("cannot be reached");
    session.run("pull no-such-host.invalid/app").ends(2).says("cannot be reached");
    assert!(started.elapsed() < Duration::from_secs(60));
    session.run("pull HTTPS://x/app").ends(2);
    session.run("has").ends(2);
}

#[test]
fn layers_that_came_with_gzip_keep_their_bytes() {
    let session = Session::new();
    let Some(registry) = Real::start(&session) else { return };
    let plain = layer("a", "b");
    let packed = gzip(&plain);
    let document = manifest(&[&plain], &[("+gzip", &packed)]);
    let config = crate::kit::tars::config(&[&plain]).to_string();
    let bytes = document.to_string();
    let listed = crate::kit::tars::descriptor("application/vnd.oci.image.manifest.v1+json", bytes.as_bytes());
    let archive = oci(&[config.as_bytes(), bytes.as_bytes(), &packed], &[listed]).end();
    session.feed("import k", &archive).ok();
    let there = format!("{}/app:1", registry.host);
    session.run(&format!("push k {there} --compress gzip")).ok();
    assert_eq!(session.run(&format!("resolve {there}")).ok().stdout().trim(), digest(&session, "k"));
}
