//! Which images and disks of the file are meant by a name: on the command line and in steps, where
//! it may be a pattern, and in `needs`.

use globset::Glob;
use storekit::Platform;
use toml::Spanned;

use crate::config::fault::Fault;
use toolkit::nearest::question;

/// Whether the name is one of these, or a pattern of one.
pub(crate) fn is_meant(name: &str, own: &[&String]) -> bool {
    let is_pattern = name.contains(['*', '?', '[', '{']);
    let glob = is_pattern.then(|| Glob::new(name).ok()).flatten().map(|glob| glob.compile_matcher());
    own.iter().any(|own| *own == name || glob.as_ref().is_some_and(|glob| glob.is_match(own.as_str())))
}

/// The names that images and disks of the file have for one another.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) images: Vec<Called>,
    pub(crate) disks: Vec<String>,
}

/// Those of one image: its own, that of its table, and that without the platform.
pub(crate) struct Called {
    pub(crate) names: [String; 3],
    pub(crate) platform: Platform,
}

impl Called {
    fn own(&self) -> &String {
        let [own, ..] = &self.names;
        own
    }

    fn plain(&self) -> &String {
        let [.., plain] = &self.names;
        plain
    }

    fn is_called(&self, name: &String) -> bool {
        self.names.contains(name)
    }
}

impl Names {
    /// The images, or the disk, that the one called `of` needs under this name.
    pub(crate) fn needed(
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
            return Err(self.nothing(name, "name an image or a disk of this file"));
        }
        not_itself(images, name, of)
    }

    /// The images that the one called `of` takes under this name.
    pub(crate) fn images(
        &self,
        name: &Spanned<String>,
        of: &str,
        platform: &Platform,
    ) -> Result<Vec<String>, Fault> {
        let images = self.meant(name.get_ref(), platform);
        if images.is_empty() { Err(self.no_image(name)) } else { not_itself(images, name, of) }
    }

    /// Refuses what is not the name of an image.
    pub(crate) fn has_image(&self, name: &Spanned<String>) -> Result<(), Fault> {
        let has = self.images.iter().any(|image| image.is_called(name.get_ref()));
        if has { Ok(()) } else { Err(self.no_image(name)) }
    }

    /// Refuses what is neither the name of an image or a disk, nor a pattern of one.
    pub(crate) fn has(&self, name: &Spanned<String>) -> Result<(), Fault> {
        let names = self.images.iter().flat_map(|image| &image.names).chain(&self.disks);
        if is_meant(name.get_ref(), &names.collect::<Vec<_>>()) {
            return Ok(());
        }
        Err(self.nothing(name, "name an image or a disk of this file, or a pattern such as `web-*`"))
    }

    /// The image of that name, or all of a matrix; of several platforms those of `platform`, where
    /// there is one.
    fn meant(&self, name: &String, platform: &Platform) -> Vec<String> {
        let is_other = |one: &Called| {
            let is_sibling = |other: &Called| other.plain() == one.plain() && other.platform == *platform;
            one.own() != name && one.platform != *platform && self.images.iter().any(is_sibling)
        };
        let meant = self.images.iter().filter(|one| one.is_called(name) && !is_other(one));
        meant.map(|one| one.own().clone()).collect()
    }

    fn no_image(&self, name: &Spanned<String>) -> Fault {
        let meant = question(name.get_ref(), self.images.iter().map(|one| one.own().as_str()));
        let help = format!("{meant}name an image of this file");
        Fault::new(format!("there is no image `{}`", name.get_ref()), name.span(), help)
    }

    fn nothing(&self, name: &Spanned<String>, help: &str) -> Fault {
        let known = self.images.iter().map(Called::own).chain(&self.disks).map(String::as_str);
        let help = format!("{}{help}", question(name.get_ref(), known));
        Fault::new(format!("there is no image or disk `{}`", name.get_ref()), name.span(), help)
    }
}

fn not_itself(needed: Vec<String>, name: &Spanned<String>, of: &str) -> Result<Vec<String>, Fault> {
    if needed.iter().any(|needed| needed == of) {
        return Err(Fault::new(format!("`{of}` needs itself"), name.span(), "name another one"));
    }
    Ok(needed)
}
