//! The page.

use storekit::ByteSize;
use toolkit::page::{Column, Page, Series, amounts, shares};
use toolkit::words::{ago, count, took};

use super::{DAYS, Day, Status};

/// The page about it.
#[must_use]
pub(crate) fn html(status: &Status) -> String {
    let mut page = Page::new("pkgcache", "");
    head(&mut page, status);
    stored(&mut page, status);
    over_time(&mut page, status);
    flights(&mut page, status);
    refused(&mut page, status);
    indexes(&mut page, status);
    unverified(&mut page, status);
    clients(&mut page, status);
    page.finish()
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

#[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
fn share((hits, misses): (u64, u64)) -> Option<f64> {
    let all = hits.saturating_add(misses);
    (all > 0).then(|| hits as f64 / all as f64)
}

fn head(page: &mut Page, status: &Status) {
    page.title("pkgcache");
    let offline = if status.offline { " It is offline: no upstream is asked." } else { "" };
    page.soft(&format!(
        "The package cache at {}, version {}, running since {:.0}. This page is of {:.0}.{offline}",
        status.url, status.version, status.started, status.time
    ));
    let (hits, misses) = status.hits_and_misses();
    let sent = status
        .requests
        .iter()
        .filter(|it| !matches!(it.result.as_str(), "tunnel" | "own"))
        .map(|it| it.bytes);
    let bytes = status.stored.ecosystems.iter().map(|it| it.bytes);
    page.facts([
        ("stored", size(bytes.fold(0, u64::saturating_add))),
        ("requests since the start", hits.saturating_add(misses).to_string()),
        ("of these answered here", percent(share((hits, misses)))),
        ("sent to clients", size(sent.fold(0, u64::saturating_add))),
        ("came from upstreams", size(status.fetched)),
        ("fetches now", status.flight_count.to_string()),
        ("could not be served", status.refused.count.to_string()),
        ("through tunnels", size(status.tunnels.sent.saturating_add(status.tunnels.received))),
    ]);
}

fn stored(page: &mut Page, status: &Status) {
    page.heading("Stored");
    page.soft(&format!("Looked through {}.", ago(status.stored.time, status.time)));
    let rows: Vec<_> = status
        .stored
        .ecosystems
        .iter()
        .map(|it| [it.ecosystem.clone(), it.urls.to_string(), size(it.bytes), it.unverified.to_string()])
        .collect();
    let columns = [
        Column::words("ecosystem"),
        Column::number("URLs"),
        Column::number("size"),
        Column::number("unverified"),
    ];
    page.list(&columns, &rows, "Nothing is stored yet.");
}

fn over_time(page: &mut Page, status: &Status) {
    let days = &status.days;
    page.heading(&format!("The last {DAYS} days"));
    if days.iter().all(|day| day.hits == 0 && day.misses == 0) {
        page.soft("Nothing is on record. Requests are counted by the minute.");
        return;
    }
    let dates: Vec<_> = days.iter().map(|day| day.date).collect();
    let values = |of: &dyn Fn(&Day) -> Option<f64>| Series {
        class: "packages",
        values: days.iter().map(of).collect(),
    };
    page.soft("The share of requests that was answered from what is stored, by day (UTC).");
    page.html(&shares(&dates, &[values(&Day::hit_rate)], "the share of hits by day"));
    page.soft("Bytes that did not have to come from an upstream.");
    let bytes = values(&|day| Some(number(day.saved_bytes)));
    page.html(&amounts(&dates, &bytes, "bytes saved by day", |it| size(whole(it))));
    page.soft("Time that fetching these would have taken, as fast as their sources were.");
    let seconds = values(&|day| Some(day.saved_seconds));
    page.html(&amounts(&dates, &seconds, "time saved by day", took));
    page.folded("The same as a table", |page| table(page, days));
}

#[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
fn number(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no less than 0, and a cast saturates"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

fn table(page: &mut Page, days: &[Day]) {
    let happened = days.iter().rev().filter(|day| day.hits > 0 || day.misses > 0);
    let rows: Vec<_> = happened
        .map(|day| {
            [
                day.date.to_string(),
                day.hits.to_string(),
                day.misses.to_string(),
                percent(day.hit_rate()),
                size(day.saved_bytes),
                took(day.saved_seconds),
                size(day.fetched_bytes),
            ]
        })
        .collect();
    let columns = [
        Column::words("day"),
        Column::number("hits"),
        Column::number("misses"),
        Column::number("hit rate"),
        Column::number("saved"),
        Column::number("time saved"),
        Column::number("fetched"),
    ];
    page.table(&columns, &rows);
}

fn flights(page: &mut Page, status: &Status) {
    page.heading("Fetches now");
    let rows: Vec<_> = status
        .flights
        .iter()
        .map(|it| {
            let all = it.size.map_or_else(|| "not known".to_owned(), size);
            [it.url.clone(), size(it.bytes), all, took(it.seconds)]
        })
        .collect();
    let columns =
        [Column::name("URL"), Column::number("came"), Column::number("of"), Column::number("takes")];
    page.list(&columns, &rows, "None.");
    more(page, status.flight_count, rows.len());
}

fn more(page: &mut Page, all: u64, shown: usize) {
    let more = all.saturating_sub(shown as u64);
    if more > 0 && shown > 0 {
        page.soft(&format!("And {more} more."));
    }
}

fn refused(page: &mut Page, status: &Status) {
    page.heading("Could not be served");
    if status.refused.latest.is_empty() {
        page.soft("Nothing since the start.");
        return;
    }
    page.soft(&format!("{} since the start; the last of them:", count(status.refused.count, "request")));
    let rows: Vec<_> = status.refused.latest.iter().map(|it| [it.clone()]).collect();
    page.table(&[Column::name("why")], &rows);
}

fn indexes(page: &mut Page, status: &Status) {
    page.heading("Indexes");
    page.soft("Those that were used last, and when their upstream said that they are the newest.");
    let rows: Vec<_> = status
        .stored
        .indexes
        .iter()
        .map(|it| [it.url.clone(), it.ecosystem.clone(), ago(it.checked, status.time)])
        .collect();
    let columns = [Column::name("URL"), Column::words("ecosystem"), Column::number("asked")];
    page.list(&columns, &rows, "None is stored.");
}

fn unverified(page: &mut Page, status: &Status) {
    page.heading("Nobody vouches for");
    let rows: Vec<_> = status.stored.unverified_urls.iter().map(|it| [it.clone()]).collect();
    if status.stored.unverified == 0 {
        page.soft("Every stored file was compared with a checksum of its index, its name or its address.");
        return;
    }
    page.soft(
        "Stored files that no index, name or address has a checksum for: they are what the upstream sent. \
         Those that were used last; URLs that need credentials are only counted:",
    );
    page.table(&[Column::name("URL")], &rows);
    more(page, status.stored.unverified, rows.len());
}

fn clients(page: &mut Page, status: &Status) {
    page.heading("Lead clients here");
    if status.clients.is_empty() {
        page.soft("Nothing is mounted that a client could be led to.");
        return;
    }
    page.soft("Each box can be selected with one click. `pkgcache env` prints the same, also for builds.");
    for it in &status.clients {
        page.small_heading(&format!("{}: {}", it.client, it.place));
        page.copyable(&it.text);
    }
}
