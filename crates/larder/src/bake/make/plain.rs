//! A registry on this machine without TLS, for podman: it takes layers from there where its
//! settings say so of that one host, and a flag would say so of every base, too.
//!
//! The build gets settings of its own by a variable: the machine's, with one table more. Left alone
//! is a user whose own file has the settings, since podman would read others beside this one then,
//! and whoever has said something of the host.
//!
//! Source: containers-registries.conf(5).

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use storekit::files::replace::{Durability, read_capped, replace};

/// The variable that names podman's file.
pub(super) const VARIABLE: &str = "CONTAINERS_REGISTRIES_CONF";

/// Where the machine's own file is.
const SYSTEM: &str = "/etc/containers/registries.conf";

/// No such file is larger: 1 MiB.
const LARGEST: u64 = 1 << 20;

/// Writes the settings for a build that uses these repositories into the folder; `None` where there
/// is nothing to add, or nothing that could be added to.
pub(super) fn settings(
    repositories: &[&str],
    variables: &BTreeMap<String, String>,
    folder: &Utf8Path,
) -> Option<Utf8PathBuf> {
    let hosts = repositories.iter().filter_map(|repository| repository.split('/').next());
    let mut hosts: Vec<_> = hosts.filter(|host| is_loopback(host)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let base = base(variables)?;
    let text = read_capped(&base, LARGEST).ok()?.unwrap_or_default();
    let text = with(&String::from_utf8(text).ok()?, &hosts)?;
    let path = folder.join("registries.conf");
    replace(&path, text.as_bytes(), Durability::Unsynced).ok()?;
    Some(path)
}

/// The file that podman reads; `None` for one below the user's home folder.
fn base(variables: &BTreeMap<String, String>) -> Option<Utf8PathBuf> {
    if let Some(file) = variables.get(VARIABLE).filter(|file| !file.is_empty()) {
        return Some(file.into());
    }
    let below = |variable: &str, path: &str| Some(Utf8Path::new(variables.get(variable)?).join(path));
    let own = [
        below("HOME", ".config/containers/registries.conf"),
        below("XDG_CONFIG_HOME", "containers/registries.conf"),
    ];
    (!own.iter().flatten().any(|file| file.exists())).then(|| SYSTEM.into())
}

/// The text with tables for these hosts; `None` where it says something of all of them, is not
/// understood, or is in podman's first format.
fn with(text: &str, hosts: &[&str]) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let known = match table.get("registry") {
        None => &[][..],
        Some(known) => known.as_array()?.as_slice(),
    };
    if table.contains_key("registries") {
        return None;
    }
    let says = |host: &str| {
        known.iter().any(|own| {
            let place = own.get("prefix").or_else(|| own.get("location")).and_then(toml::Value::as_str);
            // One with a repository behind it goes before.
            place.is_some_and(|place| place.split('/').next() == Some(host))
        })
    };
    let new: Vec<_> = hosts.iter().filter(|host| !says(host)).collect();
    if new.is_empty() {
        return None;
    }
    let one = |host: &&&str| {
        let host = serde_json::Value::from(**host);
        format!("\n[[registry]]\nlocation = {host}\ninsecure = true\n")
    };
    let text = format!("{text}{}", new.iter().map(one).collect::<String>());
    text.parse::<toml::Table>().is_ok().then_some(text)
}

/// Whether a registry's name is one of this machine's, which imgtar asks without TLS, too.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_hosts_are_added_and_only_where_nothing_is_said_of_them() {
        let new = "\n[[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n";
        let own = "unqualified-search-registries = [\"r.example\"]\n[[registry]]\nprefix = \"r.example\"\n";
        assert_eq!(with(own, &["127.0.0.1:5000"]), Some(format!("{own}{new}")));
        assert_eq!(with("", &["127.0.0.1:5000"]).as_deref(), Some(new));
        for said in [
            "[[registry]]\nlocation = \"127.0.0.1:5000\"\n",
            "[[registry]]\nprefix = \"127.0.0.1:5000/team\"\ninsecure = false\n",
            "[registries.search]\nregistries = [\"r.example\"]\n",
            "registry = 1\n",
            "registry = []\n",
            "[",
        ] {
            assert_eq!(with(said, &["127.0.0.1:5000"]), None, "{said}");
        }
        for (host, is_own) in [
            ("127.0.0.1:5000", true),
            ("localhost", true),
            ("[::1]:5000", true),
            ("localhost.example", false),
            ("r.example:5000", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), is_own, "{host}");
        }
    }

    #[test]
    fn a_file_of_the_users_own_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let home = |more: &[(&str, &str)]| {
            let own = [("HOME", folder.as_str())];
            own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let repositories = ["127.0.0.1:5000/a/b"];
        larder_tests::write(folder.join("named.conf"), "# ours\n");
        let named = folder.join("named.conf");
        let path = settings(&repositories, &home(&[(VARIABLE, named.as_str())]), folder).expect("a file");
        assert!(std::fs::read_to_string(path).expect("a file").starts_with("# ours\n\n[[registry]]\n"));
        assert_eq!(settings(&["r.example/a"], &home(&[(VARIABLE, named.as_str())]), folder), None);
        larder_tests::write(folder.join(".config/containers/registries.conf"), "");
        assert_eq!(settings(&repositories, &home(&[]), folder), None);
    }
}
