//! What keeps things although a limit asks for them.

use crate::limits::{Limits, Part, Why};
use crate::matcher::Matcher;
use crate::packages::View;
use crate::snapshot::Image;

/// Why an image stays whatever a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is pinned, or something that refers to it is.
    Pinned,
    /// It is one of the last used of its name (`keep-last`).
    Last,
    /// It is the newest of its name, and a limit of bytes cannot be met even without it.
    Newest,
    /// It would free no blob: others need all that it needs.
    Shared,
}

/// How much of what a limit is about stays for which reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Images that are pinned, and those with a pinned referrer.
    pub pinned: u64,
    /// Images that `keep-last` keeps, and no pin.
    pub last: u64,
    /// Images that stay because they are the newest of a name.
    pub newest: u64,
    /// Images that stay because they would free no blob.
    pub shared: u64,
    /// Packages that a pin holds.
    pub packages: u64,
    /// The bytes that stay in any case, where these keep something.
    pub reserved: Option<u64>,
}

impl Holds {
    /// Counts those of the images that stay, and of the packages that are held, that this limit is
    /// about.
    pub(super) fn count<'a>(
        why: Why,
        limits: &Limits,
        images: impl Iterator<Item = (&'a Image, Option<Hold>)>,
        packages: impl Iterator<Item = View<'a>>,
    ) -> Self {
        let is_about = About::new(why, limits);
        let mut holds = Self::default();
        for hold in images.filter(|(image, _)| is_about.image(image)).filter_map(|(_, hold)| hold) {
            match hold {
                Hold::Pinned => holds.pinned += 1,
                Hold::Last => holds.last += 1,
                Hold::Newest => holds.newest += 1,
                Hold::Shared => holds.shared += 1,
            }
        }
        holds.packages = packages.filter(|package| is_about.package(*package)).count() as u64;
        holds
    }
}

/// What a limit is about.
struct About<'a> {
    why: Why,
    has_disks_apart: bool,
    matcher: Option<Matcher<'a>>,
}

impl<'a> About<'a> {
    fn new(why: Why, limits: &'a Limits) -> Self {
        let scoped = match why {
            Why::Limit(place, _) => limits.scoped.get(usize::from(place)),
            _ => None,
        };
        let matcher = scoped.map(|limit| Matcher::new(&limit.of));
        Self { why, has_disks_apart: limits.max_disks.is_some(), matcher }
    }

    fn image(&self, image: &Image) -> bool {
        match self.why {
            Why::MaxDisks => image.is_disk,
            Why::MaxImages => !(self.has_disks_apart && image.is_disk),
            Why::MaxPerImage => image.name().is_some(),
            Why::PackagesMaxSize | Why::PackagesMaxAge | Why::ModelsMaxAge => false,
            Why::Limit(..) => self.matcher.as_ref().is_some_and(|matcher| matcher.takes_image(image)),
            _ => true,
        }
    }

    fn package(&self, package: View<'_>) -> bool {
        match self.why {
            Why::MaxSize | Why::MinFree | Why::PackagesMaxSize => true,
            Why::Limit(_, Part::Age) => false,
            Why::Limit(..) => self.matcher.as_ref().is_some_and(|matcher| matcher.takes_package(package)),
            _ => false,
        }
    }
}
