//! `verify`.

use storekit::Store;
use toolkit::Outcome;
use toolkit::words::count;

use super::console::Console;
use crate::error::{DamageAdvice, Error, Result};
use crate::show;
use crate::verify::verify as look;

/// Tells what of a store is damaged, a line for each; with `repair`, mends what can be.
///
/// # Errors
/// [`Error::Damage`], after all was read; what cannot be read.
pub fn verify(store: &Store, repair: bool, console: &mut Console<'_>) -> Result<Outcome> {
    let report = look(store, repair)?;
    for finding in &report.findings {
        console.either(finding, || {
            let done = finding.done.map_or_else(String::new, |done| format!(" ({done})"));
            let line = format!("{}: {}{done}", finding.path, finding.problem);
            format!("{}\n", storekit::printable(&line))
        })?;
    }
    console.flush()?;
    for stray in show::oddities(&report.strays, &[]) {
        console.warn(stray);
    }
    let words = [(report.files, "file"), (report.images, "image"), (report.packages, "package")];
    let words: Vec<_> = words.into_iter().map(|(number, one)| count(number, one)).collect();
    match report.findings.len() as u64 {
        0 => {
            console.say(format!("{}: all sound", words.join(", ")));
            Ok(Outcome::Yes)
        }
        found => {
            let advice = match (report.findings.iter().any(|finding| finding.can_be_mended), repair) {
                (false, _) => DamageAdvice::ByHand,
                (true, true) => DamageAdvice::Repaired,
                (true, false) => DamageAdvice::Repair,
            };
            Err(Error::Damage { found, advice })
        }
    }
}
