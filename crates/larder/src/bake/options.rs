//! What to bake, and how.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use toolkit::Engine;

use crate::occasion::Occasion;
use crate::tier::Route;

/// What to bake, and how.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line, and all combine")]
pub struct Options {
    /// The images' names; none means all.
    pub names: Vec<String>,
    /// Build from scratch, whatever the store has, and save over it.
    pub rebuild: bool,
    /// Build from scratch, and save nothing.
    pub from_scratch: bool,
    /// Build beside what is stored, and compare.
    pub prove: bool,
    /// Build nothing; say what would be built.
    pub check: bool,
    /// Neither ask the store nor save into it.
    pub no_image_cache: bool,
    /// Whether builds are not led to the package cache.
    pub no_package_cache: bool,
    /// Report as NDJSON.
    pub json: bool,
    /// Say of each image what its key cannot cover.
    pub doubts: bool,
    /// How many images are baked at a time; 0 is 1.
    pub jobs: usize,
    /// What builds, whatever larder.toml says.
    pub engine: Option<Engine>,
    /// The engines whose commands are there; where nobody names one, the first that answers builds.
    pub engines: Vec<Engine>,
    /// What is not in larder.lock is an error, and the file is not written.
    pub locked: bool,
    /// The images, or the names in Dockerfiles, whose digests are resolved anew; none means all.
    pub update: Option<Vec<String>>,
    /// Handed on to the tools as `--store`; absolute.
    pub store_flag: Option<Utf8PathBuf>,
    /// Whether a bake that saved something lets gcctl remove what is over the limits
    /// (`[gcctl] after-bake`).
    pub after_bake: bool,
    /// Whether else gcctl may do that in the background, where it finds that it should.
    pub in_background: bool,
    /// Where the store is by the settings; none where they name no place.
    pub store: Option<Utf8PathBuf>,
    /// This machine's name, to be kept beside what is saved.
    pub host: Option<String>,
    /// Whether a live view is drawn on stderr while several images are baked.
    pub live: bool,
    /// A file that a summary in Markdown is appended to.
    pub summary: Option<Utf8PathBuf>,
    /// Whether what would be built, or differs, is no reason to end otherwise than with 0.
    pub dry_run: bool,
    /// Whether tiers are asked for an earlier save of a miss also where the store has one.
    pub thorough: bool,
    /// The stored image that all others are compared with, in place of the nearest.
    pub against: Option<Against>,
    /// Which tiers are read and written, and what is tagged.
    pub route: Route,
    /// What is built, and what for.
    pub occasion: Occasion,
    /// The environment variables: secrets come from there.
    pub variables: BTreeMap<String, String>,
}

impl Options {
    /// The route, if images are looked for in stores and saved there at all.
    pub(super) fn route_of_bake(&self) -> Route {
        let by_itself = self.no_image_cache || self.from_scratch || self.prove;
        if by_itself { Route::default() } else { self.route.clone() }
    }

    /// The same, with no names for images in registries.
    #[must_use]
    pub(crate) fn untagged(&self) -> Self {
        Self { route: Route { tags: Vec::new(), ..self.route.clone() }, ..self.clone() }
    }
}

/// A stored image that others are compared with.
#[derive(Clone, Debug)]
pub struct Against {
    /// Its key.
    pub key: String,
    /// The manifest of its inputs.
    pub manifest: Vec<u8>,
    /// The tier that has it, where this machine's store is not meant.
    pub tier: Option<String>,
}
