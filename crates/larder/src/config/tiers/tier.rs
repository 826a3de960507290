//! `[tier.NAME]`: where else images are kept under their keys.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::Deserialize;
use storekit::size::Age;
use toml::Spanned;

use crate::config::checks::{is_limit_or, is_path, is_variable};
use crate::config::fault::Fault;
use crate::config::names;

/// The tier that is always there: this machine's own store.
pub const MACHINE: &str = "machine";

/// How long a tier, or a registry that names are given in, may keep silent where nothing is said.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One `[tier.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The table's name.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// How long it may keep silent before it is left out.
    pub timeout: Age,
    /// Public keys: what none of them has signed is not taken. Relative to larder.toml's folder;
    /// any entry is taken where there are none.
    pub signed_by: Vec<Utf8PathBuf>,
    /// Which variables a CI's jobs log in with.
    pub login: Option<Login>,
}

/// The variables that have a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// That of the user's name.
    pub user: String,
    /// That of the password, or of a token in its place.
    pub password: String,
}

/// Where a tier is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Another store: a folder, relative to larder.toml's.
    Store(Utf8PathBuf),
    /// A repository in a registry, without a tag.
    Registry(String),
    /// A bucket of an object store, and what its keys begin with: a URL.
    S3(String),
}

impl Place {
    /// As `imgtar --tier` has it.
    #[must_use]
    pub fn flag(&self) -> String {
        match self {
            Self::Store(folder) => format!("store:{folder}"),
            Self::Registry(repository) => format!("registry:{repository}"),
            Self::S3(url) => format!("s3:{url}"),
        }
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TierTable {
    store: Option<Spanned<Utf8PathBuf>>,
    registry: Option<Spanned<String>>,
    s3: Option<Spanned<String>>,
    timeout: Option<Spanned<Age>>,
    signed_by: Option<Spanned<Vec<Spanned<Utf8PathBuf>>>>,
    login: Option<Spanned<LoginTable>>,
}

/// `login`, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginTable {
    user: Spanned<String>,
    password: Spanned<String>,
}

/// The tables of all tiers, by name.
pub(crate) type TierTables = BTreeMap<Spanned<String>, Spanned<TierTable>>;

/// The tiers, in the order of the file, with wrong values refused.
pub(crate) fn tiers(tables: TierTables) -> Result<Vec<Tier>, Fault> {
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.sort_by_key(|(name, _)| name.span().start);
    tables.into_iter().map(|(name, table)| table.into_inner().checked(&name)).collect()
}

impl TierTable {
    fn checked(self, name: &Spanned<String>) -> Result<Tier, Fault> {
        let text = name.get_ref();
        if text == MACHINE {
            let help = "it is this machine's store, as `[store]` or LARDER_DIR names it, and is always the first; give this tier another name";
            return Err(Fault::new("`machine` is no tier of the file's", name.span(), help));
        }
        let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if text.is_empty() || text.contains(odd) {
            let help = "a tier's name has letters, digits, `-`, `_` and `.`";
            return Err(Fault::new(format!("`{text}` cannot be the name of a tier"), name.span(), help));
        }
        is_limit_or(self.timeout.as_ref(), "left out, it is 10 seconds")?;
        let key = "name the file of a public key, relative to larder.toml";
        if let Some(paths) = self.signed_by.as_ref().filter(|paths| paths.get_ref().is_empty()) {
            return Err(Fault::new("`signed-by` names no key", paths.span(), "left out, any image is taken"));
        }
        let signed_by = self.signed_by.map(Spanned::into_inner).unwrap_or_default();
        signed_by.iter().try_for_each(|path| is_path("signed-by", path, key))?;
        let place = match (self.store, self.registry, self.s3) {
            (Some(folder), None, None) => {
                is_path("store", &folder, "name a folder, relative to larder.toml")?;
                Place::Store(folder.into_inner())
            }
            (None, Some(repository), None) => {
                is_repository(&repository)?;
                Place::Registry(repository.into_inner())
            }
            (None, None, Some(url)) => {
                is_bucket(&url)?;
                Place::S3(url.into_inner())
            }
            _ => {
                let help = "write one of `store = \"FOLDER\"`, `registry = \"registry.example/team/cache\"` and \
                            `s3 = \"https://s3.example/bucket\"`";
                return Err(Fault::new(format!("tier `{text}` has to be in one place"), name.span(), help));
            }
        };
        let login = self.login.map(|login| checked_login(login, &place)).transpose()?;
        let timeout = self.timeout.map_or(Age(PATIENCE), Spanned::into_inner);
        let signed_by = signed_by.into_iter().map(Spanned::into_inner).collect();
        Ok(Tier { name: text.clone(), place, timeout, signed_by, login })
    }
}

fn checked_login(login: Spanned<LoginTable>, place: &Place) -> Result<Login, Fault> {
    let help = match place {
        Place::Registry(_) => None,
        Place::S3(_) => Some("a bucket's account is in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        Place::Store(_) => Some("a folder has none"),
    };
    if let Some(help) = help {
        return Err(Fault::new("`login` is for a registry", login.span(), help));
    }
    let LoginTable { user, password } = login.into_inner();
    [&user, &password].into_iter().try_for_each(is_variable)?;
    Ok(Login { user: user.into_inner(), password: password.into_inner() })
}

/// Refuses what names no repository of a registry.
fn is_repository(name: &Spanned<String>) -> Result<(), Fault> {
    let text = name.get_ref();
    let host = text.split_once('/').map(|(host, _)| host);
    let why = if !host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost") {
        "names no registry"
    } else if text.contains('@') || names::has_tag(text) {
        "names an image, not a repository"
    } else if !names::is_name(text) {
        "is not a valid repository"
    } else {
        return Ok(());
    };
    let help =
        "write it in lower case with the registry in front and without a tag: `registry.example/team/cache`";
    Err(Fault::new(format!("`{text}` {why}"), name.span(), help))
}

/// Refuses what names no bucket.
fn is_bucket(url: &Spanned<String>) -> Result<(), Fault> {
    let text = url.get_ref();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '@');
    let is_whole = rest.and_then(|rest| rest.split_once('/')).is_some_and(|(host, path)| {
        is_server(host) && !path.trim_matches('/').is_empty() && !path.split('/').any(|part| part == "..")
    });
    if is_whole && !text.contains(odd) {
        return Ok(());
    }
    let help = "write the server and the bucket, `https://s3.example/bucket`, or with a beginning for all keys \
                `https://s3.example/bucket/team`; the credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    Err(Fault::new(format!("`{text}` names no bucket"), url.span(), help))
}

/// Whether it names a server, with a port that there can be if any.
fn is_server(host: &str) -> bool {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => !host.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[track_caller]
    fn refused(tier: &str, why: &str) {
        let fault = parse(tier).expect_err("a bad tier");
        assert!(fault.message.contains(why), "{}", fault.message);
        assert!(fault.at.is_some(), "no place");
    }

    #[test]
    fn tiers_are_in_the_order_of_the_file() {
        let text = "[tier.team]\nregistry = \"registry.example:5000/a/cache\"\ntimeout = \"5s\"\n\
                    [tier.depot]\ns3 = \"https://s3.example/larder\"\n[tier.near]\nstore = \"docker-cache\"\n";
        let tiers = parse(text).expect("good").tiers;
        let flags: Vec<_> = tiers.iter().map(|tier| (tier.name.as_str(), tier.place.flag())).collect();
        let places = [
            ("team", "registry:registry.example:5000/a/cache"),
            ("depot", "s3:https://s3.example/larder"),
            ("near", "store:docker-cache"),
        ];
        assert_eq!(flags, places.map(|(name, place)| (name, place.to_owned())));
        assert_eq!(tiers.first().map(|tier| tier.timeout.0), Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_no_place_is_refused_where_it_stands() {
        refused("[tier.a]\n", "has to be in one place");
        refused("[tier.a]\nstore = \"x\"\ns3 = \"https://h/b\"\n", "has to be in one place");
        refused("[tier.machine]\nstore = \"x\"\n", "is no tier of the file's");
        refused("[tier.\"a b\"]\nstore = \"x\"\n", "cannot be the name of a tier");
        refused("[tier.a]\nregistry = \"team/cache\"\n", "names no registry");
        refused("[tier.a]\nregistry = \"registry.example/Team\"\n", "is not a valid repository");
        refused("[tier.a]\nregistry = \"registry.example:5000/a:1\"\n", "names an image");
        refused("[tier.a]\nregistry = \"registry.example:65536/a\"\n", "is not a valid repository");
        refused("[tier.a]\ns3 = \"https://s3.example:99999/b\"\n", "names no bucket");
        refused("[tier.a]\ns3 = \"https://s3.example\"\n", "names no bucket");
        let login = "login = { user = \"U\", password = \"P\" }\n";
        refused(&format!("[tier.a]\nstore = \"a\"\n{login}"), "`login` is for a registry");
        refused(&format!("[tier.a]\ns3 = \"https://s3.example/b\"\n{login}"), "`login` is for a registry");
        refused(
            "[tier.a]\nregistry = \"r.example/a\"\nlogin = { user = \"U\", password = \"s3cret!\" }\n",
            "cannot be the name of a variable",
        );
        refused(
            "[tier.a]\nregistry = \"r.example/a\"\nlogin = { user = \"U\" }\n",
            "missing field `password`",
        );
        refused("[tier.a]\ns3 = \"https://me:secret@s3.example/b\"\n", "names no bucket");
        refused("[tier.a]\nstore = \"x\"\ntimeout = \"0s\"\n", "`timeout` is 0");
        refused("[tier.a]\nstore = \"x\"\nsigned-by = [\"\"]\n", "`signed-by` is empty");
        refused("[tier.a]\nstore = \"x\"\nsigned-by = []\n", "names no key");
    }
}
