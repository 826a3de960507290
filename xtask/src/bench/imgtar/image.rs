//! Two images of 1 GB that share their base, as archives that `docker load` takes, made without an
//! engine.
//!
//! The layers of each run are new to every engine: a mark of the run is in each.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::{Digest, Hasher};

use super::super::basics::{lost, say};
use super::super::inputs::tree_of;
use super::content::Content;
use larder::process::command::Cmd;
use larder::process::runner::{RunError, Runner};
use storekit::Platform;

/// Files of each layer of the base.
const BASE: [(&str, u32); 3] = [("base0", 9_600), ("base1", 4_800), ("base2", 1_600)];
/// Their mean size.
const MEAN: usize = 62_500;
/// Files of the layer above, and their mean size.
const TOP: (u32, usize) = (100, 20_000);

/// The archives, and what is in them.
pub(super) struct Archives {
    /// The base alone.
    pub(super) base: Utf8PathBuf,
    /// The base and a small layer.
    pub(super) app: Utf8PathBuf,
    /// The base and another small layer.
    pub(super) next: Utf8PathBuf,
    /// The files of a small layer.
    pub(super) top: Utf8PathBuf,
}

/// A layer's tar.
#[derive(Clone)]
struct Layer {
    file: String,
    diff_id: Digest,
}

impl Archives {
    /// Makes them in the folder; the images are called `name:base`, `name:app`, `name:next`.
    pub(super) fn make(runner: &Runner, folder: &Utf8Path, name: &str) -> Result<Self, RunError> {
        say("making two images of 1 GB that share their base");
        let mut maker = Maker { runner, folder, name, content: Content::new() };
        let mut layers = Vec::new();
        for (layer, files) in BASE {
            layers.push(maker.layer(layer, files, MEAN)?);
            fs::remove_dir_all(folder.join(layer)).map_err(lost)?;
        }
        let base = maker.archive("base", &layers)?;
        let [app, next] = ["app", "next"].map(|tag| maker.upon(&layers, tag));
        for (layer, _) in BASE {
            fs::remove_file(folder.join(file(layer))).map_err(lost)?;
        }
        Ok(Self { base, app: app?, next: next?, top: folder.join("app") })
    }
}

struct Maker<'a> {
    runner: &'a Runner,
    folder: &'a Utf8Path,
    name: &'a str,
    content: Content,
}

impl Maker<'_> {
    /// An archive with one small layer more.
    fn upon(&mut self, base: &[Layer], tag: &str) -> Result<Utf8PathBuf, RunError> {
        let mut layers = base.to_vec();
        layers.push(self.layer(tag, TOP.0, TOP.1)?);
        self.archive(tag, &layers)
    }

    fn layer(&mut self, name: &str, files: u32, mean: usize) -> Result<Layer, RunError> {
        let tree = self.folder.join(name);
        tree_of(&tree, files, mean, |number, size| self.content.file(number, size)).map_err(lost)?;
        mark(&tree).map_err(lost)?;
        let file = file(name);
        let path = self.folder.join(&file);
        let tar = Cmd::new("tar").args(["--sort=name", "--owner=0", "--group=0", "-C"]).path(&tree);
        self.runner.output(&tar.arg("-cf").path(&path).arg("."))?;
        Ok(Layer { file, diff_id: digest(&path).map_err(lost)? })
    }

    /// A docker-archive with these layers.
    fn archive(&self, tag: &str, layers: &[Layer]) -> Result<Utf8PathBuf, RunError> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
        let files: Vec<_> = layers.iter().map(|layer| layer.file.as_str()).collect();
        let config = serde_json::json!({
            "architecture": Platform::host().architecture(), "os": "linux", "config": { "Cmd": ["/none"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let manifest = serde_json::json!([{
            "Config": "config.json", "RepoTags": [format!("{}:{tag}", self.name)], "Layers": files,
        }]);
        for (file, document) in [("config.json", config), ("manifest.json", manifest)] {
            write(&self.folder.join(file), &document.to_string()).map_err(lost)?;
        }
        let path = self.folder.join(format!("{tag}.tar"));
        let tar = Cmd::new("tar").arg("-C").path(self.folder).arg("-cf").path(&path);
        self.runner.output(&tar.args(["config.json", "manifest.json"]).args(files))?;
        Ok(path)
    }
}

/// The name of a layer's tar.
fn file(layer: &str) -> String {
    format!("{layer}.layer.tar")
}

/// Makes the folder's content new to everybody.
fn mark(folder: &Utf8Path) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write(&folder.join("mark"), &format!("{} {}\n", std::process::id(), now.as_nanos()))
}

fn write(path: &Utf8Path, text: &str) -> io::Result<()> {
    File::create(path)?.write_all(text.as_bytes())
}

/// The digest of a file's bytes.
fn digest(path: &Utf8Path) -> io::Result<Digest> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
