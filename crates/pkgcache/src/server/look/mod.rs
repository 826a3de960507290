//! The server looks at itself: what is stored, as it was seen not long ago (`stored`), and what it
//! knows at this moment.

mod stored;

use std::fmt::Write;
use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;

use crate::builds::intercepted::TRUST;
use crate::cache::Cache;
use crate::clients::forms;
use crate::clients::pointers::{Here, Mount};
use crate::config::Config;
use crate::index;
use crate::observe::meter::{RESULTS, Result, family, get};
use crate::response::flight::Flight;
use crate::server::look::stored::without_query;
use crate::status::{Client, FlightNow, MOST, OfEcosystem, Refused, Requests, Status, Tunnels};

/// Looks at all. `headers` say where the client reaches this.
///
/// # Errors
/// I/O errors in the store.
pub(crate) async fn look(cache: &Arc<Cache>, headers: &HeaderMap) -> storekit::Result<Status> {
    let seen = match stored::meanwhile(cache) {
        Some(seen) => seen,
        None => stored::seen(cache).await?,
    };
    let (config, counts) = (cache.config(), &cache.counts);
    let url = index::here(&config, headers);
    let flights = cache.flights.all();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: Timestamp::now(),
        started: cache.started,
        offline: config.offline,
        requests: RESULTS.iter().map(|(result, name)| requests(cache, *result, name)).collect(),
        fetched: get(&counts.fetched_bytes),
        tunnels: Tunnels {
            count: counts.of(Result::Tunnel).count,
            sent: counts.of(Result::Tunnel).bytes,
            received: get(&counts.tunnel_received),
        },
        flight_count: flights.len() as u64,
        flights: longest(&flights),
        stored: seen.stored.clone(),
        days: seen.days.clone(),
        refused: Refused { count: cache.refusals.count(), latest: cache.refusals.latest_of_all(MOST) },
        clients: clients(&config, &url),
        url,
    })
}

fn requests(cache: &Cache, result: Result, name: &str) -> Requests {
    let sum = cache.counts.of(result);
    Requests { result: name.to_owned(), count: sum.count, bytes: sum.bytes }
}

/// Those that have taken longest.
fn longest(flights: &[Arc<Flight>]) -> Vec<FlightNow> {
    let mut all: Vec<_> = flights.iter().map(|it| flight(it)).collect();
    all.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    all.truncate(MOST);
    all
}

fn flight(flight: &Flight) -> FlightNow {
    let growing = flight.growing();
    FlightNow {
        url: without_query(flight.label()),
        seconds: flight.began().elapsed().as_secs_f64(),
        bytes: growing.as_ref().map_or(0, |it| it.progress.borrow().written),
        size: growing.and_then(|it| it.total),
    }
}

/// What leads clients to the cache at this URL.
fn clients(config: &Config, url: &str) -> Vec<Client> {
    let mount = |it: &crate::config::Upstream| {
        Mount::new(&it.name, it.kind, &it.url.to_string(), it.keep_private, &[])
    };
    let here = Here {
        url: url.to_owned(),
        mounts: config.upstreams.iter().map(mount).collect(),
        registries: config.registries.iter().filter(|it| !it.has_models).map(|it| it.name.clone()).collect(),
        models: config.default_registry(true).filter(|it| it.has_models).map(|it| it.name.clone()),
        ..Here::default()
    };
    let client = |it: crate::clients::pointers::Piece| Client {
        client: it.client.to_owned(),
        place: it.place,
        text: it.text,
    };
    let intercepted = config.intercept.as_ref().map(|it| intercepted(&it.names(), url));
    forms::by_client(&here).into_iter().map(client).chain(intercepted).collect()
}

/// What leads any client here whose https is intercepted.
fn intercepted(names: &str, url: &str) -> Client {
    let mut text = format!("pkgcache ca bundle -o bundle.pem\nexport https_proxy={url}\n");
    let trust = TRUST.iter().map(|name| format!("export {name}=\"$PWD/bundle.pem\"\n"));
    text.extend(trust);
    Client { client: format!("https to {names}"), place: "in a shell".to_owned(), text }
}

/// A number of what is stored for one kind of client.
type Of = fn(&OfEcosystem) -> u64;

/// How much is stored, in the text form of Prometheus, as it was at the last look; nothing before
/// the first.
pub(crate) fn sizes(cache: &Arc<Cache>) -> String {
    let mut text = String::new();
    let Some(seen) = stored::known(cache) else { return text };
    let families: [(&str, &str, Of); 3] = [
        ("stored_urls", "URLs that are stored.", |it| it.urls),
        ("stored_bytes", "Bytes on disk of stored bodies.", |it| it.bytes),
        ("unverified_urls", "Stored URLs that nobody vouches for.", |it| it.unverified),
    ];
    for (name, help, value) in families {
        family(&mut text, name, "gauge", help);
        for it in &seen.stored.ecosystems {
            // A string takes all that is written to it.
            let _ = writeln!(text, "pkgcache_{name}{{ecosystem=\"{}\"}} {}", it.ecosystem, value(it));
        }
    }
    text
}
