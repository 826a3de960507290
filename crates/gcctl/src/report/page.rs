//! The page's text.

use std::cmp::Reverse;
use std::fmt::Write;

use storekit::ByteSize;
use toolkit::page::{Column, Page, Series, shares};
use toolkit::words::{ago, count};

use super::disk::{ages, groups, package_ages, picture};
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
    let mut page = Page::new(&format!("larder store {}", report.store), include_str!("page.css"));
    head(&mut page, report);
    disk(&mut page, report);
    next_run(&mut page, report);
    hits(&mut page, report);
    last_uses(&mut page, report);
    largest(&mut page, report);
    folders(&mut page, report);
    page.finish()
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn head(page: &mut Page, report: &Report<'_>) {
    let snapshot = report.snapshot;
    let images = snapshot.count(&snapshot.referrers());
    page.title(report.store);
    page.soft(&format!("What this store held at {:.0}. Sizes are bytes on disk.", snapshot.now));
    page.facts([
        ("in the whole folder", size(snapshot.usage().total())),
        ("free on the disk", size(snapshot.free)),
        ("images", images.to_string()),
        ("packages", snapshot.packages.len().to_string()),
        ("in the trash", size(snapshot.usage().trash)),
    ]);
}

fn disk(page: &mut Page, report: &Report<'_>) {
    let groups = groups(report.snapshot);
    page.heading("The disk");
    page.soft("Each area is as large as what goes with it: images by name, packages by ecosystem.");
    page.html(&picture(&groups, "wide", 1140.0, 520.0));
    page.html(&picture(&groups, "narrow", 376.0, 560.0));
    page.key(groups.iter().map(|it| (it.name, format!("{}: {}", it.name, size(it.bytes())))));
}

fn next_run(page: &mut Page, report: &Report<'_>) {
    let plan = report.plan;
    page.heading("The next run");
    page.text(&format!("{}.", show::outlook(plan)));
    match plan.limits.min_free.filter(|_| plan.limits.min_free_by_default) {
        Some(free) if plan.limits.is_none() => page.soft(&format!(
            "Nobody has set a limit: what nothing needs goes, and packages and trash as far as that keeps the disk free (`min-free`: {free})."
        )),
        None if plan.limits.is_none() => page.soft("No limit is set: only what nothing needs goes."),
        _ => {}
    }
    for unmet in &plan.unmet {
        let held = show::Held { rest: plan.rest.clone(), ..show::Held::default() };
        page.bold(&show::unmet(unmet, &plan.limits, &held));
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
    let columns =
        [Column::name("what"), Column::number("frees"), Column::number("last use"), Column::words("why")];
    page.table(&columns, &rows);
    if more > 0 {
        page.soft(&format!("And {more} more that free less."));
    }
}

fn hits(page: &mut Page, report: &Report<'_>) {
    let days = report.days();
    page.heading(&format!("Hits in the last {DAYS} days"));
    if days.iter().all(|day| day.images.is_none() && day.packages.is_none()) {
        page.soft("Nothing is on record: bakes and the package cache note what they do in the store.");
        return;
    }
    let dates: Vec<_> = days.iter().map(|day| day.date).collect();
    let packages = Series { class: "packages", values: days.iter().map(|day| day.packages).collect() };
    let images = Series { class: "images", values: days.iter().map(|day| day.images).collect() };
    page.html(&shares(&dates, &[packages, images], "the share of hits by day"));
    page.key([
        ("images", "images that bakes found".to_owned()),
        ("packages", "packages that the store answered".to_owned()),
    ]);
}

fn last_uses(page: &mut Page, report: &Report<'_>) {
    let classes = AGES.map(|(most, _)| most);
    let (images, packages) = (ages(report.snapshot, &classes), package_ages(report.snapshot, &classes));
    let most = images.iter().chain(&packages).copied().max().unwrap_or(0);
    page.heading("Last uses");
    page.soft("What several images or URLs need counts with the one that was used last.");
    let mut table = String::from(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<tr><th>used</th><th class=\"number\">images</th><th class=\"number\">packages</th><th></th></tr>\n",
    );
    let names = AGES.map(|(_, name)| name).into_iter().chain(["longer ago"]);
    for ((name, images), packages) in names.zip(images).zip(packages) {
        // A string takes all that is written to it.
        let _ = write!(
            table,
            "<tr><td class=\"age\">{name}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"bar\">",
            size(images),
            size(packages)
        );
        for (class, bytes) in [("images", images), ("packages", packages)] {
            if bytes > 0 {
                let _ = write!(
                    table,
                    "<span class=\"{class}\" style=\"width:{:.1}%\"></span>",
                    percent(bytes, most)
                );
            }
        }
        table.push_str("</td></tr>\n");
    }
    table.push_str("</table></div>\n");
    page.html(&table);
}

#[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
fn percent(bytes: u64, most: u64) -> f64 {
    if most == 0 { 0.0 } else { 100.0 * bytes as f64 / most as f64 }
}

fn largest(page: &mut Page, report: &Report<'_>) {
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
    let columns = [
        Column::name("name"),
        Column::number("size"),
        Column::number("own"),
        Column::number("last use"),
        Column::number("uses"),
    ];
    images.sort_by_key(|(image, all, own)| (Reverse(*own), Reverse(*all), &image.key));
    let rows: Vec<_> = images.iter().take(ROWS).map(row).collect();
    page.heading("Largest images");
    page.list(&columns, &rows, "No images are stored.");
    // Bytes for so long, for so few uses.
    let waste = |(image, _, own): &(&Image, u64, u64)| {
        let idle = now.duration_since(image.used).as_secs().max(0).unsigned_abs();
        u128::from(*own) * u128::from(idle) / (u128::from(image.uses) + 1)
    };
    images.sort_by_key(|it| (Reverse(waste(it)), &it.0.key));
    let rows: Vec<_> = images.iter().filter(|it| waste(it) > 0).take(ROWS).map(row).collect();
    page.heading("Least useful images");
    page.soft("The most bytes of their own, unused for the longest, for the fewest uses.");
    page.list(&columns, &rows, "None stand out.");
    packages(page, report);
}

fn packages(page: &mut Page, report: &Report<'_>) {
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
    page.heading("Largest packages");
    page.soft(&format!("Of {}.", count(packages.len() as u64, "package")));
    let columns = [
        Column::name("URL"),
        Column::words("ecosystem"),
        Column::number("size"),
        Column::number("own"),
        Column::number("last use"),
    ];
    page.list(&columns, &rows, "No packages are stored.");
}

/// The folders that `[[extra]]` names; nothing where there are none.
fn folders(page: &mut Page, report: &Report<'_>) {
    if report.folders.is_empty() {
        return;
    }
    page.heading("Folders of other tools");
    page.soft("Beside the store, and in no sum above.");
    let row = |it: &OtherFolder| {
        let (path, kind, limits) = (it.path.clone(), it.kind.clone(), it.limits.clone());
        [path, kind, size(it.bytes), it.items.to_string(), limits, size(it.frees)]
    };
    let rows: Vec<_> = report.folders.iter().map(row).collect();
    let columns = [
        Column::name("folder"),
        Column::words("kind"),
        Column::number("size"),
        Column::number("items"),
        Column::words("limits"),
        Column::number("the next run frees"),
    ];
    page.table(&columns, &rows);
}
