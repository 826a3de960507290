//! A lookup with what holds for it, and other lookups that one needs.

use http::header::{HOST, HeaderName};
use http::{HeaderMap, Response, StatusCode, Uri};
use storekit::Level;

use crate::cache;
use crate::config::Config;
use crate::config::ttl::Lifetimes;
use crate::ecosystem::base::Base;
use crate::ecosystem::ruling::{Expected, Freshness, Ruling};
use crate::ecosystem::table::{Said, Standing, fetchable};
use crate::ecosystem::{Asked, Class};
use crate::fetch::redirect::leave_harmless;
use crate::observe::meter;
use crate::proxy::lookup::Lookup;
use crate::response::body::Body;
use crate::response::reply::own;
use crate::rules::fields::cache_status::{CacheStatus, mark};

/// What becomes of a request.
pub(crate) enum Plan {
    /// It is looked up and fetched as this one.
    Lookup(Box<Lookup>),
    /// It is answered.
    Answer(Box<Response<Body>>, meter::Result),
}

impl Plan {
    pub(super) fn answer(response: Response<Body>, result: meter::Result) -> Self {
        Self::Answer(Box::new(response), result)
    }

    /// The answer, with a word in what this cache says of it.
    pub(super) fn marked(mut self, word: &str) -> Self {
        if let Self::Answer(response, _) = &mut self {
            mark(response.headers_mut(), word);
        }
        self
    }

    /// An answer of this program's own that says yes.
    pub(super) fn answered(text: &str) -> Self {
        Self::answer(own(StatusCode::OK, text, Some(&CacheStatus::default())), meter::Result::Hit)
    }

    /// An answer of this program's own: what went wrong, in words that clients show.
    pub(crate) fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        Self::answer(own(status, text, Some(&CacheStatus::default())), meter::Result::Error)
    }
}

/// The answer for a file that its index does not name. Offline nobody knows whether a newer index
/// does, so that is no 404.
pub(super) fn unnamed(lookup: &Lookup, text: String) -> Plan {
    if lookup.is_offline() {
        let why = match lookup.config.replays {
            true => "it is a replay",
            false if lookup.config.offline => "the proxy is offline",
            false => "its mount is read-only",
        };
        let text = format!("{text}, and {why}");
        return Plan::refused(StatusCode::GATEWAY_TIMEOUT, text);
    }
    Plan::refused(StatusCode::NOT_FOUND, text)
}

/// The lookup of a file that nobody vouches for, and why that is so.
pub(super) fn pinned(lookup: Lookup, why: &'static str) -> Plan {
    let mut lookup = ruled(lookup, Known::File(Level::Pinned, None));
    lookup.ruling.unvouched = Some(why);
    Plan::Lookup(Box::new(lookup))
}

/// The ruling of a class of which nothing else is known.
pub(super) fn plain(class: Class) -> Known {
    match class {
        Class::Index => Known::Index,
        Class::Tag => Known::Tag,
        Class::SelfCertifying(checksum) => {
            Known::File(Level::Addressed, Some(Expected { checksum, size: None }))
        }
        Class::Artifact | Class::PinnedByName => Known::File(Level::Pinned, None),
        Class::Api => Known::Interface,
        Class::SubIndex | Class::Unknown => Known::Nothing,
    }
}

/// What is known of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is a document on which freshness hangs.
    Index,
    /// It is a registry's tag.
    Tag,
    /// It is a file that does not change: who vouches for it, and for what.
    File(Level, Option<Expected>),
    /// It is an interface: never stored.
    Interface,
    /// HTTP's rules hold.
    Nothing,
}

/// The lookup with what holds for it.
pub(super) fn ruled(mut lookup: Lookup, known: Known) -> Lookup {
    let stale = i64::try_from(lookup.config.stale_window.as_secs()).unwrap_or(i64::MAX);
    let freshness = freshness(&lookup.target.ttl, known);
    lookup.ruling = match known {
        // The one before, should the newest turn out to be none.
        Known::Index | Known::Tag => {
            let is_index = known == Known::Index;
            Ruling { freshness, stale, generations: 1, is_index, ..Ruling::default() }
        }
        Known::File(level, expected) => {
            let adopts = !lookup.target.kind.is_registry();
            let unvouched = expected.is_none().then_some("no index says what a file of this kind has to be");
            Ruling { freshness, expected, level, adopts, stale, unvouched, ..Ruling::default() }
        }
        Known::Interface | Known::Nothing => Ruling { freshness, ..Ruling::default() },
    };
    lookup
}

fn freshness(ttl: &Lifetimes, known: Known) -> Freshness {
    let lifetime = match known {
        Known::Interface => return Freshness::Never,
        Known::Nothing => return Freshness::Http,
        Known::File(_, Some(_)) => return Freshness::Forever,
        Known::Index => ttl.index,
        Known::Tag => ttl.tag,
        Known::File(_, None) => ttl.pinned_by_name,
    };
    lifetime.seconds.map_or(Freshness::Forever, Freshness::For)
}

/// The lookup of something of which nothing but its class is known.
#[must_use]
pub(crate) fn as_class(lookup: Lookup, class: Class) -> Lookup {
    ruled(lookup, plain(class))
}

/// The lookup for a file of which an index says this; where it lies elsewhere, that is asked.
pub(super) fn vouched(mut lookup: Lookup, said: Said, level: Level) -> Plan {
    let Said::File(voucher) = said else {
        let text = format!("{}: its index names it with two different checksums", lookup.target.url);
        return Plan::refused(StatusCode::BAD_GATEWAY, text);
    };
    if let Some(url) = &voucher.url {
        let Some(url) = fetchable(url).and_then(|url| crate::config::target::normal(&url)) else {
            let text = format!("its index names `{url}`, which is not an http or https URL");
            return Plan::refused(StatusCode::BAD_GATEWAY, text);
        };
        let target = &lookup.target;
        // A mirror's own page names the mirror.
        let url = target.sources.home(&target.upstream, &url).unwrap_or(url);
        if !crate::rules::invalidate::is_same_origin(&url, &lookup.target.url) {
            // Credentials stay with the server that they are for, by whatever name they go.
            leave_harmless(&mut lookup.headers);
        }
        // A private network is open to the host that was mounted, not to whatever it names.
        let same_host = url.host() == lookup.target.upstream.host();
        lookup.target.private = lookup.config.allow_private || (lookup.target.private && same_host);
        lookup.target.url = url;
        lookup.key = cache::key(&lookup.target, &lookup.headers);
    }
    let expected = voucher.checksum.map(|checksum| Expected { checksum, size: voucher.size });
    let planned = match expected {
        Some(_) => Plan::Lookup(Box::new(ruled(lookup, Known::File(level, expected)))),
        None => pinned(lookup, "its index names it without a SHA-512, SHA-256 or SHA-1"),
    };
    standing(planned, voucher.standing)
}

/// The same file, with what its index says of its version.
pub(super) fn standing(mut planned: Plan, standing: Standing) -> Plan {
    if let Plan::Lookup(lookup) = &mut planned {
        lookup.ruling.standing = standing;
    }
    planned
}

/// What a server in front of this one, which ends TLS, says of a request.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a client that sent these headers reaches this program. They are the client's own word: an
/// answer that depends on them is for nobody else.
pub(crate) fn here(config: &Config, headers: &HeaderMap) -> String {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_https = text(&FORWARDED_PROTO).is_some_and(|it| it.trim().eq_ignore_ascii_case("https"));
    let host = text(&HOST);
    let plain = |host: &&str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    let listens = config.listen.net().map_or_else(|| "localhost".to_owned(), |it| it.to_string());
    let scheme = if is_https { "https" } else { "http" };
    format!("{scheme}://{}", host.filter(plain).unwrap_or(&listens))
}

/// The addresses on both sides of the mount that was asked through; `None` in the forward mode,
/// where nothing is written anew.
pub(super) fn base(lookup: &Lookup) -> Option<Base> {
    let mount = lookup.target.mount.as_deref()?;
    let here = here(&lookup.config, &lookup.headers);
    let mount = if mount.is_empty() { String::new() } else { format!("/{mount}") };
    Some(Base { here, mount, upstream: lookup.target.upstream.clone(), keeps_links: false })
}

/// The lookup of another path of the same server.
pub(super) fn at(lookup: &Lookup, path: &str) -> Option<Lookup> {
    let (scheme, authority) = (lookup.target.url.scheme_str()?, lookup.target.url.authority()?);
    // The path is below the mount; what is mounted is above it.
    let whole = lookup.target.url.path();
    let above = whole.strip_suffix(lookup.target.below.as_str()).unwrap_or_default();
    let url: Uri = format!("{scheme}://{authority}{above}{path}").parse().ok()?;
    let mut other = lookup.clone();
    other.method = http::Method::GET;
    other.target.url = crate::config::target::normal(&url)?;
    path.clone_into(&mut other.target.below);
    other.key = cache::key(&other.target, &other.headers);
    Some(other)
}

/// The lookup of another path below the same upstream, for this program's own use.
pub(super) fn beside(lookup: &Lookup, path: &str, headers: HeaderMap) -> Option<Lookup> {
    let root = lookup.target.upstream.to_string();
    let url: Uri = format!("{}{path}", root.trim_end_matches('/')).parse().ok()?;
    let mut other = lookup.clone();
    other.method = http::Method::GET;
    other.target.url = crate::config::target::normal(&url)?;
    path.clone_into(&mut other.target.below);
    other.headers = headers;
    other.package = crate::ecosystem::Package::default();
    other.wire = None;
    let credentials = lookup.headers.get(http::header::AUTHORIZATION).cloned();
    other.headers.extend(credentials.map(|value| (http::header::AUTHORIZATION, value)));
    other.key = cache::key(&other.target, &other.headers);
    Some(ruled(other, Known::Index))
}

/// The same request for the whole document: a condition or a range of the client's is answered by
/// what is stored then.
pub(super) fn whole(lookup: &Lookup) -> Lookup {
    let mut asking = lookup.clone();
    asking.method = http::Method::GET;
    asking.headers.remove(http::header::RANGE);
    crate::rules::conditional::strip(&mut asking.headers);
    asking
}

/// What an index document's path, and the name of a file in it, are where both are known.
pub(super) fn names(asked: &Asked) -> Option<(&str, &str)> {
    Some((asked.index.as_deref()?, asked.entry.as_deref()?))
}
