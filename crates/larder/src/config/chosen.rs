//! Which images and disks are meant by the names on the command line, in steps and in `needs`.

use globset::Glob;

use miette::Diagnostic;
use storekit::Platform;
use thiserror::Error;
use toml::Spanned;

use super::Project;
use super::disk::Disk;
use super::fault::Fault;
use super::image::Image;
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
        if !is_known(name, &project.images, &project.disks) {
            return Err(unknown(project, name));
        }
        let meant = project.images.iter().filter(|image| is_image(name, image));
        let new = meant.filter(|image| !images.contains(image)).collect::<Vec<_>>();
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

/// Whether the name is that of an image or a disk, or a pattern of one's.
pub(super) fn is_known(name: &str, images: &[Image], disks: &[Disk]) -> bool {
    images.iter().any(|image| is_image(name, image)) || disks.iter().any(|disk| is_meant(name, &[&disk.name]))
}

fn is_image(name: &str, image: &Image) -> bool {
    is_meant(name, &[&image.name, &image.group, &image.plain])
}

fn is_meant(name: &str, own: &[&String]) -> bool {
    let is_pattern = name.contains(['*', '?', '[', '{']);
    let glob = is_pattern.then(|| Glob::new(name).ok()).flatten().map(|glob| glob.compile_matcher());
    own.iter().any(|own| *own == name || glob.as_ref().is_some_and(|glob| glob.is_match(own.as_str())))
}

fn unknown(project: &Project, name: &str) -> ChosenError {
    let names =
        project.images.iter().map(|image| &image.name).chain(project.disks.iter().map(|disk| &disk.name));
    let known: Vec<_> = names.map(String::as_str).collect();
    let list: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let help = format!("{}it has {}", question(name, known), list.join(", "));
    ChosenError::NoImage { name: name.to_owned(), help }
}

/// The names by which one image or disk of the file may need another.
pub(super) struct Names {
    images: Vec<Named>,
    disks: Vec<String>,
}

struct Named {
    name: String,
    group: String,
    plain: String,
    platform: Platform,
}

impl Named {
    fn of(image: &Image) -> Self {
        let [name, group, plain] = [&image.name, &image.group, &image.plain].map(String::clone);
        Self { name, group, plain, platform: image.platform() }
    }
}

impl Names {
    /// Those of these images and disks.
    pub(super) fn new<'a>(
        images: impl Iterator<Item = &'a Image>,
        disks: impl Iterator<Item = &'a Disk>,
    ) -> Self {
        Self { images: images.map(Named::of).collect(), disks: disks.map(|disk| disk.name.clone()).collect() }
    }

    /// The images, or the disk, that the one called `of` needs under this name.
    pub(super) fn needed(
        &self,
        name: &Spanned<String>,
        of: &str,
        platform: &Platform,
    ) -> Result<Vec<String>, Fault> {
        if self.disks.contains(name.get_ref()) {
            return not_itself(vec![name.get_ref().clone()], name, of);
        }
        let images = self.meant(name.get_ref(), platform);
        if images.is_empty() {
            let known = self.images.iter().map(|one| &one.name).chain(&self.disks);
            let meant = question(name.get_ref(), known.map(String::as_str));
            let help = format!("{meant}name an image or a disk of this file");
            let message = format!("there is no image or disk `{}`", name.get_ref());
            return Err(Fault::new(message, name.span(), help));
        }
        not_itself(images, name, of)
    }

    /// The images that the one called `of` takes under this name.
    pub(super) fn images(
        &self,
        name: &Spanned<String>,
        of: &str,
        platform: &Platform,
    ) -> Result<Vec<String>, Fault> {
        let images = self.meant(name.get_ref(), platform);
        if images.is_empty() {
            let meant = question(name.get_ref(), self.images.iter().map(|one| one.name.as_str()));
            let help = format!("{meant}name an image of this file");
            return Err(Fault::new(format!("there is no image `{}`", name.get_ref()), name.span(), help));
        }
        not_itself(images, name, of)
    }

    /// The image of that name, or all of a matrix; of several platforms those of `platform`, where
    /// there is one.
    fn meant(&self, name: &String, platform: &Platform) -> Vec<String> {
        let is_other = |one: &Named| {
            let is_sibling = |other: &&Named| other.plain == one.plain && other.platform == *platform;
            let has_sibling = || self.images.iter().any(|other| is_sibling(&other));
            one.name != *name && one.platform != *platform && has_sibling()
        };
        let is_meant = |one: &&Named| [&one.name, &one.group, &one.plain].contains(&name) && !is_other(one);
        self.images.iter().filter(is_meant).map(|one| one.name.clone()).collect()
    }
}

fn not_itself(needed: Vec<String>, name: &Spanned<String>, of: &str) -> Result<Vec<String>, Fault> {
    if needed.iter().any(|needed| needed == of) {
        return Err(Fault::new(format!("`{of}` needs itself"), name.span(), "name another one"));
    }
    Ok(needed)
}
