//! Bills of materials in JSON: `CycloneDX`, and SPDX 2. Packages are known by their package URLs.
//!
//! What they say of checksums is not used: whether it is of the file that an index has, or of what
//! was installed, they leave open.
//!
//! Source: `CycloneDX` 1.6, `components[].purl`; SPDX 2.3, 7.21 (`externalRefs`); the package URL
//! specification, and its types `cargo`, `deb`, `docker`, `npm`, `oci` and `pypi`.

use serde::Deserialize;

use super::{Listed, Locked, NotALock};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::path::decoded;

/// Components may have components.
const DEEPEST: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bill {
    bom_format: Option<String>,
    spdx_version: Option<String>,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Component {
    purl: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    components: Vec<Self>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(default)]
    name: String,
    #[serde(default)]
    external_refs: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_type: String,
    reference_locator: String,
}

/// What is said of a package without a package URL.
const NAMELESS: &str = "has no package URL";
/// Of one whose kind is not known here.
const OTHER: &str = "is of a kind that no list here is read for";

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let bill: Bill = serde_json::from_str(text).map_err(|error| NotALock::json(&error))?;
    let mut listed = Listed::default();
    if bill.bom_format.as_deref() == Some("CycloneDX") {
        components(bill.components, &mut listed, 0)?;
    } else if bill.spdx_version.is_some() {
        for package in bill.packages {
            let purl = package.external_refs.into_iter().find(|it| it.reference_type == "purl");
            add(package.name, purl.map(|it| it.reference_locator), &mut listed);
        }
    } else {
        return Err(NotALock::new("it is neither CycloneDX (`bomFormat`) nor SPDX 2 (`spdxVersion`)"));
    }
    Ok(listed)
}

fn components(components: Vec<Component>, listed: &mut Listed, depth: usize) -> Result<(), NotALock> {
    if depth > DEEPEST {
        return Err(NotALock::new("its components are nested too deeply"));
    }
    for component in components {
        add(component.name, component.purl, listed);
        self::components(component.components, listed, depth + 1)?;
    }
    Ok(())
}

fn add(name: String, purl: Option<String>, listed: &mut Listed) {
    let Some(purl) = purl else {
        listed.leave_out(name, NAMELESS);
        return;
    };
    match package(&purl) {
        Some(locked) => listed.packages.push(locked),
        None => listed.leave_out(purl, OTHER),
    }
}

/// `pkg:TYPE/NAMESPACE/NAME@VERSION?KEY=VALUE#PATH`.
fn package(purl: &str) -> Option<Locked> {
    let text = purl.strip_prefix("pkg:")?.trim_start_matches('/').split('#').next()?;
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (kind, path) = text.split_once('/')?;
    let (path, version) = path.rsplit_once('@').filter(|(path, _)| !path.is_empty()).unwrap_or((path, ""));
    let plain = |text: &str| String::from_utf8(decoded(text)?).ok();
    let (path, version) = (plain(path)?, plain(version)?);
    let last = path.rsplit('/').next()?.to_owned();
    let of = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).and_then(|(_, value)| plain(value))
    };
    let (ecosystem, name, version) = match kind.to_ascii_lowercase().as_str() {
        "cargo" => (Ecosystem::Cargo, path, version),
        "npm" => (Ecosystem::Npm, path, version),
        "pypi" => (Ecosystem::Python, path, version),
        "golang" => (Ecosystem::Go, path, version),
        "deb" => (Ecosystem::Apt, last, version),
        "docker" | "oci" => {
            let repository =
                of("repository_url").filter(|_| kind.eq_ignore_ascii_case("oci")).unwrap_or(path);
            let mark = if version.contains(':') { '@' } else { ':' };
            let name = if version.is_empty() { repository } else { format!("{repository}{mark}{version}") };
            (Ecosystem::Oci, name, String::new())
        }
        _ => return None,
    };
    let is_enough = !version.is_empty() || matches!(ecosystem, Ecosystem::Oci | Ecosystem::Apt);
    (is_enough && !name.is_empty()).then(|| Locked { ecosystem, name, version, ..Locked::default() })
}
