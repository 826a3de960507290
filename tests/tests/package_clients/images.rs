//! skopeo, podman, docker and containerd, led to a mirror of registries.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_tests::http::{Exchange, Fault, Reply, Site, free_address, get};
use larder_tests::{Daemon, DockerRegistry, Part, Ran, Session, have, sh, signal, until};

use crate::served::{Cache, Line, at_once, stored, verified};

/// A registry with a counting site before it, and a place for a cache.
struct Scene {
    session: Session,
    registry: DockerRegistry,
    site: Site,
    /// Where the cache answers.
    here: SocketAddr,
    /// The next number.
    numbers: AtomicUsize,
}

/// An image in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Image {
    /// The digest of its manifest.
    manifest: String,
    /// The digest of its config, by which engines name it.
    config: String,
    layers: Vec<String>,
}

/// What clients take for a manifest.
const MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// The default registry of these tests.
const ONE: &str = "one.example";

impl Scene {
    fn new() -> Self {
        let session = Session::new().with_podman();
        let registry = DockerRegistry::start(&session.aside("registry"));
        let site = Site::before(registry.host());
        Self { session, registry, site, here: free_address(), numbers: AtomicUsize::new(100) }
    }

    /// Lets the user alone in, with this password, from now on.
    fn lock(&mut self) {
        let file = self
            .session
            .write("htpasswd", "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n");
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {file}}}}}");
        self.registry = DockerRegistry::start_with(&self.session.aside("registry"), "", &auth);
        self.site = Site::before(self.registry.host());
    }

    /// Makes an image with this text in it, and pushes it.
    fn push(&self, name: &str, text: &str) -> Image {
        push(&self.session, self.registry.host(), name, text)
    }

    /// A cache that mirrors the registry.
    fn cache(&self, more: &str) -> Cache<'_> {
        let url = self.site.url();
        Cache::at(
            &self.session,
            self.here,
            &format!("{more}[pkgcache.registry]\n\"{ONE}\" = {{ url = \"{url}\" }}\n"),
        )
    }

    /// Another one each time.
    fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// How often the site was asked for blobs and manifests by their digests.
    fn by_digest(&self) -> usize {
        self.site.log().iter().filter(|it| it.request.path.contains("/sha256:")).count()
    }
}

fn push(session: &Session, host: &str, name: &str, text: &str) -> Image {
    let key = name.replace(['/', ':'], "-");
    let line = text.repeat(3000);
    session.write(&format!("{key}/data"), format!("{name} {line}"));
    session
        .run(&format!("imgtar pack --force {key} {key} && imgtar push --compress gzip {key} {host}/{name}"))
        .ok();
    let (name, tag) = name.split_once(':').unwrap();
    let url = format!("http://{host}/v2/{name}/manifests/{tag}");
    let file = session.path("manifest");
    session.run(&format!("curl -sf -H 'Accept: {MANIFEST}' -o {file} {url}")).ok();
    let manifest = sh(&format!("sha256sum {file} | cut -d' ' -f1"));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let digest = |value: &serde_json::Value| value["digest"].as_str().unwrap().to_owned();
    Image {
        manifest: format!("sha256:{manifest}"),
        config: digest(&json["config"]),
        layers: json["layers"].as_array().unwrap().iter().map(digest).collect(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Skopeo,
    Podman,
    Docker,
    Containerd,
}

impl Kind {
    fn part(self) -> Part {
        match self {
            Self::Skopeo => Part::Skopeo,
            Self::Podman => Part::Podman,
            Self::Docker => Part::Dockerd,
            Self::Containerd => Part::Containerd,
        }
    }
}

/// A client that is led to the cache of a scene.
struct Client<'a> {
    kind: Kind,
    scene: &'a Scene,
    session: &'a Session,
    docker: Option<Daemon>,
    _containerd: Option<Ended>,
}

/// A process that is told to end, and waited for, when dropped.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        signal(&self.0, "TERM");
        let _ = self.0.wait();
    }
}

impl<'a> Client<'a> {
    fn new(kind: Kind, scene: &'a Scene) -> Self {
        let (session, here) = (&scene.session, scene.here);
        let mirrors: String = [ONE, "two.example"]
            .iter()
            .map(|name| {
                // Nobody listens at port 1: nothing is asked for elsewhere.
                format!(
                    "[[registry]]\nprefix = \"{name}\"\nlocation = \"127.0.0.1:1\"\ninsecure = true\n\
                     [[registry.mirror]]\nlocation = \"{here}/{name}\"\ninsecure = true\n"
                )
            })
            .collect();
        larder_tests::write(session.aside("registries.conf"), mirrors);
        for name in [ONE, "two.example"] {
            let text = format!(
                "server = \"http://127.0.0.1:1\"\n[host.\"http://{here}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
            );
            session.write(&format!("hosts/{name}/hosts.toml"), text);
        }
        let docker = (kind == Kind::Docker).then(|| {
            Daemon::with_mirror(
                &session.aside(&format!("dockerd{}", scene.number())),
                &format!("http://{here}"),
            )
        });
        let containerd = (kind == Kind::Containerd).then(|| containerd(session));
        Self { kind, scene, session, docker, _containerd: containerd }
    }

    /// The line that pulls `NAME:TAG` from a registry, as a client of its own, of this number.
    fn line_from(&self, registry: &str, name: &str, number: usize) -> String {
        let conf = self.session.aside("registries.conf");
        match self.kind {
            Kind::Skopeo => format!(
                "rm -rf out{number}; skopeo --registries-conf {conf} --insecure-policy copy docker://{registry}/{name} dir:out{number}"
            ),
            Kind::Podman => {
                format!(
                    "export TMPDIR=$TMPDIR/{number}/p; mkdir -p $TMPDIR; cp {conf} $TMPDIR/..; $LARDER_PODMAN pull -q {registry}/{name}"
                )
            }
            Kind::Docker => {
                let host = self.docker.as_ref().unwrap().host();
                format!("docker -H {host} pull -q {}", name.trim_start_matches("library/"))
            }
            Kind::Containerd => format!(
                "ctr -a containerd/sock -n n{number} images pull --hosts-dir hosts --snapshotter native {registry}/{name}"
            ),
        }
    }

    fn line(&self, name: &str, number: usize) -> String {
        self.line_from(ONE, name, number)
    }

    /// Pulls as a client that has nothing.
    fn pull(&self, name: &str) -> Ran {
        self.session.run(&self.line(name, self.scene.number()))
    }

    /// Pulls, has this very image, and forgets it.
    #[track_caller]
    fn gets(&self, name: &str, image: &Image) {
        let number = self.scene.number();
        let pulled = self.session.run(&self.line(name, number));
        assert_eq!(
            pulled.code(),
            0,
            "{pulled}{}",
            self.docker.as_ref().map(Daemon::said).unwrap_or_default()
        );
        self.has(ONE, name, image, number);
        self.empty(name);
    }

    #[track_caller]
    fn has(&self, registry: &str, name: &str, image: &Image, number: usize) {
        let (line, expected) = match self.kind {
            Kind::Skopeo => {
                (format!("sha256sum <out{number}/manifest.json | cut -d' ' -f1"), &image.manifest)
            }
            Kind::Podman => (
                format!(
                    "TMPDIR=$TMPDIR/{number}/p $LARDER_PODMAN image inspect -f '{{{{.Id}}}}' {registry}/{name}"
                ),
                &image.config,
            ),
            Kind::Docker => {
                let (host, name) =
                    (self.docker.as_ref().unwrap().host(), name.trim_start_matches("library/"));
                (format!("docker -H {host} image inspect -f '{{{{.Id}}}}' {name}"), &image.config)
            }
            Kind::Containerd => (
                format!(
                    "ctr -a containerd/sock -n n{number} images ls 'name=={registry}/{name}' | awk 'NR>1 {{ print $3 }}'"
                ),
                &image.manifest,
            ),
        };
        let found = self.session.run(&line).ok().stdout();
        let hex = |digest: &str| digest.trim().trim_start_matches("sha256:").to_owned();
        assert_eq!(hex(&found), hex(expected), "{:?} {name}", self.kind);
    }

    /// docker is one client; all others are new ones with each pull.
    fn empty(&self, name: &str) {
        if let Some(docker) = &self.docker {
            let name = name.trim_start_matches("library/");
            self.session.run(&format!("docker -H {} rmi -f {name}", docker.host())).ok();
        }
    }
}

fn containerd(session: &Session) -> Ended {
    let at = |name: &str| session.path("containerd").join(name);
    let text = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{}\"\n\
         [plugins.\"io.containerd.metadata.v1.bolt\"]\ncontent_sharing_policy = \"isolated\"\n",
        at("root"),
        at("state"),
        at("sock")
    );
    let config = session.write("containerd/config.toml", text);
    let log = std::fs::File::create(at("log")).unwrap();
    let mut command = session.program("containerd");
    let child = command.args(["-c", config.as_str()]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut ended = Ended(child);
    // It tells nobody when it is ready.
    until("containerd answers", || {
        let gone = ended.0.try_wait().unwrap().is_some();
        assert!(!gone, "containerd ended: {}", std::fs::read_to_string(at("log")).unwrap());
        session.run("ctr -a containerd/sock version").code() == 0
    });
    ended
}

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
    // Nor is it where the name of another repository stands before the digest.
    let elsewhere = format!("library/open/blobs/{}", closed.layers[0]);
    assert_eq!(status(&scene, false, &elsewhere), "404");
    let _cache = cache.offline();
    assert_eq!(all(true), ["200"; 4]);
    assert_eq!(all(false), ["504"; 4]);
}

#[test]
fn what_came_with_a_password_is_not_for_others() {
    if !have(&[Part::Containerd, Part::Registry, Part::Curl]) {
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
    // skopeo, podman and docker send theirs only where the greeting asks for them.
    let client = Client::new(Kind::Containerd, &scene);
    client.pull("library/app:1").fails();
    let line = client.line("library/app:1", 1).replace(" pull ", " pull --user user:secret ");
    scene.session.run(&line).ok();
    client.has(ONE, "library/app:1", &image, 1);
    let _cache = cache.offline();
    assert_eq!((all(true), all(false)), (vec!["200".to_owned(); 2], vec!["504".to_owned(); 2]));
}
