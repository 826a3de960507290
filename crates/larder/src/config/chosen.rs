//! Which images and disks are meant by the names on the command line.

use miette::Diagnostic;
use thiserror::Error;

use super::Project;
use super::disk::Disk;
use super::image::Image;
use super::names::meant::is_meant;
use toolkit::nearest::question;

/// Why nothing is meant.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ChosenError {
    #[error("larder.toml has no image or disk `{name}`")]
    #[diagnostic(code(larder::no_image))]
    NoImage {
        name: String,
        #[help]
        help: String,
    },

    #[error("`larder.toml` names no image")]
    #[diagnostic(
        code(larder::no_images),
        help(
            "write `[image.NAME]`; with `context = \".\"` it builds the Dockerfile beside larder.toml; the services of compose files: \
             `larder bake --compose`"
        )
    )]
    NoImages,
}

/// The images of these names, each once; all of them where no name is given.
///
/// A name is that of an image, that of a table with a `matrix` or with `platforms`, or a pattern of
/// either.
///
/// # Errors
/// `NoImages`; `NoImage` for a name that is neither an image's nor a disk's.
pub fn chosen_images<'a>(project: &'a Project, names: &[String]) -> Result<Vec<&'a Image>, ChosenError> {
    if project.images.is_empty() && project.disks.is_empty() {
        return Err(ChosenError::NoImages);
    }
    if names.is_empty() {
        return Ok(project.images.iter().collect());
    }
    let mut images: Vec<&Image> = Vec::new();
    for name in names {
        let is_image = |image: &&Image| is_meant(name, &[&image.name, &image.group, &image.plain]);
        let meant: Vec<_> = project.images.iter().filter(is_image).collect();
        if meant.is_empty() && !project.disks.iter().any(|disk| is_meant(name, &[&disk.name])) {
            return Err(unknown(project, name));
        }
        let new = meant.into_iter().filter(|image| !images.contains(image)).collect::<Vec<_>>();
        images.extend(new);
    }
    Ok(images)
}

/// The disks of these names: all of them where no name is given.
#[must_use]
pub fn chosen_disks<'a>(project: &'a Project, names: &[String]) -> Vec<&'a Disk> {
    let is_chosen = |disk: &&Disk| names.is_empty() || names.iter().any(|name| is_meant(name, &[&disk.name]));
    project.disks.iter().filter(is_chosen).collect()
}

fn unknown(project: &Project, name: &str) -> ChosenError {
    let names =
        project.images.iter().map(|image| &image.name).chain(project.disks.iter().map(|disk| &disk.name));
    let known: Vec<_> = names.map(String::as_str).collect();
    let list: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let help = format!("{}it has {}", question(name, known), list.join(", "));
    ChosenError::NoImage { name: name.to_owned(), help }
}
