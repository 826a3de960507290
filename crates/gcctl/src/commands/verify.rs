//! `verify`.

use storekit::Store;
use storekit::files::lfs;
use toolkit::Outcome;
use toolkit::words::count;

use super::console::Console;
use crate::error::{DamageAdvice, Error, Result};
use crate::show;
use crate::verify::{Of, verify as look};

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
    for stray in show::oddities(&report.strays, &[], None) {
        console.warn(stray);
    }
    let words = [(report.files, "file"), (report.images, "image"), (report.packages, "package")];
    let words: Vec<_> = words.into_iter().map(|(number, one)| count(number, one)).collect();
    let unfetched = (report.unfetched > 0).then(|| not_fetched(store, report.unfetched, "blob"));
    if let Some(text) = unfetched.as_ref().filter(|_| report.findings.iter().any(|it| !it.is_harmless)) {
        console.say(text);
    }
    let (harmless, harmful): (Vec<_>, Vec<_>) = report.findings.iter().partition(|it| it.is_harmless);
    let in_trash = harmless.iter().filter(|it| it.kind == Of::Trash).count() as u64;
    if in_trash > 0 {
        let files = count(in_trash, "damaged file");
        let then = if repair { "" } else { "; `undo` leaves them there, and `--repair` removes them" };
        console.say(format!("{files} in the trash, which do the store no harm{then}"));
    }
    if harmless.iter().any(|it| it.kind == Of::Index) && !repair {
        console.say(
            "the index is late, which does the store no harm: the next command that writes makes it anew",
        );
    }
    match harmful.len() as u64 {
        0 if let Some(text) = unfetched => {
            console.say(format!("{}: sound, as far as they are here; {text}", words.join(", ")));
            Ok(Outcome::Yes)
        }
        0 => {
            console.say(format!("{}: all sound", words.join(", ")));
            Ok(Outcome::Yes)
        }
        found => {
            let advice = match (harmful.iter().any(|finding| finding.can_be_mended), repair) {
                (false, _) => DamageAdvice::ByHand,
                (true, true) => DamageAdvice::Repaired,
                (true, false) => DamageAdvice::Repair,
            };
            Err(Error::Damage { found, advice })
        }
    }
}

/// What is not here but known to Git LFS, and how to have it.
pub(super) fn not_fetched(store: &Store, number: u64, one: &str) -> String {
    let (are, it) = if number == 1 { ("is", "it") } else { ("are", "them") };
    let command = lfs::fetch_command(store.images().blobs().folder());
    format!("{} {are} not fetched by Git LFS: `{command}` fetches {it}", count(number, one))
}
