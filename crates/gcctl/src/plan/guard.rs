//! What is not done without `--force`.

use storekit::ByteSize;

use crate::limits::Why;
use crate::matcher::Matcher;
use crate::plan::{Eviction, Plan};

/// How many go, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many go.
    pub lost: u64,
    /// Of how many.
    pub of: u64,
    /// The bytes that go with them.
    pub bytes: u64,
}

impl Share {
    fn is_most(self) -> bool {
        self.lost * 2 > self.of
    }
}

/// Why what goes for a limit is not removed without `--force`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The limit that asks for it.
    pub why: Why,
    /// The limit as written, where its unit may have been forgotten: all that goes for it is meant
    /// then, and else what is lost for good.
    pub bare: Option<ByteSize>,
    /// Whether the images can be brought back.
    pub into_trash: bool,
    /// The images.
    pub images: Share,
    /// The packages.
    pub packages: Share,
    /// The bytes of the trash that could be brought back now.
    pub trash: u64,
}

impl Plan {
    /// Why the plan needs `--force`: a limit of bytes whose unit may have been forgotten, or one
    /// that would delete all images or packages, or more than half of them, for good. What goes
    /// into the trash can be brought back, and `clean` says what it wants. Of several limits it is
    /// the tightest of bytes.
    #[must_use]
    pub fn objection(&self) -> Option<Objection> {
        self.objection_to(self.lost_packages())
    }

    /// The same where nobody is there to be asked: packages can be had again, and the limit stands
    /// in the settings.
    fn objection_alone(&self) -> Option<Objection> {
        self.objection_to((Why::PackagesMaxSize, Share::default()))
    }

    /// The same for a place that has no trash, and whose limits of age and count say what they
    /// want.
    #[must_use]
    pub fn objection_of_bytes(&self) -> Option<Objection> {
        self.objection().filter(|it| it.bare.is_some() || it.why.is_of_bytes())
    }

    fn objection_to(&self, (of_packages, packages): (Why, Share)) -> Option<Objection> {
        if let Some((why, size)) = self.limits.without_unit() {
            let taken = self.taken_for(why);
            return Some(Objection { bare: Some(size), ..taken });
        }
        let (of_images, images) = self.lost_images();
        if !images.is_most() && !packages.is_most() {
            return None;
        }
        let why = if images.is_most() { of_images } else { of_packages };
        // A limit of packages takes no image.
        let takes_images = images.is_most() || why.leaves_no_trash();
        let images = if takes_images { images } else { Share::default() };
        let trash = self.emptied_for(why);
        Some(Objection { why, bare: None, into_trash: false, images, packages, trash })
    }

    /// The plan without what goes for limits that need `--force`, and what is objected to each.
    #[must_use]
    pub fn guarded(&self) -> (Self, Vec<Objection>) {
        self.guarded_by(Self::objection)
    }

    /// The same for a run in the background.
    #[must_use]
    pub fn guarded_alone(&self) -> (Self, Vec<Objection>) {
        self.guarded_by(Self::objection_alone)
    }

    fn guarded_by(&self, objection: fn(&Self) -> Option<Objection>) -> (Self, Vec<Objection>) {
        let (mut plan, mut held) = (self.clone(), Vec::new());
        // Each round has one limit fewer.
        while let Some(objection) = objection(&plan) {
            plan = plan.without(objection.why);
            held.push(objection);
        }
        (plan, held)
    }

    /// The plan without a limit, and without what goes for it. Where it alone left no room
    /// in the trash, what goes for others is moved there.
    fn without(&self, why: Why) -> Self {
        let mut plan = Self {
            limits: self.limits.without(why),
            images: self.images_where(|it| it.why != why).cloned().collect(),
            packages: self.packages.without(why),
            trash: self.trash.iter().filter(|it| it.why != why).cloned().collect(),
            shred: self.shred && (!why.leaves_no_trash() || self.limits.grace().is_zero()),
            ..self.clone()
        };
        plan.left.images = self.all_images().saturating_sub(plan.going());
        plan.left.packages = self.all_packages().saturating_sub(plan.packages.len() as u64);
        plan
    }

    /// What goes for a limit, and no more.
    #[must_use]
    pub fn of_limit(&self, why: Why) -> Self {
        Self {
            time: self.time,
            limits: self.limits.clone(),
            images: self.images_where(|it| it.why == why).cloned().collect(),
            packages: self.packages.of_limit(why),
            trash: self.trash.iter().filter(|it| it.why == why).cloned().collect(),
            shred: self.shred,
            ..Self::default()
        }
    }

    /// These images, each with what refers to it, which stands behind it.
    fn images_where(&self, is_meant: impl Fn(&Eviction) -> bool) -> impl Iterator<Item = &Eviction> {
        let mut goes_with = true;
        self.images.iter().filter(move |it| {
            if it.why != Why::Subject {
                goes_with = is_meant(it);
            }
            goes_with
        })
    }

    fn taken_for(&self, why: Why) -> Objection {
        let own = self.of_limit(why);
        let is_of = |of_images: bool| match why {
            Why::PackagesMaxSize => !of_images,
            Why::Limit(place, _) => {
                let limit = self.limits.scoped.get(usize::from(place));
                limit.is_some_and(|limit| Matcher::new(&limit.of).is_of_images() == of_images)
            }
            _ => true,
        };
        let packages = own.packages.iter().fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
        let images = share(own.images.iter(), self.all_images());
        let packages = Share { lost: own.packages.len() as u64, of: self.all_packages(), bytes: packages };
        Objection {
            why,
            bare: None,
            into_trash: !(self.shred || why.leaves_no_trash()),
            images: if is_of(true) { images } else { Share::default() },
            packages: if is_of(false) { packages } else { Share::default() },
            trash: self.emptied_for(why),
        }
    }

    fn emptied_for(&self, why: Why) -> u64 {
        let own = self.trash.iter().filter(|it| it.why == why);
        own.fold(0, |sum: u64, it| sum.saturating_add(it.bytes))
    }

    fn all_images(&self) -> u64 {
        self.left.images.saturating_add(self.going())
    }

    fn all_packages(&self) -> u64 {
        self.left.packages.saturating_add(self.packages.len() as u64)
    }

    fn lost_images(&self) -> (Why, Share) {
        // A limit of bytes deletes what goes for another, too, and so does a trash that keeps
        // nothing.
        let is_lost = |it: &&Eviction| it.why.is_a_limit() && (self.shred || it.why.leaves_no_trash());
        let lost = || self.images.iter().filter(is_lost);
        let of_bytes = lost().map(|image| image.why).rfind(|why| why.leaves_no_trash());
        let tightest = if self.limits.allow(Why::MaxSize) { Why::MaxSize } else { Why::MinFree };
        let by_bytes = self.shred && !self.limits.grace().is_zero();
        let other = lost().next_back().map(|image| image.why).filter(|_| !by_bytes);
        (of_bytes.or(other).unwrap_or(tightest), share(lost(), self.all_images()))
    }

    fn lost_packages(&self) -> (Why, Share) {
        // What nobody asked for takes only what can be had again, and is not asked about.
        let is_asked_for = |why| !(why == Why::MinFree && self.limits.min_free_by_default);
        let is_lost = move |why: Why| why.is_a_limit() && is_asked_for(why);
        let lost = || self.packages.iter().filter(|package| is_lost(package.why));
        let share = Share {
            lost: lost().count() as u64,
            of: self.all_packages(),
            bytes: lost().fold(0, |sum: u64, package| sum.saturating_add(package.bytes)),
        };
        let tightest = lost().map(|it| it.why).filter(|why| why.is_of_bytes()).last();
        (tightest.or(lost().last().map(|it| it.why)).unwrap_or(Why::PackagesMaxSize), share)
    }
}

fn share<'a>(lost: impl Iterator<Item = &'a Eviction>, of: u64) -> Share {
    lost.fold(Share { of, ..Share::default() }, |sum, image| Share {
        lost: sum.lost + u64::from(image.subject.is_none()),
        bytes: sum.bytes.saturating_add(image.bytes),
        ..sum
    })
}
