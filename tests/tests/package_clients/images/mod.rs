//! skopeo, podman, docker and containerd, led to a mirror of registries.

mod accounts;
pub(crate) mod scene;

use larder_tests::http::Fault;
use larder_tests::{Part, have};

use self::scene::{Client, Kind, MANIFEST, ONE, Scene};
use crate::served::{Line, at_once, stored, verified};

/// A test for each client.
macro_rules! with_each {
    ($($test:ident)*) => {
        $(mod $test {
            use super::{Client, Kind, Part, Scene, have};

            fn run(kind: Kind) {
                if have(&[kind.part(), Part::Registry, Part::Curl]) {
                    let scene = Scene::new();
                    super::$test(&scene, &Client::new(kind, &scene));
                }
            }

            #[test]
            fn skopeo() {
                run(Kind::Skopeo);
            }

            #[test]
            fn podman() {
                run(Kind::Podman);
            }

            #[test]
            fn docker() {
                run(Kind::Docker);
            }

            #[test]
            fn containerd() {
                run(Kind::Containerd);
            }
        })*
    };
}

with_each! {
    a_cold_cache_verifies_a_warm_one_asks_for_nothing_and_a_tag_is_known_when_the_upstream_is_cut_off
    a_tag_that_moves_is_followed
    damaged_bytes_are_refused_and_not_kept
    ten_at_once_fetch_each_blob_once
    an_upstream_in_trouble_leaves_what_is_stored
    of_several_platforms_only_the_own_one_is_fetched
}

/// All that was asked for by its digest was verified by it.
#[track_caller]
fn addressed(lines: &[Line]) {
    verified(lines, "/blobs/", "addressed");
    for line in lines.iter().filter(|it| it.url.contains("/manifests/") && it.status == 200) {
        let level = if line.url.contains("sha256:") { "addressed" } else { "indexed" };
        assert!(line.cache.contains(&format!("verified={level}")), "{line:#?}");
    }
}

fn a_cold_cache_verifies_a_warm_one_asks_for_nothing_and_a_tag_is_known_when_the_upstream_is_cut_off(
    scene: &Scene,
    client: &Client<'_>,
) {
    let image = scene.push("library/app:1", "one");
    let cache = scene.cache("");
    client.gets("library/app:1", &image);
    scene.site.forget();
    client.gets("library/app:1", &image);
    assert_eq!(scene.site.requests(), 0, "{:#?}", scene.site.log());
    addressed(&cache.stop());
    // Another process, and the tag's time is over: it alone is asked for, once.
    let cache = scene.cache("index-ttl = \"0s\"\n");
    client.gets("library/app:1", &image);
    assert_eq!(scene.by_digest(), 0, "{:#?}", scene.site.log());
    assert!(scene.site.log().iter().all(|it| it.request.method == "HEAD"), "{:#?}", scene.site.log());
    scene.site.unplug();
    client.gets("library/app:1", &image);
    scene.site.heal();
    scene.site.forget();
    let cache = cache.offline();
    client.gets("library/app:1", &image);
    client.pull("library/other:1").fails();
    assert_eq!(scene.site.requests(), 0);
    addressed(&cache.stop().into_iter().filter(|it| !it.url.contains("other")).collect::<Vec<_>>());
}

fn a_tag_that_moves_is_followed(scene: &Scene, client: &Client<'_>) {
    let _cache = scene.cache("index-ttl = \"0s\"\n");
    let old = scene.push("library/app:1", "one");
    client.gets("library/app:1", &old);
    let new = scene.push("library/app:1", "two");
    assert_ne!(old, new);
    client.gets("library/app:1", &new);
    scene.site.unplug();
    client.gets("library/app:1", &new);
    // What has a digest stays what it is.
    if client.kind != Kind::Docker {
        client.pull(&format!("library/app@{}", old.manifest)).ok();
    }
}

fn damaged_bytes_are_refused_and_not_kept(scene: &Scene, client: &Client<'_>) {
    let image = scene.push("library/app:1", "one");
    let cache = scene.cache("");
    let original = |path: &str| {
        let file = scene.session.path("original");
        let line = format!("curl -sf -H 'Accept: {MANIFEST}' -o {file} {}{path}", scene.site.url());
        scene.session.run(&line).ok();
        std::fs::read(file).unwrap()
    };
    let layer = format!("/v2/library/app/blobs/{}", image.layers[0]);
    let manifest = format!("/v2/library/app/manifests/{}", image.manifest);
    for path in [manifest, layer] {
        let mut bytes = original(&path);
        let kind = scene
            .session
            .run(&format!("curl -sfI -H 'Accept: {MANIFEST}' {}{path}", scene.site.url()))
            .ok()
            .stdout();
        let fields: String = kind
            .lines()
            .filter(|it| it.starts_with("content-type") || it.starts_with("docker-"))
            .collect::<Vec<_>>()
            .join("\n");
        let shorter = bytes[..bytes.len() / 2].to_vec();
        bytes[30] = !bytes[30];
        for damaged in [bytes, shorter] {
            scene.site.put_with(&path, &fields, damaged);
            client.pull("library/app:1").fails();
            assert!(!stored(&scene.session).iter().any(|url| url.ends_with(&path)), "{path} is kept");
        }
        assert!(cache.said().contains("sha256:"), "{}", cache.said());
        scene.site.remove(&path);
    }
    client.gets("library/app:1", &image);
}

fn ten_at_once_fetch_each_blob_once(scene: &Scene, client: &Client<'_>) {
    let image = scene.push("library/app:1", "one");
    let _cache = scene.cache("");
    scene.site.forget();
    let lines: Vec<_> = (0..10).map(|number| client.line("library/app:1", number)).collect();
    for (number, ran) in at_once(&scene.session, &lines).into_iter().enumerate() {
        ran.ok();
        client.has(ONE, "library/app:1", &image, number);
    }
    let path = |kind: &str, digest: &str| format!("/v2/library/app/{kind}/{digest}");
    let mut paths = vec![path("manifests", &image.manifest), path("blobs", &image.config)];
    paths.extend(image.layers.iter().map(|layer| path("blobs", layer)));
    for path in paths {
        let log = scene.site.log();
        let fetches = log.iter().filter(|it| it.request.is("GET", &path)).count();
        assert_eq!(fetches, 1, "{path}: {log:#?}");
    }
    assert_eq!(scene.site.count(&path("manifests", "1")), 1, "the tag: {:#?}", scene.site.log());
}

fn an_upstream_in_trouble_leaves_what_is_stored(scene: &Scene, client: &Client<'_>) {
    let image = scene.push("library/app:1", "one");
    let _cache = scene.cache("index-ttl = \"0s\"\n");
    client.gets("library/app:1", &image);
    scene.site.fail("", Fault::Status(500));
    client.gets("library/app:1", &image);
    scene.site.heal();
    scene.site.fail("", Fault::Status(404));
    client.pull("library/app:1").fails();
    scene.site.heal();
    scene.site.unplug();
    client.gets("library/app:1", &image);
    scene.site.heal();
    scene.site.fail("", Fault::TooManyRequests("600".to_owned()));
    // The circuit is closed again by an answer.
    scene.site.forget();
    client.gets("library/app:1", &image);
    client.gets("library/app:1", &image);
    assert!(scene.site.requests() <= 1, "{:#?}", scene.site.log());
}

/// What one client was given, the others get when the upstream is cut off.
#[test]
fn a_tag_that_one_client_asked_for_is_known_to_all() {
    let kinds = [Kind::Skopeo, Kind::Podman, Kind::Docker, Kind::Containerd];
    if !have(&[Part::Skopeo, Part::Podman, Part::Dockerd, Part::Containerd, Part::Registry, Part::Curl]) {
        return;
    }
    let scene = Scene::new();
    let image = scene.push("library/app:1", "one");
    let cache = scene.cache("index-ttl = \"0s\"\n");
    Client::new(Kind::Docker, &scene).gets("library/app:1", &image);
    scene.site.unplug();
    for kind in kinds {
        Client::new(kind, &scene).gets("library/app:1", &image);
    }
    // HEAD is as GET would be: of the tag, the manifest and a blob.
    let name = format!("{}/v2/{ONE}/library/app", cache.url());
    for path in [
        "manifests/1".to_owned(),
        format!("manifests/{}", image.manifest),
        format!("blobs/{}", image.layers[0]),
    ] {
        let curl = format!("curl -sf -H 'Accept: {MANIFEST}'");
        let head = scene.session.run(&format!("{curl} -I {name}/{path}")).ok().stdout();
        let get = scene.session.run(&format!("{curl} -D - -o body {name}/{path}")).ok().stdout();
        let lines = |text: &str| {
            let kept = ["content-length", "content-type", "docker-content-digest", "etag"];
            let lines = text.lines().map(str::to_ascii_lowercase);
            lines.filter(|line| kept.iter().any(|it| line.starts_with(it))).collect::<Vec<_>>()
        };
        assert_eq!(lines(&head), lines(&get), "{path}");
        assert!(head.contains("ength: "), "{path}: {head}");
    }
}

fn of_several_platforms_only_the_own_one_is_fetched(scene: &Scene, client: &Client<'_>) {
    let (own, other) = scene.push_list(client.kind == Kind::Containerd);
    let cache = scene.cache("");
    scene.site.forget();
    client.gets("library/app:all", &own);
    assert!(scene.by_digest() > 0);
    for digest in other.layers.iter().chain([&other.config, &other.manifest]) {
        assert_eq!(scene.site.bytes(digest), 0, "{:#?}", scene.site.log());
    }
    scene.site.unplug();
    client.gets("library/app:all", &own);
    let _cache = cache.offline();
    client.gets("library/app:all", &own);
}
