//! `why`: what the cache makes of a URL, worked out as for a request of a client, without a
//! network.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde::Serialize;
use storekit::{ByteSize, Checksum, Digest, Level, PackageKey, Store, StoredResponse, printable};
use toolkit::{Outcome, output};

use crate::cache::{self, Cache};
use crate::commands::Console;
use crate::config::Config;
use crate::config::target::{self, Target};
use crate::config::ttl::SetBy;
use crate::ecosystem::ruling::{Freshness, Ruling};
use crate::ecosystem::table::fetchable;
use crate::ecosystem::{Class, Ecosystem, Package, python};
use crate::error::{Error, Result};
use crate::index::guarded;
use crate::index::{self, Plan};
use crate::outside::Outside;
use crate::proxy::lookup::Lookup;
use crate::response::body::Body;
use crate::response::location;
use crate::response::reply::Reason;
use crate::response::stored_head::Answer;
use crate::rules::conditional;
use crate::wire::peer::Peer;

/// What the cache makes of a URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Why {
    /// The URL that is asked for, where that is known.
    url: String,
    /// Which kind of client it is for.
    ecosystem: &'static str,
    /// What kind of thing it is.
    class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The path of this server that leads there, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<String>,
    /// By which rule it is fresh.
    rule: String,
    /// The setting that says for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by: Option<String>,
    /// What it has to hash to, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// Who says so.
    level: Level,
    /// Why nobody vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unvouched: Option<&'static str>,
    /// The index that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    named_by: Option<String>,
    /// What is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<Stored>,
    /// What a request for it would lead to now.
    next: String,
}

/// What is stored of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Stored {
    status: u16,
    digest: Digest,
    size: u64,
    received: jiff::Timestamp,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<Checksum>,
    /// Seconds for which it is fresh; negative where it is stale.
    ttl: i64,
}

/// Explains what becomes of a request for the URL: the upstream's own, or a path of this server.
/// `No` where nothing is stored for it.
///
/// # Errors
/// A URL that nothing leads to; a store that cannot be used.
pub async fn why(
    config: Config,
    store: Store,
    outside: Arc<dyn Outside>,
    url: &str,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let cache = Arc::new(Cache::new(Config { offline: true, ..config }, store, outside)?);
    let asked = asked(&cache, url).ok_or_else(|| Error::NoDoor { url: url.to_owned() })?;
    let why = explain(&cache, &asked).await;
    let outcome = Outcome::from_bool(why.stored.is_some());
    let printed = if console.json { output::json_line(console.out, &why) } else { why.print(console.out) };
    printed.and_then(|()| console.out.flush()).map_err(Error::Output)?;
    Ok(outcome)
}

/// The URL as a client would ask for it: below a mount, where one leads there.
fn asked(cache: &Cache, text: &str) -> Option<Uri> {
    let (uri, config): (Uri, _) = (text.parse().ok()?, cache.config());
    let own = uri.authority().is_some_and(|it| config.listen.is(it.as_str()));
    if uri.authority().is_none() || own {
        return uri.path_and_query()?.as_str().parse().ok();
    }
    let normal = fetchable(text).and_then(|uri| target::plain(&uri))?;
    let path = location::path_here(&config, "", &normal).or_else(|| file_of_python(cache, &normal));
    path.map_or(Some(normal), |path| path.parse().ok())
}

/// The path of a file that Python's clients asked for below a mount: it lies on another server than
/// its index.
fn file_of_python(cache: &Cache, url: &Uri) -> Option<String> {
    let key = cache::key(&elsewhere(cache, url), &HeaderMap::new());
    let entry = cache.store.packages().get(&key).ok()??;
    let config = cache.config();
    let mount = config.upstreams.iter().find(|it| it.kind == Ecosystem::Python)?;
    let slash = if mount.name.is_empty() { "" } else { "/" };
    let name = python::file_name(url).filter(|_| entry.key.ecosystem == Ecosystem::Python.name())?;
    Some(format!("{slash}{}/files/{name}", mount.name))
}

async fn explain(cache: &Arc<Cache>, asked: &Uri) -> Why {
    let config = cache.config();
    let target = target::target(&config, asked).unwrap_or_else(|_| elsewhere(cache, asked));
    let door = asked.authority().is_none().then(|| asked.to_string());
    let question = target.kind.ask(&Method::GET, &target.below, asked.query());
    let named_by = question
        .index
        .as_ref()
        .map(|path| format!("{}{path}", target.upstream.to_string().trim_end_matches('/')));
    let class = target.promised.as_deref().map_or(question.class, |it| Class::SelfCertifying(*it));
    let kind = target.kind;
    let lookup = lookup(cache, target);
    let from =
        index::From { client: Peer::Net(SocketAddr::from(([127, 0, 0, 1], 0))), query: asked.query(), asked };
    let plan = if let Some(refused) = guarded::before(cache, &lookup, asked.query()).await {
        refused
    } else if index::knows(&lookup.target) {
        index::plan(cache, lookup.clone(), &from).await
    } else {
        Plan::Lookup(Box::new(lookup.clone()))
    };
    let (planned, answered) = match plan {
        Plan::Lookup(planned) => (*planned, None),
        Plan::Answer(response, _) => {
            let is_index = matches!(class, Class::Index | Class::Tag);
            (if is_index { index::as_class(lookup, class) } else { lookup }, Some(response))
        }
    };
    let refusal = answered.as_ref().and_then(|response| refusal(response));
    let answered = answered.map(|response| response.status());
    let stored = stored(cache, &planned);
    let next = match (&stored, answered) {
        _ if refusal.is_some() => refusal.unwrap_or_default(),
        (Some(stored), _) if stored.ttl > 0 => "it is handed on without asking".to_owned(),
        (None, Some(status)) if status.is_success() => "it is made of an index that is stored".to_owned(),
        (Some(stored), _) => asks(&planned, Some(stored)),
        (None, _) => asks(&planned, None),
    };
    let (rule, set_by) = rule(&planned, class, &config);
    Why {
        url: planned.target.url.to_string(),
        ecosystem: kind.name(),
        class: class.name(),
        name: question.package.name,
        version: question.package.version,
        door,
        rule,
        set_by,
        expected: expected(&planned.ruling),
        level: planned.ruling.level,
        unvouched: planned.ruling.unvouched,
        named_by,
        stored: stored.map(|it| it.shown),
        next,
    }
}

/// What a guard says of it, where one refuses it.
fn refusal(response: &Response<Body>) -> Option<String> {
    let reason = response.extensions().get::<Reason>().filter(|_| response.status() == StatusCode::FORBIDDEN);
    reason.map(|Reason(reason)| reason.clone())
}

/// What is known of a URL that no request may ask for: what is stored for it, in whatever spelling.
fn elsewhere(cache: &Cache, asked: &Uri) -> Target {
    let of = |url: Uri| Target { below: url.path().to_owned(), url, ..Target::default() };
    let stored = |target: &Target| cache.shelf.find(&cache::key(target, &HeaderMap::new())).is_some();
    let other = cache::in_one_spelling(asked).parse().ok().map(of);
    other.filter(stored).unwrap_or_else(|| of(asked.clone()))
}

fn lookup(cache: &Cache, target: Target) -> Lookup {
    let key = cache::key(&target, &HeaderMap::new());
    Lookup {
        method: Method::GET,
        headers: HeaderMap::new(),
        package: Package::default(),
        ruling: Ruling::default(),
        key,
        config: cache.config(),
        wire: None,
        target,
    }
}

/// What is stored, and whether it has something to be asked by.
struct Found {
    shown: Stored,
    ttl: i64,
    has_validators: bool,
}

fn stored(cache: &Cache, planned: &Lookup) -> Option<Found> {
    let key: &PackageKey = &planned.key;
    let known = cache.shelf.find(key)?;
    let wanted = |it: &StoredResponse| planned.ruling.accepts(it);
    // Whatever form a client would choose.
    let found = known.responses.iter().find(|it| wanted(&it.stored))?;
    let answer: &Answer = &found.answer;
    let ttl = answer.ttl(&planned.ruling, planned.target.heuristic, cache::now());
    let shown = Stored {
        status: found.stored.status,
        digest: found.stored.digest,
        size: found.stored.size,
        received: found.stored.received,
        level: found.stored.level,
        announced: found.stored.announced,
        ttl,
    };
    Some(Found { shown, ttl, has_validators: !conditional::validators(&answer.headers).is_empty() })
}

fn asks(planned: &Lookup, stored: Option<&Found>) -> String {
    let url = printable(&planned.target.url.to_string()).to_string();
    match stored {
        Some(found) if found.has_validators => format!("GET {url}, on the condition that it has changed"),
        Some(_) => format!("GET {url}, for it has no validators"),
        None => format!("GET {url}"),
    }
}

/// What it has to be, or has to have in it.
fn expected(ruling: &Ruling) -> Option<String> {
    let contents = || ruling.contents.map(|it| it.to_string());
    ruling.expected.map(|it| it.checksum.to_string()).or_else(contents)
}

/// By which rule it is fresh, and the setting that says for how long, where there is one.
fn rule(planned: &Lookup, class: Class, config: &Config) -> (String, Option<String>) {
    let (freshness, expected) = (planned.ruling.freshness, expected(&planned.ruling));
    let ttl = &planned.target.ttl;
    let lifetime = match (freshness, &expected, class) {
        (Freshness::Never, ..) => return ("never: it is an interface".to_owned(), None),
        (Freshness::Http, ..) => return ("as long as HTTP's rules say".to_owned(), None),
        (_, Some(_), _) => return ("for ever: it cannot change".to_owned(), None),
        (.., Class::Index) => ttl.index,
        (.., Class::Tag) => ttl.tag,
        _ => ttl.pinned_by_name,
    };
    let rule = lifetime.seconds.map_or_else(
        || "for ever: what has this name is not expected to change".to_owned(),
        |seconds| format!("for {seconds} s, whatever its headers say"),
    );
    let set_by = match lifetime.set_by {
        SetBy::Default(name) => format!("the default of `{name}`"),
        SetBy::All(name) => format!("`{name}` of [pkgcache]"),
        SetBy::Mount(name) => format!("`{name}` of {}", table(&planned.target, config)),
    };
    (rule, Some(set_by))
}

/// The table of settings of the mount or registry.
fn table(target: &Target, config: &Config) -> String {
    if config.registries.iter().any(|it| it.name == target.source && it.url == target.upstream) {
        return format!("[pkgcache.registry] {}", target.source);
    }
    let mount = config.upstreams.iter().find(|it| it.url == target.upstream && it.kind == target.kind);
    let name = mount.map(|it| it.name.as_str()).filter(|name| !name.is_empty());
    format!("[pkgcache.upstream] {}", name.unwrap_or("/"))
}

impl Why {
    fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(out, "{}", printable(&self.url))?;
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<9} {}", printable(text));
        let package =
            [self.name.as_deref(), self.version.as_deref()].map(Option::unwrap_or_default).join(" ");
        line("class", format!("{} ({}) {package}", self.class, self.ecosystem).trim_end())?;
        if let Some(door) = &self.door {
            line("door", door)?;
        }
        match &self.set_by {
            Some(set_by) => line("fresh", &format!("{} ({set_by})", self.rule))?,
            None => line("fresh", &self.rule)?,
        }
        if let Some(expected) = &self.expected {
            line("expected", &format!("{expected} ({})", self.level.name()))?;
        }
        if let Some(why) = self.unvouched {
            line("expected", &format!("nothing ({}): {why}", self.level.name()))?;
        }
        if let Some(index) = &self.named_by {
            line("named by", index)?;
        }
        match &self.stored {
            None => line("stored", "nothing")?,
            Some(stored) => {
                let when = stored.received.strftime("%Y-%m-%d %H:%M:%S");
                let size = ByteSize(stored.size);
                let level = stored.level.name();
                line(
                    "stored",
                    &format!("{} {size} {}, {level}, since {when}", stored.status, stored.digest),
                )?;
            }
        }
        line("next", &self.next)
    }
}
