//! Which tiers a run reads and writes, and what it tags.

use crate::config::Project;
use crate::config::tiers::profile::{Profile, Rule};
use crate::config::tiers::template::Template;
use crate::config::tiers::tier::Tier;

/// What a run may do beyond this machine's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The profile that says so; none where no profile is for this build.
    pub profile: Option<String>,
    /// The tiers that are asked, in this order.
    pub read: Vec<Tier>,
    /// The tiers that what is made goes to.
    pub write: Vec<Tier>,
    /// Where else an image is looked for.
    pub also_read: Vec<Template>,
    /// The names that images get in registries.
    pub tags: Vec<Rule>,
    /// Whether the user has forbidden the names that the profile has.
    pub forbids_tags: bool,
    /// Whether no image writes the engine's layers to registries, whatever it says.
    pub no_engine_cache: bool,
}

impl Route {
    /// What the profile says. One that is trusted with nothing writes no layers of the engine's,
    /// for every profile reads those. Where the file has tiers and no profile at all, all of them
    /// are read and none is written; where it has profiles and none is for this build, neither.
    /// `read_only` goes before all that the project says.
    #[must_use]
    pub fn of(project: &Project, profile: Option<&Profile>, read_only: bool) -> Self {
        let Some(profile) = profile else {
            let is_plain = project.profiles.is_empty();
            let read = if is_plain { project.tiers.clone() } else { Vec::new() };
            return Self { read, no_engine_cache: !is_plain || read_only, ..Self::default() };
        };
        let named = |names: &[String]| {
            let tier = |name: &String| project.tiers.iter().find(|tier| tier.name == *name).cloned();
            names.iter().filter_map(tier).collect()
        };
        let route = Self {
            profile: Some(profile.name.clone()),
            read: named(&profile.read),
            write: named(&profile.write),
            also_read: profile.also_read.clone(),
            tags: profile.tags.clone(),
            forbids_tags: read_only && !profile.tags.is_empty(),
            no_engine_cache: profile.trust == 0 || profile.write.is_empty(),
        };
        if read_only {
            Self { write: Vec::new(), tags: Vec::new(), no_engine_cache: true, ..route }
        } else {
            route
        }
    }

    /// Why nothing goes to a tier, where nothing does; `because`: why no more is known of the
    /// build.
    #[must_use]
    pub(crate) fn unwritten(&self, because: &str) -> Option<String> {
        self.write.is_empty().then(|| match &self.profile {
            Some(profile) => format!("the profile `{profile}` writes no tier"),
            None => format!("no profile is for this build, so no tier is written{because}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const FILE: &str = "[tier.team]\nstore = \"a\"\n[tier.far]\nstore = \"b\"\n";
    const PROFILE: &str =
        "[profile.dev]\nread = [\"far\", \"team\"]\nwrite = [\"team\"]\ntags = [\"r.example/{image}:dev\"]\n";

    fn names(tiers: &[Tier]) -> Vec<&str> {
        tiers.iter().map(|tier| tier.name.as_str()).collect()
    }

    #[test]
    fn without_a_profile_nothing_is_written() {
        let route = Route::of(&parse(FILE).expect("good"), None, false);
        assert_eq!((names(&route.read), names(&route.write)), (vec!["team", "far"], vec![]));
        let route = Route::of(&parse(&format!("{FILE}{PROFILE}")).expect("good"), None, false);
        assert_eq!(route, Route { no_engine_cache: true, ..Route::default() });
        assert!(!Route::of(&parse("").expect("good"), None, false).no_engine_cache);
        assert!(Route::of(&parse("").expect("good"), None, true).no_engine_cache);
    }

    #[test]
    fn a_profile_is_followed_and_capped() {
        let project = parse(&format!("{FILE}{PROFILE}")).expect("good");
        let route = Route::of(&project, project.profiles.first(), false);
        assert_eq!((names(&route.read), names(&route.write)), (vec!["far", "team"], vec!["team"]));
        assert_eq!((route.tags.len(), route.forbids_tags), (1, false));
        let capped = Route::of(&project, project.profiles.first(), true);
        assert_eq!((capped.read, capped.write.len(), capped.tags.len()), (route.read, 0, 0));
        assert!(capped.forbids_tags);
    }
}
