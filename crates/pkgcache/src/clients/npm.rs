//! npm, pnpm and yarn: where their settings are, and which registries these name.
//!
//! Source: npm's manual, `npmrc(5)`; yarn's, "`.yarnrc.yml`".

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Environment;

use crate::clients::{Ecosystem, Found, Role, Secret, Text, address};

/// The files that npm reads here, the one that counts most last. `prefix` is the folder above the
/// one that node lies in; `project` the nearest folder with a package.
#[must_use]
pub fn files(
    environment: &Environment,
    prefix: Option<&Utf8Path>,
    project: Option<&Utf8Path>,
) -> Vec<Utf8PathBuf> {
    let own = |name: &str| variable(environment, name).map(|(_, value)| environment.folder.join(value));
    let prefix = own("prefix").or_else(|| prefix.map(Utf8Path::to_owned));
    let global = own("globalconfig").or_else(|| Some(prefix?.join("etc/npmrc")));
    let home = environment.get("HOME").map(Utf8PathBuf::from);
    let user = own("userconfig").or_else(|| Some(home?.join(".npmrc")));
    let project = project.map(|folder| folder.join(".npmrc"));
    [Some("/etc/npmrc".into()), global, user, project].into_iter().flatten().collect()
}

/// npm takes its variables in any case.
fn variable<'a>(environment: &'a Environment, name: &str) -> Option<(&'a str, &'a str)> {
    let wanted = format!("npm_config_{name}");
    let mut all = environment.variables.iter();
    all.find(|(name, value)| name.eq_ignore_ascii_case(&wanted) && !value.is_empty())
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// What npm uses by these files, the one that counts most last, and its variables.
#[must_use]
pub fn npm(files: &[Text], environment: &Environment) -> Found {
    let mut settings: BTreeMap<String, (String, String)> = BTreeMap::new();
    for file in files {
        for (key, value) in lines(&file.text) {
            settings.insert(key, (expanded(&value, environment), file.from.clone()));
        }
    }
    for (name, value) in &environment.variables {
        let start = name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("npm_config_"));
        if let (true, Some(key)) = (start && !value.is_empty(), name.get(11..)) {
            let key = if key.starts_with(['@', '/']) { key.to_owned() } else { key.to_ascii_lowercase() };
            settings.insert(key, (value.clone(), name.clone()));
        }
    }
    let mut found = Found::default();
    for (key, (url, from)) in &settings {
        let scope = key.strip_suffix(":registry").filter(|scope| scope.starts_with('@'));
        match (key.as_str(), scope) {
            ("registry", _) => found.index(Ecosystem::Npm, Role::Default, url, from),
            (_, Some(scope)) => found.index(Ecosystem::Npm, Role::Named(scope.to_owned()), url, from),
            _ => {}
        }
    }
    for index in &mut found.indexes {
        for (key, (value, _)) in &settings {
            if let Some(what) = credential_of(key, &index.url) {
                index.has_credentials = true;
                index.secrets.push((what.to_owned(), Secret::new(value)));
            }
        }
    }
    found
}

/// Which credential for the registry a key is: `//HOST/PATH/:_authToken` and its like. npm looks at
/// each folder above the registry's path, too.
fn credential_of<'a>(key: &'a str, url: &str) -> Option<&'a str> {
    let secret = ["_authtoken", "_auth", "_password", "username"];
    let (place, what) =
        key.rsplit_once(':').filter(|(_, it)| secret.contains(&it.to_ascii_lowercase().as_str()))?;
    let place = place.strip_prefix("//")?;
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    address::folder(rest).starts_with(&address::folder(place)).then_some(what)
}

/// The lines `key = value` of an npmrc.
fn lines(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.filter(|line| !line.starts_with([';', '#'])).filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        Some((unquoted(key).to_owned(), unquoted(value).to_owned()))
    })
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// The text with `${NAME}` replaced; a name that is not set stays as it is, as with npm.
fn expanded(text: &str, environment: &Environment) -> String {
    let (mut written, mut left) = (String::new(), text);
    while let Some((before, rest)) = left.split_once("${") {
        let Some((name, after)) = rest.split_once('}') else { break };
        let (plain, fallback) =
            name.split_once('-').map_or((name.trim_end_matches('?'), None), |(a, b)| (a, Some(b)));
        let value = environment.variables.get(plain).map(String::as_str).or(fallback);
        written.push_str(before);
        match value {
            Some(value) => written.push_str(value),
            None => written.extend(["${", name, "}"]),
        }
        left = after;
    }
    written + left
}

/// The registry that `npm config get registry` prints.
#[must_use]
pub fn built_in(printed: &str, client: &str) -> Option<Found> {
    let mut found = Found::default();
    let url = printed.lines().map(str::trim).find(|line| line.starts_with("http"))?;
    found.index(Ecosystem::Npm, Role::Default, url, &format!("{client}'s built-in default"));
    Some(found).filter(|found| !found.indexes.is_empty())
}

/// What pnpm uses by its own variable; all else it has in common with npm.
#[must_use]
pub fn pnpm(environment: &Environment) -> Found {
    let mut found = Found::default();
    for (name, url) in &environment.variables {
        if name.eq_ignore_ascii_case("pnpm_config_registry") && !url.is_empty() {
            found.index(Ecosystem::Npm, Role::Default, url, name);
        }
    }
    found
}

/// What yarn uses by its files (`.yarnrc.yml`, `.yarnrc`), the one that counts most last, and its
/// variables. Only lines of the form `KEY: URL` and `KEY "URL"` at the beginning are read.
#[must_use]
pub fn yarn(files: &[Text], environment: &Environment) -> Found {
    let mut server: Option<(String, String)> = None;
    for file in files {
        for line in file.text.lines() {
            let Some((key, value)) = line.split_once([':', ' ']) else { continue };
            if matches!(key, "npmRegistryServer" | "registry") {
                server = Some((expanded(unquoted(value), environment), file.from.clone()));
            }
        }
    }
    for name in ["YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER"] {
        server = environment.get(name).map(|value| (value.to_owned(), name.to_owned())).or(server);
    }
    let mut found = Found::default();
    if let Some((url, from)) = server {
        found.index(Ecosystem::Npm, Role::Default, &url, &from);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{environment, lines as indexes, text};

    #[test]
    fn npms_files_are_those_of_machine_user_and_project() {
        let list = |set: &[(&str, &str)]| {
            files(&environment(set), Some("/usr".into()), Some("/srv".into()))
                .into_iter()
                .map(Utf8PathBuf::into_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&[]), ["/etc/npmrc", "/usr/etc/npmrc", "/home/me/.npmrc", "/srv/.npmrc"]);
        assert_eq!(
            list(&[("NPM_CONFIG_USERCONFIG", "/u"), ("npm_config_prefix", "/opt")]),
            ["/etc/npmrc", "/opt/etc/npmrc", "/u", "/srv/.npmrc"]
        );
    }

    #[test]
    fn a_value_may_have_any_number_of_names() {
        let set = environment(&[("A", "b"), ("SELF", "${SELF}")]);
        let many = "${A}".repeat(200_000);
        assert_eq!(expanded(&many, &set), "b".repeat(200_000));
        assert_eq!(expanded("x${NO}y${A?}${NO-d}${SELF}${", &set), "x${NO}ybd${SELF}${");
    }

    #[test]
    fn scopes_have_registries_of_their_own() {
        let user = "; mine\nregistry=https://one.example/\n@team:registry = \"https://team.example/npm/x\"\n//team.example/npm/:_authToken=${TOKEN}\n//other.example/:_authToken=t\n";
        let files =
            [text("~/.npmrc", user), text("./.npmrc", "registry = https://${WHERE-two.example}/r/\n")];
        assert_eq!(
            indexes(&npm(&files, &environment(&[]))),
            ["@team https://team.example/npm/x* (~/.npmrc)", "default https://two.example/r/ (./.npmrc)"]
        );
        let set = environment(&[("NPM_CONFIG_REGISTRY", "https://me:pw@v.example"), ("WHERE", "x")]);
        assert_eq!(
            indexes(&npm(&files, &set)).last().unwrap(),
            "default https://v.example/* (NPM_CONFIG_REGISTRY)"
        );
    }

    #[test]
    fn a_name_that_is_not_set_is_no_address() {
        let found = npm(&[text("n", "registry=${NOWHERE}/x\n")], &environment(&[]));
        assert_eq!((found.indexes.len(), found.notes.len()), (0, 1));
        assert_eq!(expanded("a${X?}b${Y", &environment(&[])), "a${X?}b${Y");
    }

    #[test]
    fn what_npm_prints_is_its_default() {
        let found = built_in("npm warn x\nhttps://registry.example/\n", "npm").unwrap();
        assert_eq!(indexes(&found), ["default https://registry.example/ (npm's built-in default)"]);
        assert!(built_in("undefined\n", "npm").is_none());
    }

    #[test]
    fn pnpm_has_a_variable_of_its_own() {
        let found = pnpm(&environment(&[("PNPM_CONFIG_REGISTRY", "https://p.example/")]));
        assert_eq!(indexes(&found), ["default https://p.example/ (PNPM_CONFIG_REGISTRY)"]);
    }

    #[test]
    fn yarn_of_both_generations_is_read() {
        let files = [
            text("~/.yarnrc", "registry \"https://one.example/\"\n"),
            text(".yarnrc.yml", "nodeLinker: x\nnpmRegistryServer: 'https://two.example'\n"),
        ];
        assert_eq!(indexes(&yarn(&files, &environment(&[]))), ["default https://two.example/ (.yarnrc.yml)"]);
        let set = environment(&[("YARN_NPM_REGISTRY_SERVER", "http://three.example/")]);
        assert_eq!(
            indexes(&yarn(&files, &set)),
            ["default http://three.example/ (YARN_NPM_REGISTRY_SERVER)"]
        );
    }
}
