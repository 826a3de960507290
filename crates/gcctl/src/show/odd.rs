//! What of a store is not as it should be and is passed over, in words.

use jiff::Timestamp;
use storekit::clock;
use toolkit::words::count;

/// So many are named, others counted.
const NAMED: usize = 3;

/// That a clock is not believed.
#[must_use]
pub fn doubt(doubted: &clock::Doubted, believed: Timestamp) -> String {
    let shown = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M").to_string();
    format!(
        "the clock says {}, which is far from when this store was last collected: ages are reckoned from {}, until the \
         clock has run on to {}",
        shown(doubted.clock),
        shown(believed),
        shown(doubted.until)
    )
}

/// What is to be said of what stands where only files of the store do (`strays`, paths below the
/// store), and of these images, which stay and of which it is not known what they need; of those
/// that were not fetched, with the command that fetches them.
#[must_use]
pub fn oddities(strays: &[String], unknown: &[&str], unfetched: Option<(&[&str], &str)>) -> Vec<String> {
    let stray =
        |names| format!("passed over {names}: not a file of the store's, and it stands where only those do");
    let damaged = |names: String| {
        let keys = unknown.join(" ");
        let keys = if unknown.len() > NAMED { "KEY" } else { &keys };
        format!(
            "{names} cannot be read, so that it is not known what it needs: every blob stays meanwhile, and no image goes for a \
             limit of bytes; save it anew, or remove it with `gcctl rm {keys}`; `gcctl verify` tells what is wrong"
        )
    };
    let strays_named: Vec<_> = strays.iter().map(|path| format!("`{path}`")).collect();
    let lacking = |names: String, command: &str| {
        format!(
            "{names} was not fetched by Git LFS, so that it is not known what it needs: every blob stays meanwhile, and no \
             image goes for a limit of bytes; `{command}` fetches it"
        )
    };
    let unknown_named: Vec<_> = unknown.iter().map(|key| format!("`{key}`")).collect();
    let told = |all: &[String], one: &str| {
        let more = all.len().saturating_sub(NAMED) as u64;
        let more = (more > 0).then(|| format!("{} more", count(more, one)));
        let some: Vec<_> = all.iter().take(NAMED).cloned().chain(more).collect();
        (!some.is_empty()).then(|| super::listed(&some, "and"))
    };
    told(&strays_named, "thing")
        .map(stray)
        .into_iter()
        .chain(told(&unknown_named, "image").map(damaged))
        .chain(unfetched.and_then(|(keys, command)| {
            let named: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            Some(lacking(told(&named, "image")?, command))
        }))
        .collect()
}
