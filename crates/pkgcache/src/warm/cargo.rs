//! What cargo asks for: `config.json`, the crate's file in the index, and the crate.

use serde::Deserialize;
use storekit::Checksum;

use super::{Bringer, Failure, Load, below};
use crate::ecosystem::{Ecosystem, cargo};

/// A line of the index.
#[derive(Deserialize)]
struct Line {
    vers: String,
    cksum: String,
}

impl Bringer {
    pub(super) async fn cargo(&self, load: &mut Load) -> Result<(), Failure> {
        let (name, version) = (&load.locked.name, &load.locked.version);
        let mount = self.mount(Ecosystem::Cargo, load.locked.index.as_deref())?;
        let path = cargo::index_path(name).ok_or("its name is not a crate's")?;
        self.client.document(&below(mount, "/config.json"), "*/*").await?;
        let index = self.client.document(&below(mount, &format!("/{path}")), "*/*").await?;
        let locked = load.locked.files.first().and_then(|file| file.checksum);
        let checksum =
            locked.or_else(|| announced(&index, version)).ok_or("the index has no such version")?;
        let hex = checksum.to_string();
        let hex = hex.trim_start_matches("sha256:");
        let target = below(mount, &format!("/dl/{name}/{version}/{hex}.crate"));
        self.file(&mut load.outcome, &target, "*/*", Some(checksum)).await
    }
}

/// What the index says of a version.
fn announced(index: &[u8], version: &str) -> Option<Checksum> {
    let lines = index.split(|byte| *byte == b'\n');
    let mut lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let line = lines.find(|line| line.vers == version)?;
    Checksum::from_hex("sha256", &line.cksum)
}
