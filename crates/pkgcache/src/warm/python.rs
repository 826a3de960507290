//! What pip and uv ask for: the project's page, a file's metadata, and the file.

use std::collections::BTreeSet;

use http::Uri;
use serde::Deserialize;
use serde_json::Value;
use storekit::Checksum;

use super::fits::Machine;
use super::{Bringer, Failure, Load, below};
use crate::clients::pointers::Mount;
use crate::ecosystem::Ecosystem;
use crate::ecosystem::python::{normalized, of_file};
use crate::locked::{File, Locked};

/// As pip sends it for a page.
const PAGE: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";

#[derive(Deserialize)]
struct Page {
    files: Vec<Entry>,
}

/// A file that the page lists.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    core_metadata: Value,
    #[serde(default)]
    dist_info_metadata: Value,
}

impl Entry {
    fn has_metadata(&self) -> bool {
        let says = |value: &Value| value.as_bool() == Some(true) || value.is_object();
        says(&self.core_metadata) || says(&self.dist_info_metadata)
    }

    fn checksums(&self) -> impl Iterator<Item = Checksum> {
        self.hashes.iter().filter_map(|(algorithm, hex)| Checksum::from_hex(algorithm, hex))
    }

    /// Which file of the lock file it is.
    fn is(&self, file: &File) -> bool {
        match (file.checksum, &file.name) {
            (Some(checksum), None) => self.checksums().any(|it| it == checksum),
            (_, Some(name)) => *name == self.filename,
            (None, None) => false,
        }
    }
}

impl Bringer {
    pub(super) async fn python(&self, load: &mut Load) -> Result<(), Failure> {
        let mount = self.mount(Ecosystem::Python, load.locked.index.as_deref())?;
        let page = below(mount, &format!("/{}/", normalized(&load.locked.name)));
        let document = self.client.document(&page, PAGE).await?;
        let listed: Page =
            serde_json::from_slice(&document).map_err(|error| format!("its page cannot be read: {error}"))?;
        let chosen = choose(&listed.files, &load.locked, &self.machine);
        if chosen.is_empty() {
            return Err("the index has no file of it that this machine could install".to_owned());
        }
        for (entry, checksum) in chosen {
            let target = self.at(mount, &page, &entry.url)?;
            self.file(&mut load.outcome, &target, "*/*", checksum).await?;
            if entry.has_metadata() {
                self.client.document(&format!("{target}.metadata"), "*/*").await?;
            }
        }
        Ok(())
    }

    /// A link of a page as a path of the cache.
    fn at(&self, mount: &Mount, page: &str, url: &str) -> Result<String, Failure> {
        let url = url.split('#').next().unwrap_or_default();
        if url.starts_with('/') {
            return Ok(url.to_owned());
        }
        let Ok(parsed) = url.parse::<Uri>() else { return Err(format!("`{url}` is not a link")) };
        match parsed.authority() {
            Some(host) if host.as_str() == self.here.authority() => Ok(parsed.path().to_owned()),
            Some(_) => Err(format!(
                "its file lies at `{}`, which the mount `{}` does not lead to: add the host to `allow`",
                storekit::printable(url),
                mount.name
            )),
            None => Ok(joined(page, url)),
        }
    }
}

/// A relative link on a page whose path ends in `/`.
fn joined(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.trim_matches('/').split('/').collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Which files of a page the machine would take: of those that the lock file names, or of that
/// version's, the wheels that fit, and where none does, its source.
fn choose<'p>(files: &'p [Entry], locked: &Locked, machine: &Machine) -> Vec<(&'p Entry, Option<Checksum>)> {
    let of_version = |entry: &Entry| {
        of_file(&entry.filename).is_some_and(|it| is_same_version(&it.version, &locked.version))
    };
    let named = |entry: &Entry| locked.files.iter().find(|file| entry.is(file)).map(|file| file.checksum);
    let meant = files.iter().filter_map(|entry| match locked.files.as_slice() {
        [] => of_version(entry).then_some((entry, None)),
        _ => named(entry).map(|checksum| (entry, checksum)),
    });
    let mut seen = BTreeSet::new();
    let meant: Vec<_> = meant.filter(|(entry, _)| seen.insert(entry.filename.clone())).collect();
    let is_wheel = |entry: &Entry| entry.filename.strip_suffix(".whl").is_some();
    let (wheels, sources): (Vec<_>, Vec<_>) = meant.into_iter().partition(|(entry, _)| is_wheel(entry));
    let fitting: Vec<_> =
        wheels.into_iter().filter(|(entry, _)| machine.takes_wheel(&entry.filename)).collect();
    if fitting.is_empty() { sources } else { fitting }
}

/// Whether two texts mean one version, as far as files of an index differ in how they write it.
fn is_same_version(one: &str, other: &str) -> bool {
    let plain =
        |text: &str| text.trim_start_matches(['v', 'V']).to_ascii_lowercase().replace(['_', '-'], ".");
    let (one, other) = (plain(one), plain(other));
    let short = |text: &str| {
        let mut text = text.to_owned();
        while let Some(rest) = text.strip_suffix(".0") {
            text = rest.to_owned();
        }
        text
    };
    one == other || short(&one) == short(&other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn entry(name: &str) -> Entry {
        let value = serde_json::json!({ "filename": name, "url": format!("/python/files/{name}") });
        serde_json::from_value(value).unwrap()
    }

    fn chosen(files: &[&str], locked: &Locked) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|name| entry(name)).collect();
        let machine = Machine::new("linux/amd64".parse().unwrap(), None);
        choose(&files, locked, &machine).iter().map(|(entry, _)| entry.filename.clone()).collect()
    }

    #[test]
    fn a_machine_takes_the_wheels_that_fit_it_and_else_the_source() {
        let locked = Locked { version: "1.0".to_owned(), ..Locked::default() };
        let files = [
            "a-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "a-1.0-cp312-cp312-win_amd64.whl",
            "a-1.0.tar.gz",
            "a-2.0-py3-none-any.whl",
        ];
        assert_eq!(chosen(&files, &locked), [files[0]]);
        assert_eq!(chosen(&files[1..], &locked), ["a-1.0.tar.gz"]);
        assert_eq!(chosen(&files[1..2], &locked), [""; 0]);
    }

    #[test]
    fn a_file_is_known_by_its_name_or_its_hash() {
        let mut hashed = entry("a-1.0.tar.gz");
        hashed.hashes.insert("sha256".to_owned(), HEX.to_owned());
        let checksum = Checksum::from_hex("sha256", HEX);
        let of = |name: Option<&str>, checksum| File {
            name: name.map(str::to_owned),
            checksum,
            ..File::default()
        };
        assert!(hashed.is(&of(None, checksum)) && hashed.is(&of(Some("a-1.0.tar.gz"), None)));
        assert!(!hashed.is(&of(Some("b-1.0.tar.gz"), checksum)) && !hashed.is(&of(None, None)));
        assert!(!entry("a-1.0.tar.gz").is(&of(None, checksum)));
    }

    #[test]
    fn versions_and_links_are_read_as_pip_reads_them() {
        assert!(is_same_version("1.0", "1.0.0") && is_same_version("1.0.dev1", "1.0-dev1"));
        assert!(!is_same_version("1.0", "1.1") && is_same_version("2.1+cpu", "2.1+CPU"));
        assert_eq!(joined("/python/a/", "../../files/a.whl"), "/files/a.whl");
        assert_eq!(joined("/python/a/", "a.whl"), "/python/a/a.whl");
    }
}
