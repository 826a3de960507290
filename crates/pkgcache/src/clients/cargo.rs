//! cargo: where its settings are, and which indexes these name.
//!
//! Source: the Cargo Book, "Configuration", "Source replacement" and "Registry index".

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use toolkit::Environment;

use crate::clients::{Ecosystem, Found, Role, Text, table_at, text_at};

/// cargo's own folder.
#[must_use]
pub fn home(environment: &Environment) -> Option<Utf8PathBuf> {
    let own = environment.get("CARGO_HOME").map(|dir| environment.folder.join(dir));
    own.or_else(|| Some(Utf8PathBuf::from(environment.get("HOME")?).join(".cargo")))
}

/// The files that cargo reads here, the one that counts most last; and those with its credentials.
#[must_use]
pub fn files(environment: &Environment) -> (Vec<Utf8PathBuf>, Vec<Utf8PathBuf>) {
    let home = home(environment);
    let both = |folder: &Utf8PathBuf, name: &str| {
        [format!("{name}.toml"), name.to_owned()].map(|name| folder.join(name))
    };
    let mut settings: Vec<_> = home.iter().flat_map(|home| both(home, "config")).collect();
    let above: Vec<_> = environment.folder.ancestors().map(|folder| folder.join(".cargo")).collect();
    settings.extend(
        above.iter().rev().filter(|folder| Some(*folder) != home.as_ref()).flat_map(|it| both(it, "config")),
    );
    let credentials = home.iter().flat_map(|home| both(home, "credentials")).collect();
    (settings, credentials)
}

/// What cargo says of its sources, all files together.
#[derive(Debug, Default)]
struct Said {
    /// The tables `[source.NAME]`, with the file that counts.
    sources: BTreeMap<String, (toml::Table, String)>,
    /// The indexes of `[registries.NAME]`.
    registries: BTreeMap<String, (String, String)>,
}

/// The source that stands for all crates without another.
const MAIN: &str = "crates-io";

/// What cargo uses by these files, the one that counts most last, and its variables.
#[must_use]
pub fn cargo(files: &[Text], credentials: &[Text], environment: &Environment) -> Found {
    let mut found = Found::default();
    let said = read(&mut found, files, environment);
    main_source(&mut found, &said);
    for (name, (index, from)) in &said.registries {
        let role = Role::Named(name.clone());
        match index.strip_prefix("sparse+") {
            Some(url) => found.index(Ecosystem::Cargo, role, url, from),
            None => found.note(format!(
                "{from}: the registry `{name}` has a git index, which is not cached; see whether it has a sparse one"
            )),
        }
    }
    let tables: Vec<_> = credentials.iter().map(|file| found.toml(file)).collect();
    for index in &mut found.indexes {
        let Role::Named(name) = &index.role else { continue };
        let variable = format!("CARGO_REGISTRIES_{}_TOKEN", name.to_ascii_uppercase().replace('-', "_"));
        let token = |table: &toml::Table| {
            table_at(table, &["registries", name]).is_some_and(|it| it.contains_key("token"))
        };
        index.has_credentials |= environment.get(&variable).is_some() || tables.iter().any(token);
    }
    found
}

fn read(found: &mut Found, files: &[Text], environment: &Environment) -> Said {
    let mut said = Said::default();
    for file in files {
        let document = found.toml(file);
        for (name, table) in table_at(&document, &["source"]).into_iter().flatten() {
            let Some(table) = table.as_table() else { continue };
            let (all, from) = said.sources.entry(name.clone()).or_default();
            all.extend(table.clone());
            from.clone_from(&file.from);
        }
        for (name, table) in table_at(&document, &["registries"]).into_iter().flatten() {
            let Some(index) = table.as_table().and_then(|table| text_at(table, &["index"])) else { continue };
            said.registries.insert(name.clone(), (index.to_owned(), file.from.clone()));
        }
    }
    for (variable, index) in &environment.variables {
        let name = variable.strip_prefix("CARGO_REGISTRIES_").and_then(|rest| rest.strip_suffix("_INDEX"));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let name = name.to_ascii_lowercase().replace('_', "-");
            // A name of the files may have underscores where the variable's has hyphens.
            let known = said.registries.keys().find(|known| known.replace('_', "-") == name).cloned();
            said.registries.insert(known.unwrap_or(name), (index.clone(), variable.clone()));
        }
    }
    said
}

/// Follows what stands in for the main source.
fn main_source(found: &mut Found, said: &Said) {
    let mut name = MAIN.to_owned();
    // More steps than there are sources lead in a circle.
    for _ in 0..=said.sources.len() {
        let source = said.sources.get(&name);
        let next = source.and_then(|(table, _)| text_at(table, &["replace-with"]));
        if let Some(next) = next {
            next.clone_into(&mut name);
            continue;
        }
        return match (source, said.registries.get(&name)) {
            (Some((table, from)), _) => end(found, &name, table, from),
            (None, Some((index, from))) if name != MAIN => index_of(found, index, from),
            _ => {}
        };
    }
    found.note("cargo: `[source]` leads in a circle".to_owned());
}

fn end(found: &mut Found, name: &str, table: &toml::Table, from: &str) {
    if let Some(index) = text_at(table, &["registry"]) {
        index_of(found, index, from);
    } else if name != MAIN {
        found.elsewhere.insert(Ecosystem::Cargo);
        found.note(format!(
            "{from}: cargo takes its crates from the source `{name}`, which is not a registry"
        ));
    }
}

fn index_of(found: &mut Found, index: &str, from: &str) {
    if let Some(url) = index.strip_prefix("sparse+") {
        found.index(Ecosystem::Cargo, Role::Default, url, from);
    } else {
        found.elsewhere.insert(Ecosystem::Cargo);
        found.note(format!(
            "{from}: cargo's index is a git repository, which is not cached; see whether it has a sparse one"
        ));
    }
}

/// The index that cargo has built in, by what it says when it cannot reach it.
#[must_use]
pub fn built_in(said: &str) -> Option<Found> {
    let urls = said.split('`').filter_map(|part| part.strip_suffix("/config.json"));
    let url = urls.into_iter().find(|url| url.starts_with("http"))?;
    let mut found = Found::default();
    found.index(Ecosystem::Cargo, Role::Default, url, "cargo's built-in default");
    Some(found).filter(|found| !found.indexes.is_empty())
}

/// The index that a folder of cargo's index cache is of (`HOST-HEX`), where it is a sparse one's:
/// it has a `config.json` beside its `.cache`. Its path is not in the name; cargo's own index has
/// none.
#[must_use]
pub fn of_cache_folder(name: &str) -> Option<Found> {
    let (host, hash) = name.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_host =
        host.contains('.') && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    let mut found = Found::default();
    if is_hash && is_host {
        found.index(Ecosystem::Cargo, Role::Default, &format!("https://{host}/"), "cargo's index cache");
    }
    Some(found).filter(|found| !found.indexes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{environment, lines, text};

    fn found(config: &str, set: &[(&str, &str)]) -> Found {
        cargo(
            &[text("config.toml", config)],
            &[text("credentials.toml", "[registries.own]\ntoken = \"x\"\n")],
            &environment(set),
        )
    }

    #[test]
    fn files_are_those_of_cargos_folder_and_all_above() {
        let (files, credentials) = files(&environment(&[]));
        let files: Vec<_> =
            files.iter().map(|path| path.as_str()).filter(|path| !path.ends_with("config")).collect();
        assert_eq!(
            files,
            [
                "/home/me/.cargo/config.toml",
                "/.cargo/config.toml",
                "/srv/.cargo/config.toml",
                "/srv/project/.cargo/config.toml"
            ]
        );
        assert_eq!(credentials[0], "/home/me/.cargo/credentials.toml");
    }

    #[test]
    fn what_stands_in_for_the_main_source_is_its_index() {
        let config = "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nreplace-with = \"near\"\nregistry = \"sparse+https://no.example/\"\n[source.near]\nregistry = \"sparse+https://near.example/index/\"\n";
        assert_eq!(lines(&found(config, &[])), ["default https://near.example/index/ (config.toml)"]);
        let by_registry = "[source.crates-io]\nreplace-with = \"own\"\n[registries.own]\nindex = \"sparse+https://own.example/i/\"\n";
        assert_eq!(
            lines(&found(by_registry, &[])),
            ["default https://own.example/i/ (config.toml)", "own https://own.example/i/* (config.toml)"]
        );
    }

    #[test]
    fn what_is_no_sparse_index_is_told() {
        for (config, told) in [
            (
                "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n",
                "`vendored`, which is not a registry",
            ),
            (
                "[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"https://git.example/index\"\n",
                "cargo's index is a git repository",
            ),
            (
                "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\nreplace-with = \"crates-io\"\n",
                "leads in a circle",
            ),
            ("[registries.own]\nindex = \"https://git.example/index\"\n", "`own` has a git index"),
        ] {
            let found = found(config, &[]);
            assert!(
                found.indexes.is_empty() && found.notes.len() == 1 && found.notes[0].contains(told),
                "{found:?}"
            );
        }
    }

    #[test]
    fn variables_name_registries_too() {
        let config = "[registries.my_own]\nindex = \"sparse+https://one.example/\"\n";
        let set = [
            ("CARGO_REGISTRIES_MY_OWN_INDEX", "sparse+https://two.example/"),
            ("CARGO_REGISTRIES_MY_OWN_TOKEN", "t"),
        ];
        assert_eq!(
            lines(&found(config, &set)),
            ["my_own https://two.example/* (CARGO_REGISTRIES_MY_OWN_INDEX)"]
        );
    }

    #[test]
    fn cargo_says_its_own_index_where_it_cannot_reach_it() {
        let said = "    Updating index\nerror: download of config.json failed\n\nCaused by:\n  failed to download from `https://index.example/config.json`\n";
        assert_eq!(
            lines(&built_in(said).unwrap()),
            ["default https://index.example/ (cargo's built-in default)"]
        );
        assert!(built_in("error: no such command").is_none());
        assert_eq!(
            lines(&of_cache_folder("index.some-where.example-1949cf8c6b5b557f").unwrap()),
            ["default https://index.some-where.example/ (cargo's index cache)"]
        );
        for name in
            ["index.example", "localhost-1949cf8c6b5b557f", "a/b.example-1949cf8c6b5b557f", "x.example-123"]
        {
            assert!(of_cache_folder(name).is_none(), "{name}");
        }
    }
}
