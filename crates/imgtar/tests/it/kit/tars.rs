//! Makes archives of every kind, sound and not.

use serde_json::{Value, json};
use storekit::Digest;
use tar::{EntryType, Header};

/// A tar in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.entry(name.as_bytes(), EntryType::Regular, b"", bytes.as_ref())
    }

    pub(crate) fn json(self, name: &str, value: &Value) -> Self {
        self.file(name, value.to_string())
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), EntryType::Symlink, target.as_bytes(), b"")
    }

    /// Any entry, with bytes in its name that no library would write.
    pub(crate) fn entry(mut self, name: &[u8], kind: EntryType, target: &[u8], bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..target.len()].copy_from_slice(target);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.bytes(bytes)
    }

    /// Raw bytes, padded.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, field: &str, value: &str) -> Self {
        let rest = format!(" {field}={value}\n");
        let mut length = rest.len() + 2;
        while rest.len() + length.to_string().len() != length {
            length += 1;
        }
        self.entry(b"pax", EntryType::XHeader, b"", format!("{length}{rest}").as_bytes())
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    pub(crate) fn cut(self) -> Vec<u8> {
        self.0
    }
}

/// A layer's tar with one file in it.
pub(crate) fn layer(name: &str, content: &str) -> Vec<u8> {
    Tar::default().file(name, content).end()
}

/// The config of an image with these layers.
pub(crate) fn config(layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] }, "foreign": [1, 2.50],
        "rootfs": { "type": "layers", "diff_ids": diff_ids } })
}

/// What `docker save` up to 24 writes.
pub(crate) fn docker(name: &str, layers: &[&[u8]]) -> Tar {
    let config = config(layers).to_string();
    let id = Digest::of(config.as_bytes()).hex();
    let mut tar = Tar::default();
    let mut entries = Vec::new();
    for layer in layers {
        let folder = Digest::of(layer).hex();
        entries.push(format!("{folder}/layer.tar"));
        tar = tar.entry(format!("{folder}/").as_bytes(), EntryType::Directory, b"", b"");
        tar = tar.file(&format!("{folder}/VERSION"), "1.0").file(&format!("{folder}/layer.tar"), layer);
    }
    tar.file(&format!("{id}.json"), config)
        .json(
            "manifest.json",
            &json!([{ "Config": format!("{id}.json"), "RepoTags": [name], "Layers": entries }]),
        )
        .json("repositories", &json!({}))
}

/// The ID of the image that [`docker`] and [`oci`] write.
pub(crate) fn id(layers: &[&[u8]]) -> String {
    Digest::of(config(layers).to_string().as_bytes()).to_string()
}

pub(crate) fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// The manifest of an image whose layers come in these forms.
pub(crate) fn manifest(plain: &[&[u8]], forms: &[(&str, &[u8])]) -> Value {
    let config = config(plain).to_string();
    let layers: Vec<_> = forms.iter().map(|(suffix, bytes)| descriptor(&layer_type(suffix), bytes)).collect();
    json!({ "schemaVersion": 2, "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": layers, "annotations": { "kept": "yes" } })
}

fn layer_type(suffix: &str) -> String {
    format!("application/vnd.oci.image.layer.v1.tar{suffix}")
}

/// An OCI archive of these blobs, whose index lists these descriptors.
pub(crate) fn oci(blobs: &[&[u8]], listed: &[Value]) -> Tar {
    let tar = Tar::default()
        .json("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))
        .json("index.json", &json!({ "schemaVersion": 2, "manifests": listed }));
    blobs.iter().fold(tar, |tar, bytes| tar.file(&blob(bytes), bytes))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
