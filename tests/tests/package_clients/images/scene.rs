//! A registry, and the clients that are led to its mirror.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_tests::http::{Site, free_address};
use larder_tests::{Daemon, DockerRegistry, Part, Ran, Session, sh, signal, until};

use crate::served::Cache;

/// A registry with a counting site before it, and a place for a cache.
pub(crate) struct Scene {
    pub(crate) session: Session,
    pub(crate) registry: DockerRegistry,
    pub(crate) site: Site,
    /// Where the cache answers.
    pub(crate) here: SocketAddr,
    /// The next number.
    numbers: AtomicUsize,
}

/// An image in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The digest of its manifest.
    pub(crate) manifest: String,
    /// The digest of its config, by which engines name it.
    pub(crate) config: String,
    pub(crate) layers: Vec<String>,
}

/// What clients take for a manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// The default registry of these tests.
pub(crate) const ONE: &str = "one.example";

impl Scene {
    pub(crate) fn new() -> Self {
        let session = Session::new().with_podman();
        let registry = DockerRegistry::start(&session.aside("registry"));
        let site = Site::before(registry.host());
        Self { session, registry, site, here: free_address(), numbers: AtomicUsize::new(100) }
    }

    /// Lets the user alone in, with this password, from now on.
    pub(crate) fn lock(&mut self) {
        let file = self
            .session
            .write("htpasswd", "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n");
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {file}}}}}");
        self.registry = DockerRegistry::start_with(&self.session.aside("registry"), "", &auth);
        self.site = Site::before(self.registry.host());
    }

    /// Makes an image with this text in it, and pushes it.
    pub(crate) fn push(&self, name: &str, text: &str) -> Image {
        push(&self.session, self.registry.host(), name, text)
    }

    /// Makes an image for each of two platforms, and pushes a list of them under the tag `all`.
    /// Gives the one for this machine, with the list's digest as that of its manifest where
    /// `is_list`, and the other.
    pub(crate) fn push_list(&self, is_list: bool) -> (Image, Image) {
        let (mine, theirs) =
            if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
        let [own, other] =
            [mine, theirs].map(|machine| self.push(&format!("library/app:{machine}"), machine));
        let entry = |image: &Image, machine: &str| {
            let url = format!("http://{}/v2/library/app/manifests/{}", self.registry.host(), image.manifest);
            let size = sh(&format!("curl -sf -H 'Accept: {MANIFEST}' {url} | wc -c"));
            format!(
                "{{\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"digest\": \"{}\", \"size\": {size}, \
                 \"platform\": {{\"os\": \"linux\", \"architecture\": \"{machine}\"}}}}",
                image.manifest
            )
        };
        let kind = "application/vnd.oci.image.index.v1+json";
        let list = format!(
            "{{\"schemaVersion\": 2, \"mediaType\": \"{kind}\", \"manifests\": [{}, {}]}}",
            entry(&own, mine),
            entry(&other, theirs)
        );
        let file = self.session.write("list.json", list);
        let url = format!("http://{}/v2/library/app/manifests/all", self.registry.host());
        sh(&format!("curl -sf -X PUT -H 'Content-Type: {kind}' --data-binary @{file} {url}"));
        let digest = format!("sha256:{}", sh(&format!("sha256sum {file} | cut -d' ' -f1")));
        (Image { manifest: if is_list { digest } else { own.manifest.clone() }, ..own }, other)
    }

    /// A cache that mirrors the registry.
    pub(crate) fn cache(&self, more: &str) -> Cache<'_> {
        let url = self.site.url();
        Cache::at(
            &self.session,
            self.here,
            &format!("{more}[pkgcache.registry]\n\"{ONE}\" = {{ url = \"{url}\" }}\n"),
        )
    }

    /// Another one each time.
    pub(crate) fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// How often the site was asked for blobs and manifests by their digests.
    pub(crate) fn by_digest(&self) -> usize {
        self.site.log().iter().filter(|it| it.request.path.contains("/sha256:")).count()
    }
}

pub(crate) fn push(session: &Session, host: &str, name: &str, text: &str) -> Image {
    let key = name.replace(['/', ':'], "-");
    let line = text.repeat(3000);
    let platform = match name.rsplit(':').next() {
        Some(machine @ ("amd64" | "arm64")) => format!("--platform linux/{machine}"),
        _ => String::new(),
    };
    session.write(&format!("{key}/data"), format!("{name} {line}"));
    session
        .run(&format!(
            "imgtar pack --force {platform} {key} {key} && imgtar push --compress gzip {key} {host}/{name}"
        ))
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
pub(crate) enum Kind {
    Skopeo,
    Podman,
    Docker,
    Containerd,
}

impl Kind {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Skopeo => Part::Skopeo,
            Self::Podman => Part::Podman,
            Self::Docker => Part::Dockerd,
            Self::Containerd => Part::Containerd,
        }
    }
}

/// A client that is led to the cache of a scene.
pub(crate) struct Client<'a> {
    pub(crate) kind: Kind,
    scene: &'a Scene,
    session: &'a Session,
    pub(crate) docker: Option<Daemon>,
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
    pub(crate) fn new(kind: Kind, scene: &'a Scene) -> Self {
        let (session, here) = (&scene.session, scene.here);
        let mut mirrors = String::new();
        for name in [ONE, "two.example"] {
            // Nobody listens at port 1: nothing is asked for elsewhere.
            let _ = write!(
                mirrors,
                "[[registry]]\nprefix = \"{name}\"\nlocation = \"127.0.0.1:1\"\ninsecure = true\n\
                 [[registry.mirror]]\nlocation = \"{here}/{name}\"\ninsecure = true\n"
            );
        }
        larder_tests::write(session.aside("registries.conf"), mirrors);
        for name in [ONE, "two.example"] {
            let text = format!(
                "server = \"http://127.0.0.1:1\"\n[host.\"http://{here}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
            );
            session.write(&format!("hosts/{name}/hosts.toml"), text);
        }
        let docker = (kind == Kind::Docker)
            .then(|| Daemon::with_mirror(&session.aside(&format!("dockerd{}", scene.number())), here));
        let containerd = (kind == Kind::Containerd).then(|| containerd(session));
        Self { kind, scene, session, docker, _containerd: containerd }
    }

    /// The line that pulls `NAME:TAG` from a registry, as a client of its own, of this number.
    pub(crate) fn line_from(&self, registry: &str, name: &str, number: usize) -> String {
        let conf = self.session.aside("registries.conf");
        match self.kind {
            Kind::Skopeo => format!(
                "rm -rf out{number}; skopeo --registries-conf {conf} --insecure-policy copy docker://{registry}/{name} dir:out{number}"
            ),
            Kind::Podman => {
                format!(
                    "export PODMAN_STORAGE=$TMPDIR/{number}/p; mkdir -p $PODMAN_STORAGE; cp {conf} $PODMAN_STORAGE/..; $LARDER_PODMAN pull -q {registry}/{name}"
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

    pub(crate) fn line(&self, name: &str, number: usize) -> String {
        self.line_from(ONE, name, number)
    }

    /// Pulls as a client that has nothing.
    pub(crate) fn pull(&self, name: &str) -> Ran {
        self.session.run(&self.line(name, self.scene.number()))
    }

    /// Pulls, has this very image, and forgets it.
    #[track_caller]
    pub(crate) fn gets(&self, name: &str, image: &Image) {
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
    pub(crate) fn has(&self, registry: &str, name: &str, image: &Image, number: usize) {
        let (line, expected) = match self.kind {
            Kind::Skopeo => {
                (format!("sha256sum <out{number}/manifest.json | cut -d' ' -f1"), &image.manifest)
            }
            Kind::Podman => (
                format!(
                    "PODMAN_STORAGE=$TMPDIR/{number}/p $LARDER_PODMAN image inspect -f '{{{{.Id}}}}' {registry}/{name}"
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
