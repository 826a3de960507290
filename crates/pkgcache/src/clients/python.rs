//! pip and uv: where their settings are, and which indexes these name.
//!
//! Sources: pip's `_internal/configuration.py`; uv's manual, "Configuration files" and "Indexes".

use camino::Utf8PathBuf;
use toolkit::Environment;

use crate::clients::{Ecosystem, Found, Role, Secret, Text, address, ini, tables_at, text_at, texts_at};

/// The files that pip reads here, the one that counts most last.
#[must_use]
pub fn pip_files(environment: &Environment) -> Vec<Utf8PathBuf> {
    let named = environment.get("PIP_CONFIG_FILE").map(Utf8PathBuf::from);
    if named.as_ref().is_some_and(|path| path == "/dev/null") {
        return Vec::new();
    }
    let shared = environment.get("XDG_CONFIG_DIRS").unwrap_or("/etc/xdg").split(':').rev();
    let mut files: Vec<_> = shared
        .filter(|dir| dir.starts_with('/'))
        .map(|dir| Utf8PathBuf::from(dir).join("pip/pip.conf"))
        .collect();
    files.push("/etc/pip.conf".into());
    // A file that is named stands in for the user's.
    if named.is_none() {
        let home = environment.get("HOME").map(Utf8PathBuf::from);
        files.extend(home.map(|home| home.join(".pip/pip.conf")));
        files.extend(config_home(environment).map(|dir| dir.join("pip/pip.conf")));
    }
    files.extend(environment.get("VIRTUAL_ENV").map(|dir| Utf8PathBuf::from(dir).join("pip.conf")));
    files.extend(named.map(|path| environment.folder.join(path)));
    files
}

/// The folder of the user's settings.
pub(super) fn config_home(environment: &Environment) -> Option<Utf8PathBuf> {
    let own = environment.get("XDG_CONFIG_HOME").map(Utf8PathBuf::from);
    own.or_else(|| Some(Utf8PathBuf::from(environment.get("HOME")?).join(".config")))
}

/// A value, and where it is said.
type Said = Option<(String, String)>;

/// What pip uses by these files, the one that counts most last, and its variables.
#[must_use]
pub fn pip(files: &[Text], environment: &Environment) -> Found {
    let (mut index, mut further, mut none): (Said, Said, Said) = (None, None, None);
    for file in files {
        let settings = ini::read(&file.text);
        // What is said for `pip install` goes above what is said for all commands.
        for section in ["global", "install"] {
            for it in settings.iter().filter(|it| it.section == section) {
                let said = Some((it.value.clone(), file.from.clone()));
                match it.key.replace('_', "-").as_str() {
                    "index-url" | "pypi-url" => index = said,
                    "extra-index-url" => further = said,
                    "no-index" => none = said,
                    _ => {}
                }
            }
        }
    }
    let variable = |name: &str| Some((environment.get(name)?.to_owned(), name.to_owned()));
    let mut found = Found::default();
    if let Some((_, from)) = variable("PIP_NO_INDEX").or(none).filter(|(value, _)| is_yes(value)) {
        found.elsewhere.insert(Ecosystem::Python);
        found.note(format!("{from}: pip asks no index"));
        return found;
    }
    list(&mut found, variable("PIP_INDEX_URL").or(index), &Role::Default);
    list(&mut found, variable("PIP_EXTRA_INDEX_URL").or(further), &Role::Further);
    found
}

/// Credentials of a netrc are for the hosts that it names, where an address brings none.
pub fn with_netrc(found: &mut Found, netrc: &Text) {
    let words: Vec<_> = netrc.text.split_whitespace().collect();
    let mut machine = None;
    let mut login = None;
    for pair in words.windows(2) {
        let &[key, value] = pair else { continue };
        match key {
            "machine" => (machine, login) = (Some(value), None),
            "default" => machine = None,
            "login" => login = Some(value),
            "password" => {
                let of = |it: &&mut crate::clients::Index| {
                    it.ecosystem == Ecosystem::Python
                        && machine == Some(address::host(&it.url))
                        && it.secrets.is_empty()
                };
                for index in found.indexes.iter_mut().filter(of) {
                    let text = format!(
                        "{}:{}",
                        address::escaped(login.unwrap_or_default()),
                        address::escaped(value)
                    );
                    index.has_credentials = true;
                    index.secrets.push((String::new(), Secret::new(text)));
                }
            }
            _ => {}
        }
    }
}

fn is_yes(value: &str) -> bool {
    ["y", "yes", "t", "true", "on", "1"].contains(&value.to_ascii_lowercase().as_str())
}

/// Notes the indexes of a list with blanks between them.
fn list(found: &mut Found, said: Said, role: &Role) {
    let Some((urls, from)) = said else { return };
    for url in urls.split_whitespace() {
        found.index(Ecosystem::Python, role.clone(), url, &from);
    }
}

/// The files that uv reads here, the one that counts most last.
#[must_use]
pub fn uv_files(environment: &Environment) -> Vec<Utf8PathBuf> {
    if environment.get("UV_NO_CONFIG").is_some_and(|it| it != "0" && it != "false") {
        return Vec::new();
    }
    if let Some(file) = environment.get("UV_CONFIG_FILE") {
        return vec![environment.folder.join(file)];
    }
    let mut files: Vec<Utf8PathBuf> = vec!["/etc/uv/uv.toml".into()];
    files.extend(config_home(environment).map(|dir| dir.join("uv/uv.toml")));
    // The folder that is nearest counts.
    for folder in environment.folder.ancestors().collect::<Vec<_>>().into_iter().rev() {
        files.extend(["pyproject.toml", "uv.toml"].map(|name| folder.join(name)));
    }
    files
}

/// What uv uses by these files, the one that counts most last, and its variables.
#[must_use]
pub fn uv(files: &[Text], environment: &Environment) -> Found {
    let mut found = Found::default();
    let mut default: Said = None;
    let mut named = Vec::new();
    for file in files {
        let document = found.toml(file);
        let own = document.get("tool").and_then(|tool| tool.get("uv")).and_then(toml::Value::as_table);
        // In pyproject.toml it is a table of many.
        let is_project = file.from.ends_with("pyproject.toml");
        let Some(table) = (if is_project { own } else { Some(&document) }) else { continue };
        let pip = table.get("pip").and_then(toml::Value::as_table);
        for table in [Some(table), pip].into_iter().flatten() {
            if let Some(url) = text_at(table, &["index-url"]) {
                default = Some((url.to_owned(), file.from.clone()));
            }
            for url in texts_at(table, "extra-index-url") {
                named.push((Role::Further, url.to_owned(), file.from.clone()));
            }
            for index in tables_at(table, "index") {
                let Some(url) = text_at(index, &["url"]) else { continue };
                if index.get("default").and_then(toml::Value::as_bool) == Some(true) {
                    default = Some((url.to_owned(), file.from.clone()));
                } else {
                    let role =
                        text_at(index, &["name"]).map_or(Role::Further, |name| Role::Named(name.to_owned()));
                    named.push((role, url.to_owned(), file.from.clone()));
                }
            }
        }
    }
    let variable = |name: &str| Some((environment.get(name)?.to_owned(), name.to_owned()));
    let default = variable("UV_DEFAULT_INDEX").or_else(|| variable("UV_INDEX_URL")).or(default);
    list(&mut found, default.map(|(url, from)| (unnamed(&url).to_owned(), from)), &Role::Default);
    for (role, url, from) in named {
        found.index(Ecosystem::Python, role, &url, &from);
    }
    for (urls, from) in [variable("UV_INDEX"), variable("UV_EXTRA_INDEX_URL")].into_iter().flatten() {
        for url in urls.split_whitespace() {
            let name = url.strip_suffix(unnamed(url)).and_then(|name| name.strip_suffix('='));
            let role = name.map_or(Role::Further, |name| Role::Named(name.to_owned()));
            found.index(Ecosystem::Python, role, unnamed(url), &from);
        }
    }
    with_variables(&mut found, environment);
    found
}

/// The URL of `NAME=URL`.
fn unnamed(text: &str) -> &str {
    match text.split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) => url,
        _ => text,
    }
}

/// Credentials of a named index may be in variables.
fn with_variables(found: &mut Found, environment: &Environment) {
    for index in &mut found.indexes {
        if let Role::Named(name) = &index.role {
            let name = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let set = |what: &str| environment.get(&format!("UV_INDEX_{name}_{what}")).is_some();
            index.has_credentials |= set("USERNAME") || set("PASSWORD");
        }
    }
}

/// The index that a client has built in, by its help: pip's for `--index-url`, uv's for
/// `--default-index`.
#[must_use]
pub fn built_in(help: &str, client: &str) -> Option<Found> {
    let words: Vec<_> = help.split_whitespace().collect();
    let opens = |word: &&str| *word == "(default" || *word == "(default:";
    let mut at = words.windows(2).filter_map(|pair| match pair {
        [word, url] if opens(word) || *word == "default:" => Some(*url),
        _ => None,
    });
    let url = at.find(|url| url.trim_start_matches('<').starts_with("http"))?;
    let mut found = Found::default();
    let url = url.trim_start_matches('<').trim_end_matches(['.', ',', ')', '>', ']']);
    found.index(Ecosystem::Python, Role::Default, url, &format!("{client}'s built-in default"));
    Some(found).filter(|found| !found.indexes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{environment, lines, text};

    #[test]
    fn pips_files_are_read_in_its_order() {
        let paths = |variables: &[(&str, &str)]| {
            pip_files(&environment(variables)).into_iter().map(Utf8PathBuf::into_string).collect::<Vec<_>>()
        };
        assert_eq!(
            paths(&[("VIRTUAL_ENV", "/venv")]),
            [
                "/etc/xdg/pip/pip.conf",
                "/etc/pip.conf",
                "/home/me/.pip/pip.conf",
                "/home/me/.config/pip/pip.conf",
                "/venv/pip.conf"
            ]
        );
        assert_eq!(
            paths(&[("PIP_CONFIG_FILE", "own.conf"), ("XDG_CONFIG_DIRS", "/a:/b")]),
            ["/b/pip/pip.conf", "/a/pip/pip.conf", "/etc/pip.conf", "/srv/project/own.conf"]
        );
        assert!(paths(&[("PIP_CONFIG_FILE", "/dev/null")]).is_empty());
    }

    #[test]
    fn the_last_of_pips_files_counts_and_variables_go_above() {
        let files = [
            text(
                "/etc/pip.conf",
                "[global]\nindex-url = https://one.example/simple\nextra_index_url =\n  https://me:word@more.example/simple/\n  https://and.example/simple\n",
            ),
            text(
                "/home/me/pip.conf",
                "[install]\nindex-url=https://two.example/simple\n[global]\nindex-url=https://no.example/\n",
            ),
        ];
        let found = lines(&pip(&files, &environment(&[])));
        assert_eq!(
            found,
            [
                "default https://two.example/simple (/home/me/pip.conf)",
                "further https://more.example/simple/* (/etc/pip.conf)",
                "further https://and.example/simple (/etc/pip.conf)",
            ]
        );
        let set = environment(&[
            ("PIP_INDEX_URL", "https://t@v.example/s"),
            ("PIP_EXTRA_INDEX_URL", "file:///srv"),
        ]);
        let found = pip(&files, &set);
        assert_eq!(lines(&found), ["default https://v.example/s* (PIP_INDEX_URL)"]);
        assert_eq!(
            found.notes,
            ["PIP_EXTRA_INDEX_URL: `file:///srv` is not an HTTP address, so it is not cached"]
        );
    }

    #[test]
    fn a_netrc_has_credentials_for_hosts() {
        let set = environment(&[
            ("PIP_INDEX_URL", "https://one.example/s"),
            ("PIP_EXTRA_INDEX_URL", "https://a@two.example/s https://three.example/s"),
        ]);
        let mut found = pip(&[], &set);
        with_netrc(
            &mut found,
            &text(
                ".netrc",
                "machine one.example login m/e password p@w\nmachine two.example login x password y\ndefault login d password d\n",
            ),
        );
        let secrets: Vec<_> =
            found.indexes.iter().map(|it| it.secrets.first().map(|(_, it)| it.reveal())).collect();
        assert_eq!(secrets, [Some("m%2Fe:p%40w"), Some("a"), None]);
    }

    #[test]
    fn a_default_that_cannot_be_cached_is_one_all_the_same() {
        let file = |said: &str| pip(&[text("pip.conf", &format!("[global]\n{said}\n"))], &environment(&[]));
        for said in ["index-url = file:///srv/simple", "no-index = true"] {
            let found = file(said);
            assert!(found.has_default(Ecosystem::Python) && found.indexes.is_empty(), "{said}: {found:?}");
        }
        assert!(!file("no-index = false").has_default(Ecosystem::Python));
    }

    #[test]
    fn uv_has_names_for_indexes() {
        let project = "[tool.uv]\nextra-index-url = [\"https://x.example/s\"]\n[[tool.uv.index]]\nname = \"own-one\"\nurl = \"https://own.example/simple\"\n[[tool.uv.index]]\nurl = \"https://main.example/simple\"\ndefault = true\n";
        let files = [
            text(
                "/home/me/.config/uv/uv.toml",
                "index-url = \"https://user.example/s\"\n[pip]\nindex-url = \"https://pip.example/s\"",
            ),
            text("/srv/pyproject.toml", project),
        ];
        let set = environment(&[
            ("UV_INDEX_OWN_ONE_PASSWORD", "x"),
            ("UV_INDEX", "it=https://a.example/s https://b.example/q?x=1"),
        ]);
        assert_eq!(
            lines(&uv(&files, &set)),
            [
                "default https://main.example/simple (/srv/pyproject.toml)",
                "further https://x.example/s (/srv/pyproject.toml)",
                "own-one https://own.example/simple* (/srv/pyproject.toml)",
                "it https://a.example/s (UV_INDEX)",
                "further https://b.example/q (UV_INDEX)",
            ]
        );
        let set = environment(&[
            ("UV_DEFAULT_INDEX", "main=https://d.example/s"),
            ("UV_INDEX_URL", "https://no.example"),
        ]);
        assert_eq!(lines(&uv(&[], &set)), ["default https://d.example/s (UV_DEFAULT_INDEX)"]);
    }

    #[test]
    fn another_tools_project_says_nothing_of_uv() {
        let files = [
            text("/p/pyproject.toml", "[tool.other]\nindex-url = \"https://x.example\""),
            text("/p/uv.toml", "["),
        ];
        let found = uv(&files, &environment(&[]));
        assert_eq!(
            (found.indexes.len(), found.notes),
            (0, vec!["/p/uv.toml: this is not valid TOML, so it is not counted".to_owned()])
        );
        let files: Vec<_> = uv_files(&environment(&[])).into_iter().map(Utf8PathBuf::into_string).collect();
        assert_eq!(files.first().unwrap(), "/etc/uv/uv.toml");
        assert_eq!(files.last().unwrap(), "/srv/project/uv.toml");
    }

    #[test]
    fn a_built_in_index_is_what_the_help_says() {
        let pip = "  -i, --index-url <url>       Base URL of the Python Package Index (default\n                              https://index.example/simple). This should point to a\n";
        let uv = "      --default-index <DEFAULT_INDEX>\n          The default package index (by default: <https://index.example/simple>) [env: UV_DEFAULT_INDEX]\n";
        for (help, client) in [(pip, "pip"), (uv, "uv")] {
            let found = built_in(help, client).unwrap();
            assert_eq!(
                lines(&found),
                [format!("default https://index.example/simple ({client}'s built-in default)")]
            );
        }
        assert!(built_in("--timeout <sec> Set the socket timeout (default 15 seconds).", "pip").is_none());
    }
}
