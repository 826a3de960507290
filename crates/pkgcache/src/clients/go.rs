//! Go: which proxies its modules come from, and which checksum database vouches for them.
//!
//! Source: "Go Modules Reference", "Environment variables"; `go help environment` for the file.

use toolkit::Environment;

use crate::clients::{Ecosystem, Found, Role, Text};
use crate::ecosystem::go::sumdb::Sumdb;

const PROXY: &str = "GOPROXY";

/// What Go's settings say beside its proxies' addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// All of `GOPROXY`: proxies, and what comes where they have nothing.
    pub proxies: Option<String>,
    /// `GOSUMDB`, where it is one that is asked here, or `off`.
    pub sumdb: Option<String>,
    /// `GONOSUMDB`.
    pub no_sumdb: Vec<String>,
}

impl Settings {
    /// These, and where they say nothing, the others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let no_sumdb = if self.no_sumdb.is_empty() { other.no_sumdb } else { self.no_sumdb };
        Self { proxies: self.proxies.or(other.proxies), sumdb: self.sumdb.or(other.sumdb), no_sumdb }
    }
}

/// `GOPROXY` with other addresses for proxies.
pub(super) fn led(list: &str, here: impl Fn(&str) -> Option<String>) -> String {
    let mut led = String::new();
    for part in list.split_inclusive([',', '|']) {
        let url = part.trim_end_matches([',', '|']);
        led.push_str(here(url.trim()).as_deref().unwrap_or(url));
        led.push_str(part.get(url.len()..).unwrap_or_default());
    }
    led
}

/// The file in which `go env -w` writes, for these variables; `None` where there is none.
#[must_use]
pub fn file(environment: &Environment) -> Option<camino::Utf8PathBuf> {
    match environment.get("GOENV") {
        Some("off") => None,
        Some(path) => Some(path.into()),
        None => {
            let config = environment.get("XDG_CONFIG_HOME").map(camino::Utf8PathBuf::from);
            let config =
                config.or_else(|| Some(camino::Utf8Path::new(environment.get("HOME")?).join(".config")));
            Some(config?.join("go/env"))
        }
    }
}

/// What the variables and the file say; a variable goes above a line of the file.
#[must_use]
pub fn go(files: &[Text], environment: &Environment) -> Found {
    let mut found = Found::default();
    let written = |name: &str| {
        files.iter().find_map(|file| {
            let line = file.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|line| (line.trim().to_owned(), file.from.clone()))
        })
    };
    let get = |name: &str| {
        let variable = environment.get(name).filter(|value| !value.is_empty());
        variable.map(|value| (value.to_owned(), name.to_owned())).or_else(|| written(name))
    };
    if let Some((list, from)) = get(PROXY) {
        proxies(&mut found, &list, &from);
    }
    if let Some((text, from)) = get("GOSUMDB") {
        let is_known = Sumdb::read(Some(&text), &[]).is_ok();
        found.go.sumdb = Some(if is_known { text } else { "off".to_owned() });
        if !is_known {
            found.note(format!("{from}: this checksum database is not known here, so it is not asked"));
        }
    }
    let without = get("GONOSUMDB").or_else(|| get("GOPRIVATE")).map(|(list, _)| list).unwrap_or_default();
    found.go.no_sumdb =
        without.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    if Sumdb::read(None, &found.go.no_sumdb).is_err() {
        // Rather none is asked about than one too many.
        found.go = Settings { sumdb: Some("off".to_owned()), no_sumdb: Vec::new(), ..found.go };
    }
    found
}

/// What `go env GOPROXY` printed, with nothing set.
#[must_use]
pub fn built_in(said: &str) -> Option<Found> {
    let mut found = Found::default();
    proxies(&mut found, said.trim(), "go's built-in default");
    (!found.indexes.is_empty()).then_some(found)
}

fn proxies(found: &mut Found, list: &str, from: &str) {
    let mut role = Role::Default;
    for url in list.split([',', '|']).map(str::trim).filter(|it| !matches!(*it, "" | "direct" | "off")) {
        found.index(Ecosystem::Go, role, url, from);
        role = Role::Further;
    }
    if !found.indexes.iter().any(|it| it.ecosystem == Ecosystem::Go) {
        found.elsewhere.insert(Ecosystem::Go);
    }
    found.go.proxies = Some(list.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::{environment, lines, text};

    #[test]
    fn the_variable_goes_above_the_file() {
        let file = text("env", "GOPROXY=https://file.example\nGONOSUMDB=own.example/*,x.example\n");
        let found = go(std::slice::from_ref(&file), &environment(&[]));
        assert_eq!(lines(&found), ["default https://file.example/ (env)"]);
        assert_eq!(found.go.no_sumdb, ["own.example/*", "x.example"]);
        let set = environment(&[
            ("GOPROXY", "https://me:word@a.example/go|https://b.example,direct"),
            ("GOSUMDB", "off"),
        ]);
        let found = go(&[file], &set);
        assert_eq!(
            lines(&found),
            ["default https://a.example/go* (GOPROXY)", "further https://b.example/ (GOPROXY)"]
        );
        assert_eq!(found.go.sumdb.as_deref(), Some("off"));
        let led = led(found.go.proxies.as_deref().unwrap(), |url| {
            url.contains("b.example").then(|| "http://here/go/".to_owned())
        });
        assert_eq!(led, "https://me:word@a.example/go|http://here/go/,direct");
    }

    #[test]
    fn what_is_no_proxy_is_none() {
        for list in ["off", "direct", "direct,off"] {
            let found = go(&[], &environment(&[("GOPROXY", list)]));
            assert!(found.has_default(Ecosystem::Go) && found.indexes.is_empty(), "{list}");
        }
        let found = built_in("https://proxy.example,direct\n").unwrap();
        assert_eq!(lines(&found), ["default https://proxy.example/ (go's built-in default)"]);
        assert!(built_in("go: unknown flag").is_none() && built_in("").is_none());
    }

    #[test]
    fn a_database_that_is_not_known_is_not_asked() {
        let found = go(&[], &environment(&[("GOSUMDB", "sums.example"), ("GOPRIVATE", "[a]")]));
        assert_eq!((found.go.sumdb.as_deref(), found.notes.len()), (Some("off"), 1));
        assert!(found.go.no_sumdb.is_empty());
    }
}
