//! The names of baked images in registries: which there would be, and giving them.

use std::io::Write;

use miette::{IntoDiagnostic, WrapErr};
use toolkit::Outcome;

use super::error::BakeError;
use super::options::Options;
use super::order::feeds::is_output;
use crate::config::Project;
use crate::config::chosen::chosen_images;
use crate::config::image::Image;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;
use crate::tags::commit::difference;
use crate::tags::plan::{Becomes, TagError, odd_git_tag, write};
use crate::tags::push::Tagger;

/// What is said where no profile's `when` fits.
pub(crate) const NO_PROFILE: &str = "no profile of larder.toml is for this build (`--profile` names one)";

/// Lists what becomes of the names of the profile's rules. Changes nothing. `No` where none would
/// be given since files differ from the git commit.
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
            (Some(profile), _) if options.route.forbids_tags => {
                format!("LARDER_READ_ONLY or the user's own settings forbid those of the profile `{profile}`")
            }
            (Some(profile), _) => format!("the profile `{profile}` has no `tags`"),
            (None, true) => "larder.toml has no `[profile.NAME]` with `tags`".to_owned(),
            (None, false) => NO_PROFILE.to_owned(),
        };
        runner.tell(&format!("no names in registries: {why}"));
    }
    warn_of_git_tag(options, runner);
    let mut planned = tagger(options, tools, runner).plan(names(&images).into_iter())?;
    let wanted = || planned.iter().any(|planned| planned.becomes == Becomes::Pushed);
    let why = if wanted() { withheld(project, options, (tools, runner))? } else { None };
    if let Some(why) = &why {
        runner.tell(&format!("warning: no image would be tagged: {why}"));
        for planned in planned.iter_mut().filter(|planned| planned.becomes == Becomes::Pushed) {
            (planned.becomes, planned.why) =
                (Becomes::Absent, Some("files differ from the git commit".to_owned()));
        }
    }
    write(&planned, as_json, out).into_diagnostic().wrap_err("cannot write the list")?;
    Ok(Outcome::from_bool(why.is_none()))
}

/// Refuses names that no engine would take, before anything is baked.
///
/// # Errors
/// [`TagError::Unfit`].
pub(crate) fn can_be_made(
    project: &Project,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
) -> Result<(), TagError> {
    if gives_none(options) {
        return Ok(());
    }
    // An unknown name is told of where images are chosen.
    let Ok(images) = chosen_images(project, &options.names) else { return Ok(()) };
    tagger(options, tools, runner).can_be_made(names(&images).into_iter())
}

/// Whether the run gives no names, whatever becomes of the images.
fn gives_none(options: &Options) -> bool {
    options.route.tags.is_empty() || options.no_image_cache || options.from_scratch
}

/// Gives the images that were asked for their names in registries; `keys` has what each is stored
/// under. `say` hears a line for each name.
///
/// # Errors
/// [`TagError`]. Where one of the names cannot be made, or one of the images is not stored, none is
/// given. `No` where none is given since files differ from the git commit.
pub(super) fn push(
    project: &Project,
    keys: &[(String, Option<String>)],
    options: &Options,
    (tools, runner): (&Tools, &Runner),
    say: &mut dyn FnMut(&str),
) -> Result<Outcome, TagError> {
    if gives_none(options) {
        return Ok(Outcome::Yes);
    }
    let Ok(images) = chosen_images(project, &options.names) else { return Ok(Outcome::Yes) };
    let tagger = tagger(options, tools, runner);
    if tagger.may_give(names(&images).into_iter())
        && let Some(why) = withheld(project, options, (tools, runner))?
    {
        runner.tell(&format!("warning: no image is tagged: {why}"));
        return Ok(Outcome::No);
    }
    let key = |image: &str| {
        let key = keys.iter().find(|(name, _)| name == image).and_then(|(_, key)| key.clone());
        key.ok_or_else(|| TagError::Unsaved { image: image.to_owned() })
    };
    let keys = names(&images).into_iter().map(|image| Ok((image, key(image)?)));
    let keys = keys.collect::<Result<Vec<_>, TagError>>()?;
    warn_of_git_tag(options, runner);
    let planned = tagger.plan(keys.iter().map(|(image, _)| *image))?;
    tagger.give(&keys, &planned, say)?;
    Ok(Outcome::Yes)
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
    let given = push(project, &keys, options, (tools, runner), &mut |line| {
        let before = std::mem::replace(&mut written, Ok(()));
        written = before.and_then(|()| writeln!(out, "{line}"));
    })?;
    written.map_err(BakeError::Report)?;
    Ok(given)
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

/// Why no name may be given, whatever becomes of it: it would not name what was built. A CI says
/// itself what it builds.
fn withheld(
    project: &Project,
    options: &Options,
    (tools, runner): (&Tools, &Runner),
) -> Result<Option<String>, RunError> {
    if !options.occasion.is_local {
        return Ok(None);
    }
    difference(&project.images, &|path| is_output(path, project), (tools, runner))
}
