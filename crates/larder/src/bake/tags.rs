//! The names of baked images in registries: which there would be, and giving them.

use std::io::Write;

use miette::{IntoDiagnostic, WrapErr};
use toolkit::Outcome;

use super::{BakeError, Options};
use crate::config::Project;
use crate::config::chosen::chosen_images;
use crate::config::image::Image;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;
use crate::tags::plan::{TagError, odd_git_tag, write};
use crate::tags::push::Tagger;

/// Lists what becomes of the names of the profile's rules. Changes nothing.
///
/// # Errors
/// An unknown name; [`TagError`]; a list that cannot be written.
pub(crate) fn list(
    project: &Project,
    options: &Options,
    as_json: bool,
    (tools, runner): (&Tools, &Runner),
    out: &mut (impl Write + ?Sized),
) -> miette::Result<Outcome> {
    let images = chosen_images(project, &options.names)?;
    if options.route.tags.is_empty() {
        let why = match (&options.route.profile, project.profiles.is_empty()) {
            (Some(profile), _) => format!("the profile `{profile}` has no `tags`"),
            (None, true) => "larder.toml has no `[profile.NAME]` with `tags`".to_owned(),
            (None, false) => "no profile of larder.toml is for this build; `--profile` names one".to_owned(),
        };
        runner.tell(&format!("no names in registries: {why}"));
    }
    warn_of_git_tag(options, runner);
    let planned = tagger(options, tools, runner).plan(names(&images).into_iter())?;
    write(&planned, as_json, out).into_diagnostic().wrap_err("cannot write the list")?;
    Ok(Outcome::Yes)
}

/// Gives the images that were asked for their names in registries; `keys` has what each is stored
/// under. `say` hears a line for each name.
///
/// # Errors
/// [`TagError`]. Where one of the names cannot be made, or one of the images is not stored, none is
/// given.
pub(super) fn push(
    project: &Project,
    keys: &[(String, Option<String>)],
    options: &Options,
    (tools, runner): (&Tools, &Runner),
    say: &mut dyn FnMut(&str),
) -> Result<(), TagError> {
    if options.route.tags.is_empty() || options.no_image_cache || options.from_scratch {
        return Ok(());
    }
    let Ok(images) = chosen_images(project, &options.names) else { return Ok(()) };
    if options.occasion.is_local && has_changes(runner)? {
        runner.tell("warning: no image is tagged: files differ from the git commit");
        return Ok(());
    }
    let key = |image: &str| {
        let key = keys.iter().find(|(name, _)| name == image).and_then(|(_, key)| key.clone());
        key.ok_or_else(|| TagError::Unsaved { image: image.to_owned() })
    };
    let keys = names(&images).into_iter().map(|image| Ok((image, key(image)?)));
    let keys = keys.collect::<Result<Vec<_>, TagError>>()?;
    warn_of_git_tag(options, runner);
    let tagger = tagger(options, tools, runner);
    let planned = tagger.plan(keys.iter().map(|(image, _)| *image))?;
    keys.iter().try_for_each(|(image, key)| tagger.push(image, key, &planned, say))
}

/// What is tagged: of the images for several platforms their index.
fn names<'i>(images: &[&'i Image]) -> Vec<&'i str> {
    let mut names: Vec<&str> = Vec::new();
    for image in images {
        if !names.contains(&image.plain.as_str()) {
            names.push(&image.plain);
        }
    }
    names
}

/// Gives all images of the project their names, by the keys that they have now. What is said is a
/// line for each.
///
/// # Errors
/// As those of a check, and [`TagError`].
pub(crate) fn give(
    project: &Project,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
    out: &mut dyn Write,
) -> Result<Outcome, BakeError> {
    let mut keys = Vec::new();
    let check = Options { check: true, names: Vec::new(), ..options.clone() };
    super::each(project, &check, tools, runner, |baked| {
        keys.push((baked.image.clone(), baked.key.clone().filter(|_| baked.saved)));
    })?;
    let mut written = Ok(());
    push(project, &keys, options, (tools, runner), &mut |line| {
        let before = std::mem::replace(&mut written, Ok(()));
        written = before.and_then(|()| writeln!(out, "{line}"));
    })?;
    written.map_err(BakeError::Report)?;
    Ok(Outcome::Yes)
}

fn tagger<'a>(options: &'a Options, tools: &'a Tools, runner: &'a Runner) -> Tagger<'a> {
    let store = options.store_flag.as_deref();
    Tagger { rules: &options.route.tags, occasion: &options.occasion, tools, runner, store }
}

fn warn_of_git_tag(options: &Options, runner: &Runner) {
    if let Some(odd) = odd_git_tag(&options.route.tags, &options.occasion) {
        runner.tell(&format!("warning: {odd}"));
    }
}

/// Whether files that git knows are not those of the commit.
fn has_changes(runner: &Runner) -> Result<bool, RunError> {
    let status = Cmd::new("git").args(["status", "--porcelain", "--untracked-files=no"]);
    match runner.ask(&status) {
        Ok((status, said)) => Ok(status.success() && !said.is_empty()),
        Err(error) if error.is_interruption() => Err(error),
        Err(_) => Ok(false),
    }
}
