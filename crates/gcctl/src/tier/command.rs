//! `plan --listing`: what would go of another place.

use std::io::BufRead;

use camino::Utf8Path;
use jiff::Timestamp;
use storekit::ByteSize;
use toolkit::words::{ago, count, span};
use toolkit::{Align, Outcome, Table};

use crate::commands::{Console, Force, refusal};
use crate::error::{Error, Result};
use crate::limits::Why;
use crate::plan::{Plan, file as plan_file};
use crate::show::{self, Held};
use crate::snapshot::{Image, Snapshot};
use crate::tier::decide;
use crate::tier::limits::TierLimits;
use crate::tier::listing::Listing;

/// Prints what would go of the place, and why; with `--json`, what `imgtar rm --plan` reads.
///
/// # Errors
/// A list that cannot be understood; branches that cannot be read; a limit of bytes that would take
/// most of what stands there, unless it is forced; an output that cannot be written.
pub fn plan(
    input: &mut dyn BufRead,
    name: &str,
    limits: &TierLimits,
    folder: &Utf8Path,
    force: Force,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let listing = Listing::read(input, Timestamp::now())?;
    let plan = decide(&listing, limits, folder)?;
    if limits.limits.is_none() {
        console.say(format!(
            "no limit is set for `{name}`: nothing goes ([gcctl.{name}] in larder.toml has them)"
        ));
    }
    if let Some(objection) = plan.objection_of_bytes().filter(|_| force == Force::No) {
        return Err(refusal(&plan, &objection));
    }
    if console.json {
        plan_file::write(&plan, console.out).map_err(Error::output)?;
    } else if !plan.images.is_empty() {
        console.table(&table(&listing.snapshot, &plan))?;
    }
    console.flush()?;
    console.say(outlook(&plan));
    tell_what_stays(&listing, console);
    for unmet in &plan.unmet {
        console.warn(show::unmet(unmet, &plan.limits, &Held::default()));
    }
    Ok(Outcome::Yes)
}

fn table(snapshot: &Snapshot, plan: &Plan) -> Table {
    use Align::{Left, Right};
    let mut table =
        Table::new(&[("WHAT", Left), ("IMAGE", Left), ("FREES", Right), ("SAVED", Right), ("WHY", Left)]);
    let image = |key| snapshot.images.iter().find(|image: &&Image| image.key == key);
    for eviction in &plan.images {
        let image = image(eviction.key.clone());
        let name = image.and_then(|image| image.origin.image.as_ref()).map_or("-", |name| name.as_str());
        let why = match eviction.why {
            Why::MaxAge => {
                format!("saved over {} ago", span(plan.limits.max_age.unwrap_or_default().0.as_secs()))
            }
            why => show::why(why, &plan.limits),
        };
        table.row([
            eviction.key.to_string(),
            name.to_owned(),
            ByteSize(eviction.bytes).to_string(),
            ago(eviction.used, plan.time),
            why,
        ]);
    }
    table
}

fn outlook(plan: &Plan) -> String {
    let goes = match plan.images.len() as u64 {
        0 => "nothing would go".to_owned(),
        number => format!("{} ({}) would go for good", count(number, "image"), ByteSize(plan.bytes())),
    };
    format!("{goes}; left: {}, {}", count(plan.left.images, "image"), ByteSize(plan.left.bytes))
}

fn tell_what_stays(listing: &Listing, console: &mut Console<'_>) {
    if listing.foreign > 0 {
        let number = count(listing.foreign, "tag");
        console.say(format!("{number} without a note of larder's: not counted, and left alone"));
    }
    for (key, problem) in &listing.damaged {
        console.warn(format!("`{key}` is left alone: {}", storekit::printable(problem)));
    }
}
