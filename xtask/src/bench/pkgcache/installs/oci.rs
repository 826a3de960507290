//! skopeo with an image of many layers, beside docker-registry as a mirror.

use std::io;

use camino::Utf8Path;
use flate2::Compression;
use flate2::write::GzEncoder;
use larder::process::command::Cmd;
use larder::process::runner::RunError;
use larder_tests::http::Site;
use serde_json::{Value, json};
use storekit::Digest;

use super::super::super::basics::lost;
use super::super::ground::Ground;
use super::super::servers::{REGISTRY, Server, free};
use super::case::{Client, Cold, Peer};
use super::packages::{self, Package};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The repository of the image, whose tag is `1`.
const IMAGE: &str = "library/bench";

/// skopeo: its own cache is a folder of blobs that several images share.
pub(super) struct Skopeo {
    site: Site,
    layers: Vec<Digest>,
}

impl Client for Skopeo {
    const NAME: &str = "oci";
    const JOB: &str = "skopeo copy of an image whose layers are";
    const ROUNDS: usize = 15;
    const INSTALLED: &str = "out";
    const OWN_CACHE: f64 = 4.0;

    fn new(ground: &Ground<'_>) -> Result<Result<Self, String>, RunError> {
        if let Err(reason) = ground.find("skopeo")? {
            return Ok(Err(reason));
        }
        let mut skopeo = Self { site: Site::new(), layers: Vec::new() };
        skopeo.fill().map_err(lost)?;
        Ok(Ok(skopeo))
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn settings(&self) -> String {
        format!("[pkgcache.registry]\n{REGISTRY:?} = {{ url = \"{}\" }}\n", self.site.url())
    }

    fn at_pkgcache(&self, url: &str) -> String {
        format!("{}/{REGISTRY}/{IMAGE}:1", url.trim_start_matches("http://"))
    }

    fn directly(&self) -> String {
        format!("{}/{IMAGE}:1", self.site.authority())
    }

    fn peers(&self, ground: &Ground<'_>) -> Result<Vec<Peer>, RunError> {
        let registry = self.registry(ground);
        let place = |server: &Server| format!("{}/{IMAGE}:1", server.authority());
        Ok(vec![Peer::new("docker-registry", registry, place)?])
    }

    fn prepare(&self, _: &Utf8Path, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn line(&self, place: &str) -> String {
        format!(
            "skopeo --insecure-policy copy --src-tls-verify=false docker://{place} oci:out:1 \
             --dest-shared-blob-dir blobs"
        )
    }

    fn cold(&self) -> Cold {
        let path = |digest: &Digest| format!("{IMAGE}/blobs/{digest}");
        let file =
            |digest: &Digest| (format!("/v2/{REGISTRY}/{}", path(digest)), format!("/v2/{}", path(digest)));
        Cold { indexes: Vec::new(), files: self.layers.iter().map(file).collect() }
    }
}

impl Skopeo {
    fn fill(&mut self) -> io::Result<()> {
        let (mut uncompressed, mut layers) = (Vec::new(), Vec::new());
        for package in packages::all() {
            let tar = tar(&package)?;
            uncompressed.push(Digest::of(&tar).to_string());
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            io::Write::write_all(&mut gzip, &tar)?;
            let (digest, descriptor) = self.blob(LAYER, gzip.finish()?);
            self.layers.push(digest);
            layers.push(descriptor);
        }
        let rootfs = json!({ "type": "layers", "diff_ids": uncompressed });
        let config = json!({ "architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs });
        let (_, config) = self.blob(CONFIG, config.to_string().into_bytes());
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
                .to_string();
        let digest = Digest::of(manifest.as_bytes());
        for name in ["1".to_owned(), digest.to_string()] {
            let fields = format!("content-type: {MANIFEST}\ndocker-content-digest: {digest}");
            self.site.put_with(&format!("/v2/{IMAGE}/manifests/{name}"), &fields, manifest.clone());
        }
        self.site.put_with("/v2/", "content-type: application/json", "{}");
        Ok(())
    }

    /// Puts a blob there; its descriptor.
    fn blob(&self, media_type: &str, bytes: Vec<u8>) -> (Digest, Value) {
        let digest = Digest::of(&bytes);
        let descriptor =
            json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() });
        let fields = format!("content-type: application/octet-stream\ndocker-content-digest: {digest}");
        self.site.put_with(&format!("/v2/{IMAGE}/blobs/{digest}"), &fields, bytes);
        (digest, descriptor)
    }

    /// docker-registry as a mirror of the upstream; or why it does not run.
    fn registry(&self, ground: &Ground<'_>) -> Result<Result<Server, String>, RunError> {
        let program = match ground.find("docker-registry")? {
            Ok(program) => program,
            Err(reason) => return Ok(Err(reason)),
        };
        let authority = free().map_err(lost)?;
        let settings = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {}/registry }} }}\n\
             http: {{ addr: '{authority}', secret: x }}\nproxy: {{ remoteurl: '{}' }}\n",
            ground.folder,
            self.site.url()
        );
        let file = ground.write("registry.yml", settings).map_err(lost)?;
        let cmd = Cmd::new(program).arg("serve").path(&file);
        Server::run(ground, "docker-registry", authority, &cmd).map(Ok)
    }
}

fn tar(package: &Package) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(package.content.len() as u64);
    tar.append_data(&mut header, &package.name, package.content.as_slice())?;
    tar.into_inner()
}
