//! The servers that an upstream's content can be had from, in order.

use std::num::NonZeroUsize;

use http::header::HeaderValue;
use http::{Uri, uri::PathAndQuery};

use crate::config::target::normal;
use crate::rules::invalidate::is_same_origin;

/// Where else than at its own URL an upstream's content can be had, and what is brought along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// What the upstream's own server is sent as `Authorization`, where the client sends nothing.
    pub credentials: Option<HeaderValue>,
    /// The servers that are asked after it, in this order.
    pub mirrors: Vec<Mirror>,
    /// Whether one that does not have something is passed over as well.
    pub next_on_404: bool,
    /// How many requests may be under way at them at a time, where that is limited.
    pub max_requests: Option<NonZeroUsize>,
}

/// A server with the same content below its own URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is.
    pub url: Uri,
    /// What it is sent as `Authorization`.
    pub credentials: Option<HeaderValue>,
}

impl Sources {
    /// The URL as it is below the upstream's own, where it leads to a mirror of it.
    #[must_use]
    pub(crate) fn home(&self, upstream: &Uri, url: &Uri) -> Option<Uri> {
        self.mirrors.iter().find_map(|mirror| moved(url, &mirror.url, upstream))
    }
}

impl Mirror {
    /// The URL at this server of what is at `url` below the upstream's own.
    #[must_use]
    pub(crate) fn at(&self, upstream: &Uri, url: &Uri) -> Option<Uri> {
        moved(url, upstream, &self.url)
    }
}

/// The URL below another base than the one that it is below.
fn moved(url: &Uri, from: &Uri, to: &Uri) -> Option<Uri> {
    let (from, to) = (normal(from)?, normal(to)?);
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = path.strip_prefix(from.path().trim_end_matches('/')).filter(|_| is_same_origin(url, &from))?;
    if !(rest.is_empty() || rest.starts_with(['/', '?'])) {
        return None;
    }
    let (scheme, authority) = (to.scheme_str()?, to.authority()?);
    format!("{scheme}://{authority}{}{rest}", to.path().trim_end_matches('/')).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_the_same_paths_below_its_own_url() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let upstream = uri("https://one.example/base/");
        let mirror = Mirror { url: uri("http://two.example:8080/x"), credentials: None };
        let sources = Sources { mirrors: vec![mirror.clone()], ..Sources::default() };
        for (here, there) in [
            ("https://one.example/base/a%20b?q=/x", "http://two.example:8080/x/a%20b?q=/x"),
            ("https://one.example/base/", "http://two.example:8080/x/"),
        ] {
            assert_eq!(mirror.at(&upstream, &uri(here)), Some(uri(there)));
            assert_eq!(sources.home(&upstream, &uri(there)), Some(uri(here)));
        }
        for other in
            ["https://one.example/based/a", "https://files.example/base/a", "http://one.example/base/a"]
        {
            assert_eq!(mirror.at(&upstream, &uri(other)), None, "{other}");
        }
        assert_eq!(sources.home(&upstream, &uri("http://two.example:8080/y")), None);
    }
}
