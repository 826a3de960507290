//! `lock --check`: what has another digest in its place than in larder.lock.

use std::collections::BTreeSet;
use std::io::Write;

use toolkit::Outcome;

use super::Locks;
use super::look_up::Found;
use super::subjects::{named, remotes};
use crate::bake::error::BakeError;
use crate::bake::options::Options;
use crate::bake::order::pieces::{Piece, Remote, images};
use crate::config::names;
use crate::lock;
use crate::process::runner::Runner;
use crate::process::tools::Tools;

/// Says which images of the bake have another digest in their registry than in larder.lock, or none
/// there, a line each. `No` where there is one, else trouble where something could not be looked
/// up.
///
/// # Errors
/// A larder.lock that cannot be used; an interruption; a report that could not be written.
pub(in crate::bake) fn behind(
    pieces: &[Piece],
    options: &Options,
    tools: &Tools,
    runner: &Runner,
    out: &mut (impl Write + ?Sized),
) -> Result<Outcome, BakeError> {
    let mut locks = Locks::load(options, tools, runner)?;
    let mut behind = Vec::new();
    let mut unknown = Vec::new();
    let mut seen = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for one in images(pieces) {
        for name in named(one) {
            let full = names::full(&name);
            if !asked.insert((full.clone(), one.image.builder())) {
                continue;
            }
            let old = locks.file.get(&name, one.image.builder()).cloned();
            let found = locks.look_up(one, &name, old.as_ref(), true)?;
            let locked = old.map(|locked| locked.digest);
            match found {
                Found::Digest(now) | Found::OfEngine(now) | Found::Local(now)
                    if locked.as_ref() != Some(&now) =>
                {
                    // Two engines may say the same of it.
                    let line = (full, locked, now);
                    behind.extend((!behind.contains(&line)).then_some(line));
                }
                Found::Nothing => unknown.push(full),
                Found::Digest(_) | Found::OfEngine(_) | Found::Local(_) | Found::Unlocked => {}
            }
        }
        for Remote { address, is_repository, .. } in remotes(one) {
            if !seen.insert(address.clone()) {
                continue;
            }
            let locked = locks.file.source(address).map(|locked| locked.digest.clone());
            match lock::at_address(address, *is_repository, tools, runner)? {
                Some(now) if locked.as_ref() != Some(&now) => behind.push((address.clone(), locked, now)),
                Some(_) => {}
                None => unknown.push(address.clone()),
            }
        }
    }
    for (name, locked, now) in &behind {
        let locked = locked.as_deref().unwrap_or("not locked");
        writeln!(out, "{name}  {locked}  ->  {now}").map_err(BakeError::Report)?;
    }
    out.flush().map_err(BakeError::Report)?;
    for name in &unknown {
        locks.say("warning", &format!("`{name}` cannot be looked up now"));
    }
    Ok(match (behind.is_empty(), unknown.is_empty()) {
        (false, _) => Outcome::No,
        (true, false) => Outcome::Code(2),
        (true, true) => Outcome::Yes,
    })
}
