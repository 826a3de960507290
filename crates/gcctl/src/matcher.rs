//! Which images and packages a limit of some things is about.

use std::borrow::Cow;

use globset::GlobMatcher;
use storekit::Remark;
use storekit::image_name::{spellings, without_tag};
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

    fn is_named(&self, name: &str) -> bool {
        match &self.names {
            Named::Any => true,
            Named::Like(pattern) => pattern.is_match(name),
            Named::None => false,
        }
    }

    /// Whether it is about images or disks.
    #[must_use]
    pub fn is_of_images(&self) -> bool {
        self.of.kind != Kind::Packages
    }

    /// Whether the image is meant: by its name in larder.toml, a name that a load restores, in each
    /// of its spellings, with its tag or without, or its key.
    #[must_use]
    pub fn takes_image(&self, image: &Image) -> bool {
        let kind = if image.is_disk { Kind::Disks } else { Kind::Images };
        let mut own = image.origin.image.iter().map(Remark::as_str).chain([image.key.as_str()]);
        let mut names = image.names.iter().flat_map(|name| spellings(name));
        let is_named = |name: Cow<'_, str>| self.is_named(&name) || self.is_named(without_tag(&name));
        self.of.kind == kind && (own.any(|name| self.is_named(name)) || names.any(is_named))
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
            words.name.into_iter().chain([words.url]).any(|name| self.is_named(name))
        }
    }
}
