//! Credentials, where docker and podman keep them: their files, and the helpers that these name.
//!
//! The first file that has something for the image counts. A file or a helper that cannot be used
//! is not an error at once, since most images are public: it is told where a registry then says no.
//!
//! Limits: only what `docker login` and `podman login` write; no `.dockercfg`, no certificates of
//! clients.
//!
//! Source: containers-auth.json(5); docker's `config.json`; docker-credential-helpers,
//! "Development".

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use storekit::oci::null_is_empty;

use crate::error::registry::Error;
use crate::registry::auth::helper;
use storekit::reference::DOCKER_HUB;

/// No such file is larger.
const CAP: u64 = 1 << 20;
/// What docker calls its hub in these files.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A user's name and password, or a token. It has no `Debug`: it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A user and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password, or a token in its place.
        password: String,
    },
    /// What a token is got for.
    Identity(String),
    /// A token for the registry itself.
    Token(String),
}

/// Where credentials may be.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The files, the first that counts at the front. One that is not there is passed over.
    pub files: Vec<Utf8PathBuf>,
}

/// What was found.
#[derive(Default)]
pub(crate) struct FoundCredential {
    pub(crate) credential: Option<Credential>,
    /// What could not be used on the way.
    pub(crate) trouble: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    #[serde(deserialize_with = "null_is_empty")]
    auths: BTreeMap<String, Auth>,
    #[serde(deserialize_with = "null_is_empty")]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    encoded: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Credentials {
    /// What there is for the repository of the registry.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> FoundCredential {
        let mut found = FoundCredential::default();
        for path in &self.files {
            let looked = load(path).and_then(|file| match file {
                Some(file) => file.find(registry, repository, path),
                None => Ok(None),
            });
            match looked {
                Ok(None) => {}
                Ok(credential) => return FoundCredential { credential, ..found },
                Err(error) => drop(found.trouble.get_or_insert(error.to_string())),
            }
        }
        found
    }
}

fn load(path: &Utf8Path) -> Result<Option<File>, Error> {
    let bad = |reason: String| Error::AuthFile { path: path.to_owned(), reason };
    let text = storekit::files::replace::read_capped(path, CAP).map_err(|error| bad(error.to_string()))?;
    let Some(text) = text else { return Ok(None) };
    // The parser's own words may quote what is in the file.
    let place = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    serde_json::from_slice(&text).map(Some).map_err(|error| bad(place(error)))
}

impl File {
    fn find(&self, registry: &str, repository: &str, path: &Utf8Path) -> Result<Option<Credential>, Error> {
        for scope in scopes(registry, repository) {
            let here = |key: &&String| normal(key) == scope;
            if let Some((_, name)) = self.cred_helpers.iter().find(|(key, _)| here(key)) {
                let server = if scope == registry { server(registry) } else { &scope };
                if let Some(credential) = helper::ask(name, server)? {
                    return Ok(Some(credential));
                }
            }
            let auths = self.auths.iter().filter(|(key, _)| here(key));
            for (_, auth) in auths {
                if let Some(credential) = auth.credential(path)? {
                    return Ok(Some(credential));
                }
            }
        }
        match &self.creds_store {
            Some(name) if !name.is_empty() => helper::ask(name, server(registry)),
            _ => Ok(None),
        }
    }
}

/// How a helper is asked for the registry.
fn server(registry: &str) -> &str {
    if registry == DOCKER_HUB { HUB_SERVER } else { registry }
}

/// `registry/a/b`, `registry/a`, `registry`: what is nearest to the image goes first.
fn scopes(registry: &str, repository: &str) -> Vec<String> {
    let whole = format!("{registry}/{repository}");
    let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
    let mut scopes: Vec<_> = ends.map(|end| whole[..end].to_owned()).collect();
    scopes.reverse();
    scopes
}

/// A key of `auths` as podman writes it: without a scheme and without docker's old `/v1/`.
fn normal(key: &str) -> String {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, path) = bare.split_once('/').map_or((bare, ""), |(host, path)| (host, path));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    };
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{}{slash}{path}", host.to_ascii_lowercase())
}

impl Auth {
    fn credential(&self, path: &Utf8Path) -> Result<Option<Credential>, Error> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&self.registrytoken) {
            return Ok(Some(Credential::Token(token)));
        }
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(encoded) = some(&self.encoded) {
            let bad =
                || Error::AuthFile { path: path.to_owned(), reason: "an `auth` is not base64".to_owned() };
            return decode(&encoded).map(Some).ok_or_else(bad);
        }
        let pair = some(&self.username).zip(some(&self.password));
        Ok(pair.map(|(user, password)| Credential::Password { user, password }))
    }
}

/// `user:password` in base64, padded or not.
fn decode(encoded: &str) -> Option<Credential> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker once wrote zeros behind the password.
    let password = password.trim_end_matches('\0');
    Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write what they like")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn add(&self, name: &str, text: &str) -> Utf8PathBuf {
            let path = Utf8PathBuf::from_path_buf(self.0.path().join(name)).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn program(&self, name: &str, script: &str) -> Utf8PathBuf {
            let path = self.add(name, script);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        }
    }

    fn user(found: &FoundCredential) -> &str {
        match &found.credential {
            Some(Credential::Password { user, .. }) => user,
            Some(Credential::Identity(_)) => "an identity",
            Some(Credential::Token(_)) => "a token",
            None => "nobody",
        }
    }

    #[track_caller]
    fn check(file: &str, registry: &str, repository: &str, wanted: &str) {
        let files = Files::new();
        let credentials = Credentials { files: vec![files.add("config.json", file)] };
        assert_eq!(user(&credentials.find(registry, repository)), wanted);
    }

    // `a:1`, `b:2`
    const TWO: &str =
        r#"{"auths":{"r.example/team":{"auth":"YjoyAAA"},"https://r.example/v1/":{"auth":"YTox"}}}"#;

    #[test]
    fn the_nearest_path_goes_first() {
        check(TWO, "r.example", "team/app", "b");
        check(TWO, "r.example", "teams/app", "a");
        check(TWO, "r.example:5000", "team/app", "nobody");
        check(TWO, "other.example", "team/app", "nobody");
    }

    #[test]
    fn docker_hub_has_its_old_name() {
        let file = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTox"}}}"#;
        check(file, "docker.io", "library/app", "a");
        check(r#"{"auths":{"docker.io":{"auth":"YTox"}}}"#, "docker.io", "library/app", "a");
        check(file, "index.docker.example", "app", "nobody");
    }

    #[test]
    fn tokens_and_plain_pairs_count_too() {
        check(
            r#"{"auths":{"r.example":{"auth":"YTox","identitytoken":"t"}}}"#,
            "r.example",
            "a",
            "an identity",
        );
        check(r#"{"auths":{"r.example":{"registrytoken":"t"}}}"#, "r.example", "a", "a token");
        check(r#"{"auths":{"r.example":{"username":"u","password":"p"}}}"#, "r.example", "a", "u");
        check(r#"{"auths":{"r.example":{}},"HttpHeaders":{"x":"y"}}"#, "r.example", "a", "nobody");
    }

    #[test]
    fn the_first_file_that_knows_the_registry_counts() {
        let files = Files::new();
        let first = files.add("first", r#"{"auths":{"x.example":{"auth":"YTox"}}}"#);
        let second = files.add("second", TWO);
        let credentials = Credentials { files: vec!["/nowhere/at/all".into(), first, second] };
        assert_eq!(user(&credentials.find("x.example", "app")), "a");
        assert_eq!(user(&credentials.find("r.example", "team/app")), "b");
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_secret() {
        for text in ["{\"auths\": \"hunter2", r#"{"auths":{"r.example":{"auth":"hunter2!"}}}"#] {
            let files = Files::new();
            let credentials = Credentials { files: vec![files.add("config.json", text)] };
            let found = credentials.find("r.example", "app");
            assert_eq!(user(&found), "nobody");
            let trouble = found.trouble.unwrap();
            assert!(trouble.contains("config.json") && !trouble.contains("hunter2"), "{trouble}");
        }
    }

    #[test]
    fn helpers_are_asked() {
        let files = Files::new();
        let script = "#!/bin/sh\n[ \"$1\" = get ] || exit 9\nread server\n\
             [ \"$server\" = r.example ] || { echo 'credentials not found in native keychain'; exit 1; }\n\
             echo '{\"ServerURL\":\"r.example\",\"Username\":\"helped\",\"Secret\":\"s\"}'\n";
        let helper = files.program("docker-credential-test", script);
        let folder = helper.parent().unwrap();
        let program = |server: &str| helper::run(&folder.join("docker-credential-test"), server);
        let found = FoundCredential { credential: program("r.example").unwrap(), trouble: None };
        assert_eq!(user(&found), "helped");
        assert!(program("other.example").unwrap().is_none());
    }

    #[test]
    fn a_helper_that_fails_is_told() {
        let files = Files::new();
        let failing = files.program("failing", "#!/bin/sh\necho 'no keychain here'\nexit 1\n");
        let Err(error) = helper::run(&failing, "r.example") else { panic!("it was taken") };
        assert!(error.to_string().contains("no keychain here"), "{error}");
        let odd = files.program("odd", "#!/bin/sh\necho '{\"Username\": 1, \"Secret\": \"hunter2\"}'\n");
        let Err(error) = helper::run(&odd, "r.example") else { panic!("it was taken") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
        check(r#"{"credsStore":"no/../such"}"#, "r.example", "a", "nobody");
        check(r#"{"credsStore":"no-such-helper-anywhere"}"#, "r.example", "a", "nobody");
    }

    #[test]
    fn a_helper_may_give_an_identity() {
        let files = Files::new();
        let script = "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"s\"}'\n";
        let helper = files.program("identity", script);
        assert!(matches!(helper::run(&helper, "r.example"), Ok(Some(Credential::Identity(_)))));
    }
}
