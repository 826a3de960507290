//! Which hosts are intercepted, and who vouches for them.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Deserialize;

use crate::authority::{Authority, Folder};
use crate::config::hosts::{HostRule, Hosts};
use crate::error::Error;

/// The table `[pkgcache.intercept]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    rename_all = "kebab-case",
    expecting = "what is intercepted, such as `hosts = [\"example.org\"]`"
)]
pub struct InterceptTable {
    /// The hosts.
    pub hosts: Option<Vec<String>>,
    /// The folder of the authority.
    pub ca: Option<Utf8PathBuf>,
}

/// What is intercepted.
#[derive(Clone, Debug)]
pub struct Intercept {
    hosts: Hosts,
    authority: Arc<Authority>,
    folder: Folder,
}

impl PartialEq for Intercept {
    fn eq(&self, other: &Self) -> bool {
        self.hosts == other.hosts && self.authority == other.authority
    }
}

impl InterceptTable {
    /// This, and where it says nothing, the other.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self { hosts: self.hosts.or(other.hosts), ca: self.ca.or(other.ca) }
    }

    /// The names that an authority has to be limited to, where hosts are set.
    ///
    /// # Errors
    /// What cannot be intercepted.
    pub fn names(&self) -> miette::Result<Vec<String>> {
        names(self.hosts.as_deref().unwrap_or_default())
    }

    /// Where the authority lies; `usual` is the place where nothing is said.
    ///
    /// # Errors
    /// There is no usual place.
    pub fn folder(&self, folder: &Utf8Path, usual: Option<&Utf8Path>) -> miette::Result<Folder> {
        let place = self.ca.as_ref().map(|path| folder.join(path)).or_else(|| usual.map(ToOwned::to_owned));
        let none = || {
            miette::miette!(
                help = "name one by `ca = \"DIR\"` in [pkgcache.intercept]",
                "no folder for the authority: neither HOME nor XDG_STATE_HOME is set"
            )
        };
        place.map(Folder::at).ok_or_else(none)
    }

    /// What is intercepted, with the authority for it; `None` where no host is set.
    pub(super) fn intercept(
        &self,
        folder: &Utf8Path,
        usual: Option<&Utf8Path>,
    ) -> miette::Result<Option<Intercept>> {
        let Some(texts) = self.hosts.as_deref().filter(|hosts| !hosts.is_empty()) else { return Ok(None) };
        let hosts = rules(texts)?;
        let folder = self.folder(folder, usual)?;
        let authority = Arc::new(folder.load()?);
        if authority.ends() <= Timestamp::now() {
            let reason = format!("it ended {:.0}; `pkgcache ca rotate` makes another", authority.ends());
            return Err(Error::BadAuthority { path: folder.file(), reason }.into());
        }
        if let Some(rule) = hosts.0.iter().find(|rule| !authority.permits(rule.name())) {
            let (path, host) = (folder.file(), rule.name().to_owned());
            let permitted = authority.permitted().join(", ");
            return Err(Error::NotPermitted { path, host, permitted }.into());
        }
        Ok(Some(Intercept { hosts, authority, folder }))
    }
}

/// The names of hosts, each once.
fn names(hosts: &[String]) -> miette::Result<Vec<String>> {
    let mut names: Vec<_> = rules(hosts)?.0.iter().map(|rule| rule.name().to_owned()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn rules(texts: &[String]) -> miette::Result<Hosts> {
    let rule = |text: &String| -> miette::Result<HostRule> {
        let rule: HostRule = text.parse()?;
        interceptable(&rule).map_err(|reason| Error::NotInterceptable { host: text.clone(), reason })?;
        Ok(rule)
    };
    texts.iter().map(rule).collect::<miette::Result<_>>().map(Hosts)
}

fn interceptable(rule: &HostRule) -> Result<(), &'static str> {
    let name = rule.name();
    match () {
        () if name.is_empty() => Err("the authority has to be limited to names"),
        () if name.contains(':') || name.parse::<std::net::IpAddr>().is_ok() => {
            Err("the authority vouches for names, and for no address")
        }
        () if name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63) => {
            Err("it is not a name that a server can have")
        }
        () if rule.is_below() && !name.contains('.') => {
            Err("the authority would have to vouch for all names of a top-level domain")
        }
        () => Ok(()),
    }
}

impl Intercept {
    /// Whether a tunnel to this server ends here.
    #[must_use]
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        self.hosts.cover(host, port)
    }

    /// Whether a rule says by itself where the server is, so that it may be a private address.
    #[must_use]
    pub(crate) fn names_address(&self, host: &str, port: u16) -> bool {
        self.covers(host, port) && crate::config::hosts::is_address(host)
    }

    /// The hosts, as people read them.
    #[must_use]
    pub(crate) fn names(&self) -> String {
        let shown = |rule: &HostRule| format!("{}{}", if rule.is_below() { "*." } else { "" }, rule.name());
        self.hosts.0.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// Who vouches for them.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Where that lies.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_can_be_intercepted() {
        let texts =
            ["b.example", "*.a.example", "A.example:8443", "a.example", "localhost"].map(str::to_owned);
        assert_eq!(names(&texts).unwrap(), ["a.example", "b.example", "localhost"]);
        for wrong in ["*", "127.0.0.1", "[::1]:443", "*.example", "a..example", ".a.example", "a b"] {
            assert!(names(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_authority_may_not_vouch_for_is_told_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("ca")).unwrap();
        let table = |hosts: &[&str]| InterceptTable {
            hosts: Some(hosts.iter().map(|&host| host.to_owned()).collect()),
            ca: None,
        };
        let intercept = |hosts: &[&str]| table(hosts).intercept("/".into(), Some(&path));
        assert!(intercept(&[]).unwrap().is_none());
        let none = intercept(&["a.example"]).unwrap_err();
        assert!(none.help().unwrap().to_string().contains("pkgcache ca init"), "{none:?}");
        Folder::at(path.clone()).init(&["a.example".to_owned()]).unwrap();
        let found = intercept(&["*.a.example", "b.a.example:8443"]).unwrap().unwrap();
        for (host, port, covered) in [
            ("x.a.example", 443, true),
            ("A.example.", 443, true),
            ("x.a.example", 80, false),
            ("b.a.example", 8443, true),
            ("c.a.example", 8443, false),
            ("xa.example", 443, false),
        ] {
            assert_eq!(found.covers(host, port), covered, "{host}:{port}");
        }
        let other = intercept(&["a.example", "b.example"]).unwrap_err();
        assert!(other.to_string().contains("may not vouch for `b.example`"), "{other}");
        assert!(other.help().unwrap().to_string().contains("pkgcache ca rotate"));
    }
}
