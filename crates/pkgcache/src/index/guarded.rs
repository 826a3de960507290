//! Where a request meets the guards: by its name before anything is sent, and by what its index
//! says of it; and what an index shows of its versions.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use tokio::task::spawn_blocking;

use crate::cache::{self, Cache};
use crate::config::target::Target;
use crate::ecosystem::releases::{Hidden, Release, Releases};
use crate::ecosystem::{Asked, Class, Ecosystem};
use crate::error::explained;
use crate::guards::{Guard, Guards, Namespace, Pattern, Refusal, Subject};
use crate::index::ruled::Plan;
use crate::observe::meter::add;
use crate::proxy::lookup::Lookup;
use crate::rules::invalidate::is_same_origin;
use crate::store::seen::Of;

/// What is said of a request by what it asks for; `None` where it may go on.
pub(crate) async fn before(cache: &Arc<Cache>, lookup: &Lookup, query: Option<&str>) -> Option<Plan> {
    let guards = lookup.config.guards.as_deref()?;
    refresh(cache).await;
    let target = &lookup.target;
    let asked = target.kind.ask(&Method::GET, &target.below, query);
    let refusal =
        of_namespaces(guards, lookup, &asked).or_else(|| by_name(cache, guards, target.kind, &asked));
    refusal.map(|refusal| refused(cache, refusal))
}

/// Reads the advisories again where their files are others by now.
async fn refresh(cache: &Arc<Cache>) {
    if cache.advisories.is_due() {
        let work = Arc::clone(cache);
        let looked = spawn_blocking(move || work.advisories.refresh(&*work.outside)).await;
        if looked.unwrap_or(false) {
            // What was remembered as allowed may not be any more.
            cache.index.changed();
        }
    }
}

fn by_name(cache: &Cache, guards: &Guards, kind: Ecosystem, asked: &Asked) -> Option<Refusal> {
    let advisories = cache.advisories.now();
    let package = &asked.package;
    if let Some(name) = &package.name {
        let subject = Subject { kind, name, version: package.version.as_deref() };
        return guards.by_name(subject, advisories.as_deref());
    }
    // A file whose name does not say its package is on no list. Of Go's, what has no name is the
    // checksum database's.
    let is_file = matches!(asked.class, Class::Artifact | Class::PinnedByName) && kind != Ecosystem::Go;
    let subject = Subject { kind, name: "", version: None };
    guards.by_name(subject, None).filter(|refusal| is_file && refusal.guard == Guard::Allow)
}

/// Whether something of a namespace would be sent to another upstream than its own.
fn of_namespaces(guards: &Guards, lookup: &Lookup, asked: &Asked) -> Option<Refusal> {
    let target = &lookup.target;
    let mut others = guards.namespaces.iter().filter(|space| !is_owner(space, target));
    let text = target.url.path_and_query().map_or("/", PathAndQuery::as_str);
    if target.kind == Ecosystem::Generic {
        let found = others.find(|space| space.pattern.is_in(text))?;
        return Some(of_namespace(found, target.url.path()));
    }
    let mut others = others.filter(|space| space.pattern.kind() == target.kind);
    if let Some(name) = &asked.package.name {
        let found = others.find(|space| space.pattern.tells_of(target.kind, name))?;
        return Some(of_namespace(found, name));
    }
    // What such a request brings may have any name in it: so does npm's audit.
    let reads = matches!(lookup.method, Method::GET | Method::HEAD);
    let found = others.find(|space| !reads || space.pattern.is_in(text))?;
    Some(of_namespace(found, if reads { target.url.path() } else { "what the request brings" }))
}

/// Whether the name is one of another upstream's than the server at this address, which has to be
/// asked about it: so is a checksum database about the modules of a mount.
#[must_use]
pub(crate) fn kept_from(lookup: &Lookup, server: &Uri, name: &str) -> Option<Refusal> {
    let kind = lookup.target.kind;
    let mut spaces = lookup.config.guards.as_deref()?.namespaces.iter();
    let found = spaces.find(|it| it.pattern.tells_of(kind, name) && !is_same_origin(&it.url, server))?;
    Some(of_namespace(found, name))
}

fn is_owner(space: &Namespace, target: &Target) -> bool {
    let below = target.mount.is_some() || is_same_origin(&target.url, &target.upstream);
    match target.kind {
        Ecosystem::Generic => is_same_origin(&space.url, &target.url),
        _ => below && space.url == target.upstream && space.pattern.kind() == target.kind,
    }
}

fn of_namespace(space: &Namespace, of: &str) -> Refusal {
    let (pattern, owner) = (&space.pattern, storekit::printable(&space.owner));
    let of = storekit::printable(of);
    let text = format!(
        "refused by the guard `namespace`: {of}: `{pattern}` belongs to {owner}, and no other upstream is asked for it"
    );
    Refusal { guard: Guard::Namespace, text }
}

/// The answer, counted.
pub(crate) fn refused(cache: &Cache, refusal: Refusal) -> Plan {
    if let Some(count) = cache.counts.guards.get(refusal.guard as usize) {
        add(count, 1);
    }
    Plan::refused(StatusCode::FORBIDDEN, refusal.text)
}

/// What becomes of a file, by what is known of it now.
pub(crate) fn after(cache: &Cache, lookup: Box<Lookup>, class: Class) -> Plan {
    match lookup.config.guards.as_deref().and_then(|guards| of_file(cache, guards, &lookup, class)) {
        Some(refusal) => refused(cache, refusal),
        None => Plan::Lookup(lookup),
    }
}

fn of_file(cache: &Cache, guards: &Guards, lookup: &Lookup, class: Class) -> Option<Refusal> {
    let (kind, package, below) = (lookup.target.kind, &lookup.package, &lookup.target.below);
    let is_file = match class {
        Class::Artifact | Class::PinnedByName => !below.starts_with("/sumdb/") || kind != Ecosystem::Go,
        // Without a name it is an index under its checksum.
        Class::SelfCertifying(_) => package.name.is_some(),
        Class::Unknown => kind != Ecosystem::Generic && guards.require.contains_key(&kind),
        Class::Index | Class::Tag | Class::SubIndex | Class::Api => false,
    };
    if !is_file {
        return None;
    }
    // Of what Go asks about a version beside its files, no index has a checksum.
    let is_told = kind == Ecosystem::Go && class == Class::PinnedByName;
    let required = if is_told { None } else { guards.by_level(kind, below, lookup.ruling.level) };
    if required.is_some() || class == Class::Unknown {
        return required;
    }
    let name = package.name.as_deref().unwrap_or(below);
    let subject = Subject { kind, name, version: package.version.as_deref() };
    let now = cache::now();
    guards.by_standing(subject, lookup.ruling.standing, now, || first_seen(cache, lookup, name, now))
}

/// When this file's version was first seen here: noted, or stored.
fn first_seen(cache: &Cache, lookup: &Lookup, name: &str, now: i64) -> i64 {
    let version = lookup.package.version.as_deref().unwrap_or_default();
    let noted = seen(cache, lookup, name, std::iter::once(version), now).get(version).copied();
    let known = cache.shelf.find(&lookup.key);
    let stored = known.iter().flat_map(|known| &known.responses);
    let received = stored.filter(|it| it.stored.status == 200).map(|it| it.stored.received.as_second()).min();
    noted.into_iter().chain(received).fold(now, i64::min)
}

fn seen<'v>(
    cache: &Cache,
    lookup: &Lookup,
    name: &str,
    versions: impl Iterator<Item = &'v str>,
    now: i64,
) -> Arc<std::collections::HashMap<String, i64>> {
    let upstream = lookup.target.upstream.to_string();
    let of = Of { ecosystem: lookup.target.kind.name(), upstream: &upstream, name };
    let (times, error) = cache.seen.times(&cache.store.packages(), of, versions, now);
    if let Some(error) = error {
        let why = explained(&error);
        cache.outside.warning(&format!("when {name} was first seen cannot be noted: {why}"));
    }
    times
}

/// What clients see of an index.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// What they do not.
    pub(crate) hidden: Hidden,
    /// What is said of the last version, where nothing is left.
    nothing: Option<Refusal>,
}

impl View {
    /// The answer where nothing is left: clients would say that there is no such version.
    pub(crate) fn refused(&mut self, cache: &Cache) -> Option<Plan> {
        self.nothing.take().map(|refusal| refused(cache, refusal))
    }
}

/// Whether versions of this kind are judged one by one.
#[must_use]
pub(crate) fn judges(lookup: &Lookup) -> bool {
    let kind = lookup.target.kind;
    lookup.config.guards.as_deref().is_some_and(|guards| {
        let lists = guards.block.iter().chain(&guards.allow);
        let by_version = lists.filter(|it| it.kind() == kind).any(Pattern::has_version);
        by_version || guards.osv.is_some() || guards.needs_standing(kind)
    })
}

/// What clients see of an index of the package.
#[must_use]
pub(crate) fn hidden(cache: &Cache, lookup: &Lookup, name: &str, releases: &Releases) -> View {
    let Some(guards) = lookup.config.guards.as_deref() else { return View::default() };
    let (kind, now) = (lookup.target.kind, cache::now());
    let advisories = cache.advisories.now();
    let undated = || releases.all.iter().filter(|release| release.standing.published.is_none());
    let is_timed = guards.cooldown(Subject { kind, name, version: None }).is_some();
    let times = (is_timed && undated().next().is_some())
        .then(|| seen(cache, lookup, name, undated().map(|release| release.version.as_str()), now));
    let mut last = None;
    let judge = |Release { version, standing }: &Release| {
        let subject = Subject { kind, name, version: Some(version) };
        let first = || times.as_ref().and_then(|times| times.get(version)).map_or(now, |time| now.min(*time));
        let by_name = guards.by_name(subject, advisories.as_deref());
        by_name.or_else(|| guards.by_standing(subject, *standing, now, first))
    };
    let hidden = Hidden::of(releases, |release| match judge(release) {
        Some(refusal) => {
            last = Some(refusal);
            false
        }
        None => true,
    });
    let is_all = !hidden.is_empty() && hidden.len() == releases.all.len();
    View { hidden, nothing: last.filter(|_| is_all) }
}

/// What is said of one version of these. One that is not among them has no date.
#[must_use]
pub(crate) fn of_version(
    cache: &Cache,
    lookup: &Lookup,
    name: &str,
    version: &str,
    releases: &Releases,
) -> Option<Plan> {
    let standing = releases.all.iter().find(|release| release.version == version).map(|it| it.standing);
    let mut one = Releases::default();
    one.add(version, standing.unwrap_or_default()).ok()?;
    hidden(cache, lookup, name, &one).refused(cache)
}

/// Whether it may be read here which level a file has: where nothing is required, none is.
#[must_use]
pub(crate) fn needs_index(lookup: &Lookup) -> bool {
    lookup.config.guards.as_deref().is_some_and(|guards| guards.needs_index(lookup.target.kind))
}
