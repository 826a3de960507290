//! The index's `config.json`: where crates are.
//!
//! Source: the Cargo Book, "Index format".

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use storekit::Checksum;

use super::{index_path, is_version, shown};
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::table::fetchable;

/// No `config.json` is larger: 1 MiB.
const CAP: u64 = 1 << 20;
/// What `dl` may contain, to be replaced.
const MARKERS: [&str; 5] = ["{crate}", "{version}", "{prefix}", "{lowerprefix}", "{sha256-checksum}"];

#[derive(Serialize, Deserialize)]
struct Config {
    dl: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn read(config: &mut dyn Read) -> Result<Config, BadIndex> {
    let mut text = Vec::new();
    config.take(CAP + 1).read_to_end(&mut text)?;
    if text.len() as u64 > CAP {
        return Err(BadIndex::TooLarge("it is larger than 1 MiB"));
    }
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        BadIndex::Malformed(format!("it is not a `config.json`: {}", shown(&error.to_string())))
    })?;
    let trial = MARKERS.iter().fold(config.dl.clone(), |dl, marker| dl.replace(marker, "x"));
    if fetchable(&trial).is_none() {
        return Err(BadIndex::Malformed(format!("its `dl` is not a web address: {}", shown(&config.dl))));
    }
    Ok(config)
}

/// Whether it can be a `config.json`.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn check_config(config: &mut dyn Read) -> Result<(), BadIndex> {
    read(config).map(|_| ())
}

/// Where the upstream has a crate, by the `dl` of its `config.json`.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn download_url(
    config: &mut dyn Read,
    name: &str,
    version: &str,
    sha256: &str,
) -> Result<String, BadIndex> {
    let dl = read(config)?.dl;
    let prefix =
        prefix(name).filter(|_| is_version(version) && Checksum::from_hex("sha256", sha256).is_some());
    let prefix = prefix.ok_or_else(|| BadIndex::Malformed("it is not a valid crate".to_owned()))?;
    if !MARKERS.iter().any(|marker| dl.contains(marker)) {
        return Ok(format!("{dl}/{name}/{version}/download"));
    }
    let values = [name, version, &prefix, &prefix.to_ascii_lowercase(), sha256];
    Ok(MARKERS.iter().zip(values).fold(dl, |dl, (marker, value)| dl.replace(marker, value)))
}

/// The folders above the index file of a crate, with the name's own capital letters.
fn prefix(name: &str) -> Option<String> {
    index_path(name)?;
    Some(match name.len() {
        1 | 2 => name.len().to_string(),
        3 => format!("3/{}", name.get(..1)?),
        _ => format!("{}/{}", name.get(..2)?, name.get(2..4)?),
    })
}

/// Writes the upstream's `config.json` with a `dl` that leads to this mount and has the checksum.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render_config(config: &mut dyn Read, base: &Base, out: &mut dyn Write) -> Result<(), BadIndex> {
    let mut config = read(config)?;
    let Base { here, mount, .. } = base;
    config.dl = format!("{here}{mount}/dl/{{crate}}/{{version}}/{{sha256-checksum}}.crate");
    serde_json::to_writer(&mut *out, &config).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}
