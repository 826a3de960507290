//! Container engines: which registries docker, podman and containerd are set up for.
//!
//! Sources: docker's manual, "dockerd"; `containers-registries.conf(5)`; containerd's
//! `docs/hosts.md`; `docker-config-json(5)`.

use serde_json::Value;

use crate::clients::{Ecosystem, Found, Role, Text, address, tables_at, text_at, texts_at};

/// What docker uses by its daemon's settings (daemon.json): mirrors of its own registry, whose name
/// is `own`.
#[must_use]
pub fn docker(file: &Text, own: Option<&str>) -> Found {
    let mut found = Found::default();
    let Ok(document) = serde_json::from_str::<Value>(&file.text) else {
        found.note(format!("{}: this is not valid JSON, so it is not counted", file.from));
        return found;
    };
    let mirrors =
        document.get("registry-mirrors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for mirror in mirrors.iter().filter_map(Value::as_str) {
        match own {
            // Only its own registry has mirrors with docker, and the first that answers is taken.
            Some(own) => found.index(Ecosystem::Oci, Role::Named(own.to_owned()), mirror, &file.from),
            None => found.note(format!(
                "{}: docker has a mirror of its own registry, whose name it does not say",
                file.from
            )),
        }
    }
    found
}

/// Where docker's own registry is said. Its address is that of its old interface; how images are to
/// be had there, this cache knows by the name.
pub(super) const OWN: &str = "docker's built-in default";

/// The registry that docker asks where no other is named, by `docker info`: its name and its
/// address with a blank between them.
#[must_use]
pub fn built_in(said: &str) -> Option<Found> {
    let (name, server) = said.trim().split_once(' ')?;
    let mut found = Found::default();
    let root = format!("https://{}/", address::authority(&address::Address::read(server)?.url));
    found.index(Ecosystem::Oci, Role::Named(name.to_owned()), &root, OWN);
    Some(found).filter(|found| is_name(name) && !found.indexes.is_empty())
}

/// Whether nothing but docker itself names the registry: no setting, no login, and no mirror that
/// is this cache.
#[must_use]
pub fn is_built_in_alone(found: &Found, name: &str) -> bool {
    let mut named = found.indexes.iter().filter(|it| it.role == Role::Named(name.to_owned())).peekable();
    named.peek().is_some() && named.all(|it| it.from == OWN) && !found.is_led_here(Ecosystem::Oci)
}

/// The registries that an engine has credentials for (docker's config.json, podman's auth.json).
#[must_use]
pub fn logins(file: &Text) -> Found {
    let mut found = Found::default();
    let document = serde_json::from_str::<Value>(&file.text).unwrap_or_default();
    for table in ["auths", "credHelpers"] {
        for name in document.get(table).and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name)
        {
            let host = address::authority(name);
            if is_registry(host) && !name.contains("/v1") {
                registry(&mut found, host, "https", &file.from);
            }
        }
    }
    found.indexes.iter_mut().for_each(|index| index.has_credentials = true);
    found
}

fn is_registry(host: &str) -> bool {
    (host.contains(['.', ':']) || host == "localhost") && is_name(host)
}

/// Whether a registry may be called so: a host, with its port where there is one.
fn is_name(host: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(good)
}

fn registry(found: &mut Found, host: &str, scheme: &str, from: &str) {
    found.index(Ecosystem::Oci, Role::Named(host.to_owned()), &format!("{scheme}://{host}/"), from);
}

/// What podman, skopeo and buildah use by registries.conf and the files of its folder.
#[must_use]
pub fn podman(files: &[Text]) -> Found {
    let mut found = Found::default();
    for file in files {
        let document = found.toml(file);
        for table in tables_at(&document, "registry") {
            if table.get("blocked").and_then(toml::Value::as_bool) == Some(true) {
                continue;
            }
            let location = text_at(table, &["location"]);
            let prefix = text_at(table, &["prefix"]).or(location).unwrap_or_default();
            let name = address::authority(prefix).trim_start_matches("*.");
            let at = location.map_or(name, address::authority);
            let scheme = if table.get("insecure").and_then(toml::Value::as_bool) == Some(true) {
                "http"
            } else {
                "https"
            };
            if is_registry(name) && is_registry(at) && !prefix.starts_with("*.") {
                found.index(
                    Ecosystem::Oci,
                    Role::Named(name.to_owned()),
                    &format!("{scheme}://{at}/"),
                    &file.from,
                );
            }
            for mirror in tables_at(table, "mirror").filter_map(|it| text_at(it, &["location"])) {
                found.note(format!("{}: podman asks the mirror `{mirror}` for `{name}` first", file.from));
            }
        }
        for host in texts_at(&document, "unqualified-search-registries").filter(|host| is_registry(host)) {
            registry(&mut found, host, "https", &file.from);
        }
    }
    found
}

/// What containerd uses by the hosts.toml in the folder of a registry's name.
#[must_use]
pub fn containerd(name: &str, file: &Text) -> Found {
    let mut found = Found::default();
    let document = found.toml(file);
    if name == "_default" || !is_name(name) {
        return found;
    }
    let server = text_at(&document, &["server"]).map_or_else(|| format!("https://{name}/"), str::to_owned);
    found.index(Ecosystem::Oci, Role::Named(name.to_owned()), &server, &file.from);
    let hosts = document.get("host").and_then(toml::Value::as_table);
    for mirror in hosts.into_iter().flatten().map(|(mirror, _)| mirror) {
        let mirror = toolkit::net::without_credentials(mirror);
        found.note(format!("{}: containerd asks the mirror `{mirror}` for `{name}` first", file.from));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{lines, text};

    #[test]
    fn dockers_mirrors_are_for_its_own_registry() {
        let file =
            text("daemon.json", "{\"registry-mirrors\": [\"https://mirror.example\"], \"debug\": true}");
        assert_eq!(
            lines(&docker(&file, Some("own.example"))),
            ["own.example https://mirror.example/ (daemon.json)"]
        );
        assert_eq!(docker(&file, None).notes.len(), 1);
        assert_eq!(
            docker(&text("daemon.json", "{"), None).notes,
            ["daemon.json: this is not valid JSON, so it is not counted"]
        );
        let own = built_in("own.example https://index.own.example/v1/\n").unwrap();
        assert_eq!(lines(&own), ["own.example https://index.own.example/ (docker's built-in default)"]);
        for said in ["\n", " https://x.example/", "a\u{1b}.example https://x.example/"] {
            assert!(built_in(said).is_none(), "{said}");
        }
    }

    #[test]
    fn a_registry_that_docker_alone_names_is_known_as_one() {
        let own = built_in("own.example https://index.own.example/v1/\n").unwrap();
        assert!(is_built_in_alone(&own, "own.example") && !is_built_in_alone(&own, "r.example"));
        let mut mirrored = own.clone();
        mirrored.add(docker(
            &text("daemon.json", "{\"registry-mirrors\": [\"https://mirror.example\"]}"),
            Some("own.example"),
        ));
        assert!(!is_built_in_alone(&mirrored, "own.example"));
        let mut led = own.clone();
        led.note(format!("daemon.json{}", crate::clients::led_already(Ecosystem::Oci)));
        assert!(!is_built_in_alone(&led, "own.example"));
    }

    #[test]
    fn logins_name_registries() {
        let file = text(
            "config.json",
            "{\"auths\": {\"https://index.own.example/v1/\": {}, \"r.example:5000\": {\"auth\": \"x\"}}, \"credHelpers\": {\"q.example\": \"h\"}}",
        );
        assert_eq!(
            lines(&logins(&file)),
            [
                "r.example:5000 https://r.example:5000/* (config.json)",
                "q.example https://q.example/* (config.json)"
            ]
        );
        assert!(logins(&text("x", "[]")).indexes.is_empty());
    }

    #[test]
    fn podmans_registries_have_a_place_and_mirrors() {
        let conf = "unqualified-search-registries = [\"s.example\"]\n[[registry]]\nprefix = \"a.example/team\"\nlocation = \"b.example/x\"\n[[registry.mirror]]\nlocation = \"m.example\"\n[[registry]]\nlocation = \"l.example:5000\"\ninsecure = true\n[[registry]]\nlocation = \"no.example\"\nblocked = true\n[[registry]]\nprefix = \"*.w.example\"\n";
        let found = podman(&[text("r.conf", conf)]);
        assert_eq!(
            lines(&found),
            [
                "a.example https://b.example/ (r.conf)",
                "l.example:5000 http://l.example:5000/ (r.conf)",
                "s.example https://s.example/ (r.conf)"
            ]
        );
        assert_eq!(found.notes, ["r.conf: podman asks the mirror `m.example` for `a.example` first"]);
    }

    #[test]
    fn containerd_has_a_folder_for_each_registry() {
        let hosts =
            "server = \"https://real.example\"\n[host.\"https://m.example\"]\ncapabilities = [\"pull\"]\n";
        let found = containerd("name.example", &text("hosts.toml", hosts));
        assert_eq!(lines(&found), ["name.example https://real.example/ (hosts.toml)"]);
        assert_eq!(found.notes.len(), 1);
        for name in ["_default", "a b.example", "a.example\nb", ""] {
            assert!(containerd(name, &text("hosts.toml", "")).indexes.is_empty(), "{name}");
        }
    }
}
