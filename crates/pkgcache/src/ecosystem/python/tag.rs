//! How a file's URL is named below `files/`: `TAG/PATH`, which leads back to one URL alone.

use std::net::Ipv6Addr;

use http::Uri;

use crate::ecosystem::path::canonical;

/// `TAG/PATH` of a URL; `None` where it has none that could be read back, or no path of a file.
#[must_use]
pub(super) fn entry(url: &Uri) -> Option<String> {
    let authority = url.authority().filter(|it| !it.as_str().contains('@'))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let (prefix, usual) = match url.scheme_str() {
        Some("https") => ("", 443),
        Some("http") => ("http_", 80),
        _ => return None,
    };
    let port = url.port_u16().filter(|port| *port != usual);
    let port = port.map(|port| format!("_{port}")).unwrap_or_default();
    let entry = format!("{prefix}{host}{port}{}", canonical(url.path()));
    is_entry(&entry).then_some(entry).filter(|_| is_host(&host))
}

/// Whether this is a `TAG/PATH`: a host, and a path that ends in a name, without steps up or
/// controls.
#[must_use]
pub(super) fn is_entry(entry: &str) -> bool {
    let Some((tag, path)) = entry.split_once('/') else { return false };
    let tag = tag.strip_prefix("http_").unwrap_or(tag);
    let host = port_of(tag).map_or(tag, |(host, _)| host);
    let escapes_control = path.match_indices('%').any(|(at, _)| {
        path.get(at + 1..at + 2).is_none_or(|high| "01".contains(high)) || path.get(at..at + 3) == Some("%7F")
    });
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\?#\"<>".contains(&byte));
    let leads_on = path.split('/').all(|part| !matches!(part, "." | "..")) && !path.ends_with('/');
    let written_well = plain && !escapes_control && canonical(path) == path;
    is_host(host) && written_well && leads_on && !path.is_empty()
}

/// Whether a tag can hold this host so that it is read back as it was.
fn is_host(host: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:".contains(&byte);
    !host.is_empty()
        && host.bytes().all(known)
        && (!host.contains(':') || host.parse::<Ipv6Addr>().is_ok())
        && !matches!(host, "." | "..")
        && !host.starts_with("http_")
        && port_of(host).is_none()
}

fn port_of(tag: &str) -> Option<(&str, u16)> {
    let (host, port) = tag.rsplit_once('_')?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    digits.then(|| Some((host, port.parse().ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn named(url: &str, expected: Option<&str>) {
        assert_eq!(entry(&url.parse().unwrap()).as_deref(), expected, "{url}");
    }

    #[test]
    fn a_tag_is_the_host_with_what_is_unusual() {
        named("https://files.example/a/b.whl", Some("files.example/a/b.whl"));
        named("https://Files.example:443/a/b.whl?sig=1", Some("files.example/a/b.whl"));
        named("https://files.example:8443/b.whl", Some("files.example_8443/b.whl"));
        named("http://127.0.0.1:80/b.whl", Some("http_127.0.0.1/b.whl"));
        named("http://[::1]:8080/b.whl", Some("http_::1_8080/b.whl"));
        named("http://my_host:8080/b%2bc%7e.whl", Some("http_my_host_8080/b+c~.whl"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_tag() {
        for url in ["https://a_80/b", "http://http_a/b", "https://http_a:80/b", "ftp://a/b", "/b"] {
            named(url, None);
        }
    }

    #[test]
    fn no_path_leads_up_or_nowhere() {
        for path in ["", "/", "/../b", "/a/%2e%2e/b", "/a/", "/a%00", "/a%0d%0a", "/a%7f", "/a%", "/a%%341"] {
            named(&format!("https://a{path}"), None);
        }
    }
}
