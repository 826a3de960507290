//! The cheapest request of each kind of client, and what its answer says.

use crate::clients::pointers::{Here, Mount};
use crate::clients::{Ecosystem, Role, address};

/// A request that shows whether a client finds what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is checked: a mount's or a registry's name.
    pub name: String,
    /// What kind of client would ask.
    pub ecosystem: Ecosystem,
    /// The request's target: a path, or a URL where it goes through the proxy.
    pub target: String,
    /// What the client accepts.
    pub accept: &'static str,
}

/// An answer, as far as it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// The checks of all that is mounted. `suites` are the paths of release files that apt asks for on
/// this machine, by the address of the repository.
#[must_use]
pub fn checks(here: &Here, suites: &[(String, String)]) -> Vec<Check> {
    let mounts = here.mounts.iter().map(|mount| of_mount(mount, suites));
    let registry = |(name, ecosystem): (&String, Ecosystem)| Check {
        name: name.clone(),
        ecosystem,
        // The greeting is the cache's own; for a tag, even one that nobody has, the registry is
        // asked.
        target: format!("/v2/pkgcache/check/manifests/none?ns={name}"),
        accept: "application/vnd.oci.image.index.v1+json",
    };
    let images = here.registries.iter().map(|name| (name, Ecosystem::Oci));
    let models = here.models.iter().map(|name| (name, Ecosystem::Ollama));
    mounts.chain(images.chain(models).map(registry)).collect()
}

fn of_mount(mount: &Mount, suites: &[(String, String)]) -> Check {
    let below = if mount.name.is_empty() { String::new() } else { format!("/{}", mount.name) };
    let (target, accept) = match mount.ecosystem {
        // The page of the client's own project is there on a main index; on a team's it may not be.
        Ecosystem::Python => (
            format!("{below}/pip/"),
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
        ),
        Ecosystem::Npm => (format!("{below}/-/ping"), "application/json"),
        Ecosystem::Cargo => (format!("{below}/config.json"), "text/plain"),
        Ecosystem::Oci | Ecosystem::Ollama => (format!("{below}/v2/"), "*/*"),
        // What nobody has: a hub that answers says so.
        Ecosystem::HuggingFace => (format!("{below}/api/models/pkgcache/check"), "application/json"),
        // What nobody has: a proxy that answers says so.
        Ecosystem::Go => (format!("{below}/pkgcache.invalid/check/@v/list"), "*/*"),
        // What is mounted may end before the branch.
        Ecosystem::Apk => (format!("{below}/x86_64/APKINDEX.tar.gz"), "*/*"),
        Ecosystem::Generic | Ecosystem::GitLfs | Ecosystem::Releases => (format!("{below}/"), "*/*"),
        Ecosystem::Dnf => {
            let base =
                if mount.url.starts_with("http://") { mount.url.trim_end_matches('/') } else { &below };
            (format!("{base}/repodata/repomd.xml"), "*/*")
        }
        Ecosystem::Apt => {
            let suite = suites
                .iter()
                .find(|(url, _)| address::is_same(url, &mount.url))
                .map(|(_, suite)| suite.as_str());
            let path = suite.map_or_else(|| "/".to_owned(), release);
            let by_proxy = mount.url.starts_with("http://") && mount.role == Role::Default;
            let base = if by_proxy { mount.url.trim_end_matches('/') } else { &below };
            (format!("{base}{path}"), "text/*")
        }
    };
    Check { name: mount.name.clone(), ecosystem: mount.ecosystem, target, accept }
}

/// The path of a suite's signed release; a suite that ends in `/` is a folder with everything in
/// it.
fn release(suite: &str) -> String {
    match suite.strip_suffix('/') {
        Some(".") => "/InRelease".to_owned(),
        Some(folder) => format!("/{}/InRelease", folder.trim_start_matches("./")),
        None => format!("/dists/{suite}/InRelease"),
    }
}

/// What is wrong with the answer, if anything is.
///
/// # Errors
/// The reason, in words.
pub fn judge(check: &Check, answer: &Answer) -> Result<(), String> {
    let status = answer.status;
    let fine = match check.ecosystem {
        // The index answers, and has no such project or no such address. Of a repository what is
        // mounted may end before the variables in its address.
        Ecosystem::Python | Ecosystem::Npm | Ecosystem::Dnf | Ecosystem::Apk => {
            matches!(status, 200..=299 | 404)
        }
        // The registry answers, and has no such image, or none for everybody.
        Ecosystem::Oci | Ecosystem::Ollama => {
            matches!(status, 200..=299 | 401 | 404) || (status == 403 && !is_unknown(answer))
        }
        Ecosystem::Cargo => status == 200,
        // A hub says of what is not there, or is not for everybody, that it wants credentials.
        Ecosystem::HuggingFace => matches!(status, 200..=299 | 401 | 403 | 404),
        Ecosystem::Apt => {
            matches!(status, 200..=299) || (status < 500 && status != 403 && check.target.ends_with("//"))
        }
        // A proxy says 404 or 410 of what is nowhere.
        Ecosystem::Go => matches!(status, 200..=299 | 404 | 410),
        Ecosystem::Generic | Ecosystem::GitLfs | Ecosystem::Releases => status < 500,
    };
    if !fine {
        return Err(said(answer));
    }
    if check.ecosystem == Ecosystem::Cargo {
        let config: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        if config.and_then(|config| Some(config.get("dl")?.is_string())) != Some(true) {
            return Err("the answer is not a config.json of cargo's: it has no `dl`".to_owned());
        }
    }
    Ok(())
}

/// Whether the cache does not stand in for this registry.
fn is_unknown(answer: &Answer) -> bool {
    String::from_utf8_lossy(&answer.body).contains("mirrored here")
}

/// What the answer says: its status and the first line of its body.
fn said(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let hint = match answer.status {
        401 | 407 => ": it wants credentials",
        403 => ": it was refused",
        404 => ": there is nothing; see whether the upstream's URL is right",
        504 => ": nothing is stored of it, and the upstream is not asked",
        _ => "",
    };
    let line = if line.is_empty() || line.starts_with('<') { String::new() } else { format!(" ({line})") };
    format!("status {}{hint}{line}", answer.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::pointers::tests::here;

    #[test]
    fn each_client_asks_for_the_least() {
        let suites = [("http://deb.example/debian/".to_owned(), "stable/updates".to_owned())];
        let checks = checks(&here("http://127.0.0.1:3144"), &suites);
        let target = |name: &str| checks.iter().find(|it| it.name == name).unwrap().target.as_str();
        for (name, expected) in [
            ("crates", "/crates/config.json"),
            ("debian", "http://deb.example/debian/dists/stable/updates/InRelease"),
            ("node", "/node/"),
            ("npm", "/npm/-/ping"),
            ("pypi", "/pypi/pip/"),
            ("files", "/files/"),
            ("a.example", "/v2/pkgcache/check/manifests/none?ns=a.example"),
        ] {
            assert_eq!(target(name), expected);
        }
        assert_eq!((release("./"), release("a/b/")), ("/InRelease".to_owned(), "/a/b/InRelease".to_owned()));
    }

    #[track_caller]
    fn judged(ecosystem: Ecosystem, status: u16, body: &str) -> String {
        let check = Check { name: "x".into(), ecosystem, target: "/x/".into(), accept: "*/*" };
        let answer = Answer { status, body: body.as_bytes().to_vec() };
        judge(&check, &answer).err().unwrap_or_default()
    }

    #[test]
    fn an_answer_tells_what_is_wrong() {
        assert_eq!(judged(Ecosystem::Python, 404, ""), "");
        assert_eq!(judged(Ecosystem::Python, 502, "\nno route\nmore"), "status 502 (no route)");
        assert_eq!(judged(Ecosystem::Npm, 401, "<html>"), "status 401: it wants credentials");
        for status in [200, 401, 403, 404] {
            assert_eq!(judged(Ecosystem::Oci, status, ""), "");
        }
        assert!(judged(Ecosystem::Oci, 403, "`a` is not one that is mirrored here").contains("refused"));
        assert_eq!(judged(Ecosystem::Cargo, 200, "{\"dl\": \"x\"}"), "");
        assert!(judged(Ecosystem::Cargo, 200, "<html>").contains("no `dl`"));
        assert!(judged(Ecosystem::Cargo, 404, "").contains("URL is right"));
        assert_eq!(judged(Ecosystem::Apt, 403, "not allowed"), "status 403: it was refused (not allowed)");
    }
}
