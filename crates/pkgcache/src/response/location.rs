//! `Location` in the answers of mounted upstreams.
//!
//! One that leads to a mounted upstream becomes the path below which that is mounted here, so that
//! the client comes back through the cache. Any other becomes, or stays, an absolute URL: it leads
//! past the cache.

use http::header::{HeaderValue, LOCATION};
use http::{HeaderMap, Uri, uri::PathAndQuery};

use crate::config::target::{Target, normal};
use crate::config::{Config, Upstream};
use crate::rules::invalidate::{is_same_origin, resolve};

/// Rewrites the field in an answer to what was asked for below a mount. One that cannot be read
/// stays as it is.
pub(crate) fn rewrite(config: &Config, target: &Target, headers: &mut HeaderMap) {
    let Some(mount) = target.mount.as_deref() else { return };
    let Some(text) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let rewritten = rewritten(config, mount, &target.url, text);
    if let Some(value) = rewritten.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(LOCATION, value);
    }
}

fn rewritten(config: &Config, mount: &str, base: &Uri, text: &str) -> Option<String> {
    let url = resolve(base, text)?;
    let fragment = text.find('#').and_then(|at| text.get(at..)).unwrap_or_default();
    let is_relative = !text.starts_with("//") && is_same_origin(&url, base);
    match path_here(config, mount, &normal(&url)?) {
        Some(path) => Some(path + fragment),
        None if is_relative => Some(format!("{url}{fragment}")),
        None => None,
    }
}

/// The path of this server that leads to the URL. Of several mounts, the client's own goes first,
/// and then the one that names more of the URL.
pub(crate) fn path_here(config: &Config, own: &str, url: &Uri) -> Option<String> {
    let found = config.upstreams.iter().filter_map(|upstream| {
        let path = path_below(upstream, url).filter(|path| leads_to(config, path, upstream))?;
        Some(((upstream.name == own, upstream.url.path().len()), path))
    });
    found.max_by_key(|(rank, _)| *rank).map(|(_, path)| path)
}

fn path_below(upstream: &Upstream, url: &Uri) -> Option<String> {
    let base = normal(&upstream.url)?;
    let home = upstream.sources.home(&base, url);
    let url = home.as_ref().unwrap_or(url);
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = path.strip_prefix(base.path().trim_end_matches('/')).filter(|_| is_same_origin(url, &base))?;
    let below = rest.is_empty() || rest.starts_with(['/', '?']);
    let slash = if upstream.name.is_empty() { "" } else { "/" };
    below.then(|| format!("{slash}{}{rest}", upstream.name))
}

/// Whether a client that follows the path comes to this upstream, and not to another mount or
/// another server.
fn leads_to(config: &Config, path: &str, upstream: &Upstream) -> bool {
    let here = path.starts_with('/') && !path.starts_with("//");
    here && config.mounted(path).is_some_and(|(found, _)| found.name == upstream.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged::each_text;

    fn config() -> Config {
        let upstream = |name: &str, url: &'static str| Upstream {
            name: name.to_owned(),
            url: Uri::from_static(url),
            ..Upstream::default()
        };
        let upstreams = vec![
            upstream("", "http://root.example"),
            upstream("a", "https://Files.example:443/base/"),
            upstream("deep", "https://files.example/base/deep"),
            upstream("cdn", "http://cdn.example:8080"),
        ];
        Config { upstreams, ..Config::default() }
    }

    #[track_caller]
    fn check(asked: &str, location: &str, expected: &str) {
        let config = config();
        let target = crate::config::target::target(&config, &asked.parse().unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        rewrite(&config, &target, &mut headers);
        assert_eq!(headers[LOCATION], expected, "{asked} {location}");
    }

    #[test]
    fn what_leads_to_a_mounted_upstream_leads_back_through_the_mount() {
        check("/a/x/y", "/base/z?q#f", "/a/z?q#f");
        check("/a/x/y", "z", "/a/x/z");
        check("/a/x/y", "?q", "/a/x/y?q");
        check("/a/x/y", "https://files.example/base/z", "/a/z");
        check("/a/x/y", "https://FILES.example:443/base", "/a");
        check("/a/x/y", "//files.example/base/z", "/a/z");
        check("/a/x", "http://cdn.example:8080/z", "/cdn/z");
        check("/x", "/y", "/y");
        check("/x", "http://root.example/y", "/y");
        check("/cdn/x", "https://files.example/base/deep/z", "/deep/z");
        // A client that came through the shorter mount stays there.
        check("/a/x", "deep/z", "/a/deep/z");
    }

    #[test]
    fn what_leads_elsewhere_names_its_server() {
        check("/a/x", "/other/z#f", "https://files.example/other/z#f");
        check("/a/x", "https://files.example/based/z", "https://files.example/based/z");
        check("/a/x", "http://files.example/base/z", "http://files.example/base/z");
        check("/a/x", "https://elsewhere.example/z", "https://elsewhere.example/z");
        check("/a/x", "mailto:x", "mailto:x");
        // Another mount has these paths, or another server.
        check("/x", "/a/y", "http://root.example/a/y");
        check("/x", "http://root.example//evil.example/y", "http://root.example//evil.example/y");
    }

    #[test]
    fn the_forward_mode_changes_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "/x".parse().unwrap());
        rewrite(&config(), &Target::default(), &mut headers);
        assert_eq!(headers[LOCATION], "/x");
    }

    #[test]
    fn what_becomes_of_a_location_is_a_path_here_or_leads_elsewhere() {
        let config = config();
        let target = crate::config::target::target(&config, &"/a/x/y".parse().unwrap()).unwrap();
        for location in ["https://files.example/base/deep/z?q#f", "../z", "//cdn.example:8080/z", "?q"] {
            each_text(location, |text| {
                let Ok(value) = HeaderValue::try_from(text) else { return };
                let mut headers = HeaderMap::new();
                headers.insert(LOCATION, value);
                rewrite(&config, &target, &mut headers);
                let Ok(found) = headers[LOCATION].to_str() else { return };
                if found != text {
                    // What was written here is a path of a mount, or an address of a server.
                    let path = found.split('#').next().unwrap_or_default();
                    let uri: Uri = path.parse().unwrap_or_else(|error| panic!("{found:?}: {error}"));
                    assert!(uri.scheme().is_some() || found.starts_with('/'), "{text} {found}");
                    assert!(!found.starts_with("//"), "{text} {found}");
                }
            });
        }
    }
}
