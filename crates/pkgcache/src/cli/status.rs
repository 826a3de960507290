//! `status`: what a running cache says of itself.

use std::io::{self, Write};

use clap::Args;
use miette::{IntoDiagnostic, WrapErr};
use pkgcache::commands::Console;
use pkgcache::status::Status;
use pkgcache::{Config, Error};
use storekit::{ByteSize, printable};
use toolkit::words::{ago, count, took};
use toolkit::{Align, Environment, Outcome, Table};

use crate::cli::ask::http;
use crate::cli::doors::URL;

/// Where the server says it for programs.
const PATH: &str = "/status.json";
/// So many of a list are shown.
const MOST: usize = 5;
/// So many days are shown.
const LAST: usize = 7;

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Where the cache answers [default: `LARDER_PKGCACHE_URL`, else where it is set to listen]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Prints what the cache says of itself.
pub(crate) fn status(
    args: &StatusArgs,
    config: &Config,
    environment: &Environment,
    console: &mut Console<'_>,
) -> miette::Result<Outcome> {
    let listening = config.listen.net().map(|address| format!("http://{address}"));
    let given = args.url.as_deref().or_else(|| environment.get(URL));
    let Some(url) = given.or(listening.as_deref()).filter(|url| url.starts_with("http://")) else {
        return Err(miette::miette!(
            help = "say with `--url http://HOST:PORT` where it answers; at a socket in the file system, \
                    `curl --unix-socket PATH http://localhost/status.json` asks it",
            "only a cache at an `http://` address can be asked"
        ));
    };
    let answer = http::get(url, PATH, "application/json").into_diagnostic().wrap_err_with(|| {
        format!("no cache answers at `{}`: start one with `pkgcache serve`", printable(url))
    })?;
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body);
        let (said, status) = (printable(text.trim()).into_owned(), answer.status);
        return Err(miette::miette!("`{}` answers with {status}: {said}", printable(url)));
    }
    let status: Status = serde_json::from_slice(&answer.body)
        .into_diagnostic()
        .wrap_err_with(|| format!("what answers at `{}` is no pkgcache of this version", printable(url)))?;
    let printed = if console.json {
        toolkit::output::json_line(console.out, &status)
    } else {
        print(&status, console.out)
    };
    printed.and_then(|()| console.out.flush()).map_err(Error::Output)?;
    Ok(Outcome::Yes)
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn print(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let (hits, misses) = status.hits_and_misses();
    let offline = if status.offline { ", offline" } else { "" };
    writeln!(
        out,
        "pkgcache {} at {}, running since {:.0}{offline}\n{}, {}, {} from upstreams, {} through tunnels\n",
        printable(&status.version),
        printable(&status.url),
        status.started,
        count(hits, "hit"),
        if misses == 1 { "1 miss".to_owned() } else { format!("{misses} misses") },
        size(status.fetched),
        size(status.tunnels.sent.saturating_add(status.tunnels.received)),
    )?;
    stored(status, out)?;
    days(status, out)?;
    let flights = status.flights.iter().map(|it| {
        let all = it.size.map(|all| format!(" of {}", size(all))).unwrap_or_default();
        format!("{} ({}{all})", it.url, size(it.bytes))
    });
    list(out, "fetched now", status.flight_count, flights)?;
    let indexes = status
        .stored
        .indexes
        .iter()
        .map(|it| format!("{} ({}, asked {})", it.url, it.ecosystem, ago(it.checked, status.time)));
    list(out, "indexes that were used last", status.stored.indexes.len() as u64, indexes)?;
    let unverified = status.stored.unverified_urls.iter().cloned();
    list(out, "stored, and nobody vouches for them", status.stored.unverified, unverified)?;
    list(out, "could not be served", status.refused.count, status.refused.latest.iter().cloned())
}

fn stored(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    if status.stored.ecosystems.is_empty() {
        return writeln!(out, "nothing is stored yet");
    }
    let mut table = Table::new(&[("ECOSYSTEM", Align::Left), ("URLS", Align::Right), ("SIZE", Align::Right)]);
    for it in &status.stored.ecosystems {
        table.row([it.ecosystem.clone(), it.urls.to_string(), size(it.bytes)]);
    }
    out.write_all(table.text(false).as_bytes())
}

/// The last days on which there was something.
fn days(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[
        ("DAY", Align::Left),
        ("HITS", Align::Right),
        ("MISSES", Align::Right),
        ("SAVED", Align::Right),
        ("TIME", Align::Right),
        ("FETCHED", Align::Right),
    ]);
    let mut is_empty = true;
    let mut shown: Vec<_> = status.days.iter().rev().filter(|day| day.hits > 0 || day.misses > 0).collect();
    shown.truncate(LAST);
    for day in shown.into_iter().rev() {
        is_empty = false;
        table.row([
            day.date.to_string(),
            day.hits.to_string(),
            day.misses.to_string(),
            size(day.saved_bytes),
            took(day.saved_seconds),
            size(day.fetched_bytes),
        ]);
    }
    if is_empty { Ok(()) } else { write!(out, "\n{}", table.text(false)) }
}

/// The first of a list, below a line that says what they are; nothing of an empty one.
fn list(out: &mut dyn Write, what: &str, all: u64, lines: impl Iterator<Item = String>) -> io::Result<()> {
    if all == 0 {
        return Ok(());
    }
    writeln!(out, "\n{what} ({all}):")?;
    let mut shown = 0;
    for line in lines.take(MOST) {
        shown += 1;
        writeln!(out, "  {}", printable(&line))?;
    }
    let more = all.saturating_sub(shown);
    if more > 0 { writeln!(out, "  and {more} more") } else { Ok(()) }
}
