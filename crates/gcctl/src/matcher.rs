//! Which images and packages a limit of some things is about.

use globset::GlobMatcher;
use toolkit::tables::{Kind, Selector};

use crate::limits::scoped::pattern;
use crate::packages::View;
use crate::snapshot::Image;

/// Tells which things are meant.
#[derive(Clone, Debug)]
pub struct Matcher<'a> {
    of: &'a Selector,
    names: Named,
}

/// Which names are meant.
#[derive(Clone, Debug)]
enum Named {
    Any,
    Like(GlobMatcher),
    /// The pattern is none, which only a plan that somebody wrote can say.
    None,
}

impl<'a> Matcher<'a> {
    /// Of these things.
    #[must_use]
    pub fn new(of: &'a Selector) -> Self {
        let like = |text: &String| pattern(text).map_or(Named::None, |it| Named::Like(it.compile_matcher()));
        Self { of, names: of.name.as_ref().map_or(Named::Any, like) }
    }

    fn is_named<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        match &self.names {
            Named::Any => true,
            Named::Like(pattern) => names.any(|name| pattern.is_match(name)),
            Named::None => false,
        }
    }

    /// Whether it is about images or disks.
    #[must_use]
    pub fn is_of_images(&self) -> bool {
        self.of.kind != Kind::Packages
    }

    /// Whether the image is meant: by its name in larder.toml, a name that a load restores, with
    /// its tag or without, or its key.
    #[must_use]
    pub fn takes_image(&self, image: &Image) -> bool {
        let kind = if image.is_disk { Kind::Disks } else { Kind::Images };
        let full = image.names.iter().map(String::as_str);
        let names = image.all_names().chain(full).chain([image.key.as_str()]);
        self.of.kind == kind && self.is_named(names)
    }

    /// Whether the package is meant: by its name, or its URL.
    #[must_use]
    pub fn takes_package(&self, package: View<'_>) -> bool {
        let of = self.of;
        if of.kind != Kind::Packages || of.ecosystem.as_ref().is_some_and(|it| it != package.ecosystem()) {
            return false;
        }
        // Its words are read only where they matter.
        matches!(self.names, Named::Any) || {
            let words = package.words();
            self.is_named(words.name.into_iter().chain([words.url]))
        }
    }
}
