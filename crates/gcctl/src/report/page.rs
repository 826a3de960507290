//! The page's text.

use std::cmp::Reverse;
use std::fmt::Write;

use storekit::ByteSize;
use toolkit::words::{ago, count};

use super::chart::chart;
use super::disk::{ages, groups, package_ages, picture};
use super::text::escaped;
use super::{DAYS, OtherFolder, Report};
use crate::show;
use crate::snapshot::{Holders, Image};

/// No list has more rows.
const ROWS: usize = 12;
const DAY: u64 = 86_400;
/// Ages, in seconds, and what they are called; what is older comes last.
const AGES: [(u64, &str); 5] = [
    (DAY, "within a day"),
    (7 * DAY, "within 7 days"),
    (30 * DAY, "within 30 days"),
    (90 * DAY, "within 90 days"),
    (365 * DAY, "within a year"),
];

pub(super) fn html(report: &Report<'_>) -> String {
    let mut page = String::with_capacity(64 << 10);
    let title = escaped(&format!("larder store {}", report.store));
    // A string takes all that is written to it.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n",
        include_str!("page.css")
    );
    head(&mut page, report);
    disk(&mut page, report);
    next_run(&mut page, report);
    hits(&mut page, report);
    last_uses(&mut page, report);
    largest(&mut page, report);
    folders(&mut page, report);
    page.push_str("</body>\n</html>\n");
    page
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn head(page: &mut String, report: &Report<'_>) {
    let snapshot = report.snapshot;
    let images = snapshot.count(&snapshot.referrers());
    let _ = write!(
        page,
        "<h1>{}</h1>\n<p class=\"soft\">What this store held at {:.0}. Sizes are bytes on disk.</p>\n<ul class=\"facts\">\n",
        escaped(report.store),
        snapshot.now
    );
    for (what, value) in [
        ("in the whole folder", size(snapshot.usage().total())),
        ("free on the disk", size(snapshot.free)),
        ("images", images.to_string()),
        ("packages", snapshot.packages.len().to_string()),
        ("in the trash", size(snapshot.usage().trash)),
    ] {
        let _ = writeln!(page, "<li><b>{value}</b>{what}</li>");
    }
    page.push_str("</ul>\n");
}

fn disk(page: &mut String, report: &Report<'_>) {
    let groups = groups(report.snapshot);
    page.push_str("<h2>The disk</h2>\n<p class=\"soft\">Each area is as large as what goes with it: images by name, packages by ecosystem.</p>\n");
    page.push_str(&picture(&groups, "wide", 1140.0, 520.0));
    page.push_str(&picture(&groups, "narrow", 376.0, 560.0));
    page.push_str("<ul class=\"key\">\n");
    for group in &groups {
        let _ = writeln!(page, "<li class=\"{0}\">{0}: {1}</li>", group.name, size(group.bytes()));
    }
    page.push_str("</ul>\n");
}

fn next_run(page: &mut String, report: &Report<'_>) {
    let plan = report.plan;
    let _ = writeln!(page, "<h2>The next run</h2>\n<p>{}.</p>", escaped(&show::outlook(plan)));
    if plan.limits.is_none() {
        page.push_str("<p class=\"soft\">No limit is set: only what nothing needs goes.</p>\n");
    }
    for unmet in &plan.unmet {
        let held = show::Held { rest: plan.rest.clone(), ..show::Held::default() };
        let _ = writeln!(page, "<p><b>{}</b></p>", escaped(&show::unmet(unmet, &plan.limits, &held)));
    }
    let images =
        plan.images.iter().map(|it| (it.key.to_string(), it.bytes, it.used, show::why(it.why, &plan.limits)));
    let packages = plan.packages.iter().map(|it| {
        (it.package.url().to_owned(), it.bytes, it.package.used(), show::why(it.why, &plan.limits))
    });
    let mut rows: Vec<_> = images.chain(packages).collect();
    rows.sort_by_key(|(_, bytes, ..)| Reverse(*bytes));
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, bytes, used, why)| [name, size(bytes), ago(used, report.snapshot.now), why])
        .collect();
    table(page, &[("what", false), ("frees", true), ("last use", true), ("why", false)], &rows);
    if more > 0 {
        let _ = writeln!(page, "<p class=\"soft\">And {more} more that free less.</p>");
    }
}

fn hits(page: &mut String, report: &Report<'_>) {
    let days = report.days();
    let _ = writeln!(page, "<h2>Hits in the last {DAYS} days</h2>");
    if days.iter().all(|day| day.images.is_none() && day.packages.is_none()) {
        page.push_str("<p class=\"soft\">Nothing is on record: bakes and the package cache note what they do in the store.</p>\n");
        return;
    }
    page.push_str(&chart(&days, "wide", 1140.0, 240.0));
    page.push_str(&chart(&days, "narrow", 376.0, 220.0));
    page.push_str("<ul class=\"key\"><li class=\"images\">images that bakes found</li><li class=\"packages\">packages that the store answered</li></ul>\n");
}

fn last_uses(page: &mut String, report: &Report<'_>) {
    let classes = AGES.map(|(most, _)| most);
    let (images, packages) = (ages(report.snapshot, &classes), package_ages(report.snapshot, &classes));
    let most = images.iter().chain(&packages).copied().max().unwrap_or(0);
    page.push_str("<h2>Last uses</h2>\n<p class=\"soft\">What several images or URLs need counts with the one that was used last.</p>\n<div class=\"scroll\"><table>\n<tr><th>used</th><th class=\"number\">images</th><th class=\"number\">packages</th><th></th></tr>\n");
    let names = AGES.map(|(_, name)| name).into_iter().chain(["longer ago"]);
    for ((name, images), packages) in names.zip(images).zip(packages) {
        let _ = write!(
            page,
            "<tr><td class=\"age\">{name}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"bar\">",
            size(images),
            size(packages)
        );
        for (class, bytes) in [("images", images), ("packages", packages)] {
            if bytes > 0 {
                let _ = write!(
                    page,
                    "<span class=\"{class}\" style=\"width:{:.1}%\"></span>",
                    percent(bytes, most)
                );
            }
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table></div>\n");
}

#[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
fn percent(bytes: u64, most: u64) -> f64 {
    if most == 0 { 0.0 } else { 100.0 * bytes as f64 / most as f64 }
}

fn largest(page: &mut String, report: &Report<'_>) {
    let (snapshot, now) = (report.snapshot, report.snapshot.now);
    let holders = Holders::of(snapshot);
    let mut images: Vec<(&Image, u64, u64)> = snapshot
        .images
        .iter()
        .map(|image| {
            let (all, own) = snapshot.sizes(image, &holders);
            (image, all, own)
        })
        .collect();
    let row = |(image, all, own): &(&Image, u64, u64)| {
        let name = if image.called() == "-" { image.key.as_str() } else { image.called() };
        [name.to_owned(), size(*all), size(*own), ago(image.used, now), image.uses.to_string()]
    };
    let columns = [("name", false), ("size", true), ("own", true), ("last use", true), ("uses", true)];
    images.sort_by_key(|(image, all, own)| (Reverse(*own), Reverse(*all), &image.key));
    let rows: Vec<_> = images.iter().take(ROWS).map(row).collect();
    page.push_str("<h2>Largest images</h2>\n");
    list(page, &columns, &rows, "No images are stored.");
    // Bytes for so long, for so few uses.
    let waste = |(image, _, own): &(&Image, u64, u64)| {
        let idle = now.duration_since(image.used).as_secs().max(0).unsigned_abs();
        u128::from(*own) * u128::from(idle) / (u128::from(image.uses) + 1)
    };
    images.sort_by_key(|it| (Reverse(waste(it)), &it.0.key));
    let rows: Vec<_> = images.iter().filter(|it| waste(it) > 0).take(ROWS).map(row).collect();
    page.push_str("<h2>Least useful images</h2>\n<p class=\"soft\">The most bytes of their own, unused for the longest, for the fewest uses.</p>\n");
    list(page, &columns, &rows, "None stand out.");
    packages(page, report);
}

fn packages(page: &mut String, report: &Report<'_>) {
    let (packages, now) = (&report.snapshot.packages, report.snapshot.now);
    let mut order: Vec<_> = packages.iter().map(|package| (Reverse(package.size()), package)).collect();
    order.sort_by_key(|(size, _)| *size);
    let rows: Vec<_> = order
        .iter()
        .take(ROWS)
        .map(|(Reverse(bytes), package)| {
            let last_use = ago(package.used(), now);
            [
                package.url().to_owned(),
                package.ecosystem().to_owned(),
                size(*bytes),
                size(package.own()),
                last_use,
            ]
        })
        .collect();
    let _ = writeln!(
        page,
        "<h2>Largest packages</h2>\n<p class=\"soft\">Of {}.</p>",
        count(packages.len() as u64, "package")
    );
    let columns = [("URL", false), ("ecosystem", false), ("size", true), ("own", true), ("last use", true)];
    list(page, &columns, &rows, "No packages are stored.");
}

/// The folders that `[[extra]]` names; nothing where there are none.
fn folders(page: &mut String, report: &Report<'_>) {
    if report.folders.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Folders of other tools</h2>\n<p class=\"soft\">Beside the store, and in no sum above.</p>\n",
    );
    let row = |it: &OtherFolder| {
        let (path, kind, limits) = (it.path.clone(), it.kind.clone(), it.limits.clone());
        [path, kind, size(it.bytes), it.items.to_string(), limits, size(it.frees)]
    };
    let rows: Vec<_> = report.folders.iter().map(row).collect();
    let columns = [
        ("folder", false),
        ("kind", false),
        ("size", true),
        ("items", true),
        ("limits", false),
        ("the next run frees", true),
    ];
    table(page, &columns, &rows);
}

/// The table, or the words where it has no rows.
fn list<const N: usize>(page: &mut String, columns: &[(&str, bool); N], rows: &[[String; N]], none: &str) {
    if rows.is_empty() {
        let _ = writeln!(page, "<p class=\"soft\">{none}</p>");
    }
    table(page, columns, rows);
}

/// Columns by heading, and whether they are numbers. Without rows there is no table.
fn table<const N: usize>(page: &mut String, columns: &[(&str, bool); N], rows: &[[String; N]]) {
    if rows.is_empty() {
        return;
    }
    page.push_str("<div class=\"scroll\"><table>\n<tr>");
    for (heading, is_number) in columns {
        let class = if *is_number { " class=\"number\"" } else { "" };
        let _ = write!(page, "<th{class}>{heading}</th>");
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for (place, (cell, (_, is_number))) in row.iter().zip(columns).enumerate() {
            let class = match (is_number, place) {
                (true, _) => " class=\"number\"",
                (false, 0) => " class=\"name\"",
                _ => "",
            };
            let _ = write!(page, "<td{class}>{}</td>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}
