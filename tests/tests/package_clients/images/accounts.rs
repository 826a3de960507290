//! Several registries, and several accounts: nobody gets what is not for them.

use larder_tests::http::{Exchange, Reply, get};
use larder_tests::{DockerRegistry, Part, have};

use super::scene::{Client, Image, Kind, MANIFEST, ONE, Scene, push};
use crate::served::Cache;

#[test]
fn registries_stay_apart_and_no_other_is_asked() {
    if !have(&[Part::Skopeo, Part::Podman, Part::Containerd, Part::Registry, Part::Curl]) {
        return;
    }
    let scene = Scene::new();
    let other = DockerRegistry::start(&scene.session.aside("other"));
    let one = scene.push("app:1", "one");
    let two = push(&scene.session, other.host(), "app:1", "two");
    assert_ne!(one, two);
    let settings = format!(
        "[pkgcache.registry]\n\"{ONE}\" = {{ url = \"{}\" }}\n\"two.example\" = {{ url = \"http://{}\" }}\n",
        scene.site.url(),
        other.host()
    );
    let cache = Cache::at(&scene.session, scene.here, &settings);
    for kind in [Kind::Skopeo, Kind::Podman, Kind::Containerd] {
        let client = Client::new(kind, &scene);
        for (number, (registry, image)) in [(ONE, &one), ("two.example", &two)].into_iter().enumerate() {
            scene.session.run(&client.line_from(registry, "app:1", number)).ok();
            client.has(registry, "app:1", image, number);
        }
    }
    scene.site.forget();
    for name in ["three.example", "127.0.0.1", "169.254.169.254", &scene.site.authority()] {
        for path in
            [format!("/v2/app/manifests/1?ns={name}"), format!("/v2/app/blobs/{}?ns={name}", one.layers[0])]
        {
            assert_eq!(get(cache.authority(), &path).unwrap().status, 403, "{path}");
        }
    }
    assert_eq!(scene.site.requests(), 0);
}

/// A user and a password, as clients send them.
const USER: &str = "Basic dXNlcjpzZWNyZXQ=";

/// A registry that wants tokens: anybody may have `library/open`, and the user everything.
fn with_tokens(scene: &Scene) {
    let realm = scene.site.url();
    scene.site.script("/token", |request| {
        let repository =
            request.path.split("repository:").nth(1).or_else(|| request.path.split("repository%3A").nth(1));
        let name = repository.unwrap_or_default().replace("%2F", "/");
        let name = name.split([':', '%']).next().unwrap_or_default().to_owned();
        let is_user = request.header("authorization") == Some(USER);
        let token =
            if is_user || name == "library/open" { format!("may-{name}") } else { "nothing".to_owned() };
        Reply {
            status: 200,
            fields: "content-type: application/json".to_owned(),
            body: format!("{{\"token\": \"{token}\", \"expires_in\": 300}}").into_bytes(),
        }
    });
    scene.site.guard(move |request| {
        let path = request.path.strip_prefix("/v2/")?;
        let end = path.find("/manifests/").or_else(|| path.find("/blobs/"));
        let name = end.and_then(|end| path.get(..end)).unwrap_or_default();
        let allowed = request.header("authorization") == Some(&format!("Bearer may-{name}"));
        let challenge = format!(
            "www-authenticate: Bearer realm=\"{realm}/token\",service=\"it\",scope=\"repository:{name}:pull\""
        );
        (!allowed).then(|| Reply { status: 401, fields: challenge, body: Vec::new() })
    });
}

fn tokens(scene: &Scene) -> usize {
    scene.site.log().iter().filter(|it: &&Exchange| it.request.path.starts_with("/token")).count()
}

/// All clients that have credentials get it, and no other.
#[track_caller]
fn bring_credentials(scene: &Scene, name: &str, image: &Image) {
    // skopeo and podman bring those for the mirror's address: `podman login 127.0.0.1:3144`.
    let file =
        |registry: &str| format!("{{\"auths\": {{\"{registry}\": {{\"auth\": \"dXNlcjpzZWNyZXQ=\"}}}}}}");
    scene.session.write("login/auth.json", file(&scene.here.to_string()));
    for kind in [Kind::Skopeo, Kind::Podman, Kind::Docker, Kind::Containerd] {
        let client = Client::new(kind, scene);
        client.pull(name).fails();
        if let Some(docker) = &client.docker {
            // It brings those for its default registry to the mirror.
            let ask = format!("docker -H {} info -f '{{{{.IndexServerAddress}}}}'", docker.host());
            let registry = scene.session.run(&ask).ok().stdout();
            scene.session.write("login/config.json", file(registry.trim()));
        }
        let number = scene.number();
        let (words, with) = match kind {
            Kind::Skopeo => (" copy ", " copy --src-authfile login/auth.json "),
            Kind::Podman => (" pull ", " pull --authfile login/auth.json "),
            Kind::Docker => ("docker -H", "docker --config login -H"),
            Kind::Containerd => (" pull ", " pull --user user:secret "),
        };
        scene.session.run(&client.line(name, number).replace(words, with)).ok();
        client.has(ONE, name, image, number);
    }
}

/// What curl gets for a path of the cache, with credentials or without.
fn status(scene: &Scene, user: bool, path: &str) -> String {
    let user = if user { "-u user:secret" } else { "" };
    let url = format!("http://{}/v2/{ONE}/{path}", scene.here);
    let line = format!("curl -s {user} -H 'Accept: {MANIFEST}' -o body -w '%{{http_code}}' {url}");
    scene.session.run(&line).stdout()
}

#[test]
fn tokens_are_fetched_here_and_what_came_with_credentials_is_not_for_others() {
    if !have(&[Part::Skopeo, Part::Podman, Part::Dockerd, Part::Containerd, Part::Registry, Part::Curl]) {
        return;
    }
    let scene = Scene::new();
    let open = scene.push("library/open:1", "same");
    let closed = scene.push("library/closed:1", "other");
    with_tokens(&scene);
    let cache = scene.cache("");
    for kind in [Kind::Skopeo, Kind::Podman, Kind::Docker, Kind::Containerd] {
        let client = Client::new(kind, &scene);
        client.gets("library/open:1", &open);
        client.pull("library/closed:1").fails();
    }
    // One token for the open repository, and one that allows nothing for the other.
    assert!(tokens(&scene) >= 1, "{:#?}", scene.site.log());
    let paths = [
        "library/closed/manifests/1".to_owned(),
        format!("library/closed/manifests/{}", closed.manifest),
        format!("library/closed/blobs/{}", closed.layers[0]),
        format!("library/closed/blobs/{}", closed.config),
    ];
    let all = |user: bool| paths.iter().map(|path| status(&scene, user, path)).collect::<Vec<_>>();
    assert_eq!(all(true), ["200"; 4]);
    assert!(all(false).iter().all(|status| ["401", "403"].contains(&status.as_str())), "{:?}", all(false));
    scene.site.forget();
    assert_eq!(all(true), ["200"; 4]);
    assert_eq!(scene.by_digest(), 0, "{:#?}", scene.site.log());
    bring_credentials(&scene, "library/closed:1", &closed);
    // Nor is it where the name of another repository stands before the digest.
    let elsewhere = format!("library/open/blobs/{}", closed.layers[0]);
    assert_eq!(status(&scene, false, &elsewhere), "404");
    let _cache = cache.offline();
    assert_eq!(all(true), ["200"; 4]);
    assert_eq!(all(false), ["504"; 4]);
}

#[test]
fn what_came_with_a_password_is_not_for_others() {
    if !have(&[Part::Skopeo, Part::Podman, Part::Dockerd, Part::Containerd, Part::Registry, Part::Curl]) {
        return;
    }
    let mut scene = Scene::new();
    let image = scene.push("library/app:1", "one");
    scene.lock();
    let cache = scene.cache("");
    let paths = ["library/app/manifests/1".to_owned(), format!("library/app/blobs/{}", image.layers[0])];
    let all = |user: bool| paths.iter().map(|path| status(&scene, user, path)).collect::<Vec<_>>();
    assert_eq!(all(false), ["401"; 2]);
    assert_eq!(all(true), ["200"; 2]);
    assert_eq!(all(false), ["401"; 2]);
    scene.site.forget();
    assert_eq!(all(true), ["200"; 2]);
    assert_eq!(scene.site.requests(), 0, "{:#?}", scene.site.log());
    bring_credentials(&scene, "library/app:1", &image);
    let _cache = cache.offline();
    assert_eq!((all(true), all(false)), (vec!["200".to_owned(); 2], vec!["504".to_owned(); 2]));
}
