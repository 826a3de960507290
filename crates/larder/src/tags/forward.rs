//! Whether a name moves on: only to a version that is the highest of all that share the name.
//!
//! A release of an older series (a backport) leaves `latest` alone. A pre-release, and a build of
//! no version at all, leave all names alone that move.

use crate::config::tiers::profile::Rule;
use crate::config::tiers::template::{Template, Values, repository};
use crate::config::tiers::version::Version;

/// What becomes of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// It is this build's.
    Here,
    /// A higher version has it.
    Stays(Version),
    /// What is built is a pre-release.
    Prerelease,
    /// What is built has no version: a branch, or a git tag that names none.
    Unversioned,
}

/// What becomes of the rule's name. `there`: the names that stand in its repository, in full;
/// `rules`: all of the profile's.
pub(crate) fn judge(rule: &Rule, rules: &[Rule], values: &Values, there: &[String]) -> Move {
    if !rule.forward {
        return Move::Here;
    }
    let Some(own) = &values.version else { return Move::Unversioned };
    if own.is_prerelease() {
        return Move::Prerelease;
    }
    let highest = versions(rules, values, there).filter(|version| shares(&rule.name, version, values)).max();
    highest.filter(|highest| highest > own).map_or(Move::Here, Move::Stays)
}

/// The full names of a version in the repository.
pub(crate) fn name_of(version: &Version, beside: &str, rules: &[Rule], values: &Values) -> Option<String> {
    let values = Values { version: Some(version.clone()), ..values.clone() };
    let tells = rules.iter().filter(|rule| !rule.forward && rule.name.has_version());
    tells.filter_map(|rule| rule.name.fill(&values).ok()).find(|name| repository(name) == repository(beside))
}

/// The released versions that stand there.
fn versions<'a>(
    rules: &'a [Rule],
    values: &'a Values,
    there: &'a [String],
) -> impl Iterator<Item = Version> + 'a {
    let telling = rules.iter().filter(|rule| !rule.forward && rule.name.has_version());
    let versions =
        telling.flat_map(move |rule| there.iter().filter_map(move |name| rule.name.version_in(name, values)));
    versions.filter(|version| !version.is_prerelease())
}

/// Whether the version would have the same name.
fn shares(name: &Template, version: &Version, values: &Values) -> bool {
    let others = Values { version: Some(version.clone()), ..values.clone() };
    name.fill(&others) == name.fill(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<Rule> {
        let rule = |text: &str, forward| {
            let name = Template::parse(&format!("r.example/{{image}}:{text}")).expect("a template");
            Rule { name, forward }
        };
        vec![rule("v{version}", false), rule("{minor}", true), rule("{major}", true), rule("latest", true)]
    }

    /// What becomes of `X.Y`, `X` and `latest` when the version is built and these are there.
    fn moves(version: &str, there: &[&str]) -> [bool; 3] {
        let values =
            Values { image: "app".into(), version: Version::of_git_tag(version), ..Values::default() };
        let there: Vec<_> = there.iter().map(|tag| format!("r.example/app:{tag}")).collect();
        let rules = rules();
        [1, 2, 3].map(|at| judge(&rules[at], &rules, &values, &there) == Move::Here)
    }

    #[test]
    fn names_move_forward_only() {
        for (version, there, expected) in [
            // The first release has all names.
            ("v0.1.0", &[][..], [true, true, true]),
            ("v1.2.4", &["v1.2.3", "latest", "1.2", "1"], [true, true, true]),
            // The same again is no step back.
            ("v1.2.3", &["v1.2.3", "latest"], [true, true, true]),
            // A backport has its own series alone.
            ("v1.1.9", &["v1.1.8", "v1.2.3"], [true, false, false]),
            ("v1.9.0", &["v1.8.0", "v2.0.0"], [true, true, false]),
            ("v1.1.1", &["v1.1.2"], [false, false, false]),
            // Numbers, not texts.
            ("v1.10.0", &["v1.9.0"], [true, true, true]),
            ("v1.9.0", &["v1.10.0"], [true, false, false]),
            // A pre-release moves nothing, and holds nothing back.
            ("v2.0.0-rc.1", &["v1.9.0"], [false, false, false]),
            ("v1.9.1", &["v2.0.0-rc.1", "v1.9.0"], [true, true, true]),
            // What is no version says nothing.
            ("v1.0.0", &["nightly", "v9", "9.9.9", "vX.Y.Z"], [true, true, true]),
        ] {
            assert_eq!(moves(version, there), expected, "{version} where there are {there:?}");
        }
    }

    #[test]
    fn a_build_without_a_version_moves_no_name_forward() {
        let rules = rules();
        for (git_tag, there) in [
            ("", &["r.example/app:v2.0.0".to_owned()][..]),
            ("", &[]),
            ("notsemver", &[]),
            ("release-5.0.0", &[]),
            ("v3", &[]),
            ("v1.2", &[]),
        ] {
            let values =
                Values { image: "app".into(), version: Version::of_git_tag(git_tag), ..Values::default() };
            assert_eq!(judge(&rules[3], &rules, &values, there), Move::Unversioned, "{git_tag}");
        }
    }

    #[test]
    fn a_name_that_moves_always_moves_always() {
        let rule =
            Rule { name: Template::parse("r.example/{image}:dev").expect("a template"), forward: false };
        let values = Values { version: Version::of_git_tag("v1.0.0"), ..Values::default() };
        let there = ["r.example/app:v2.0.0".to_owned()];
        assert_eq!(judge(&rule, &rules(), &values, &there), Move::Here);
    }

    #[test]
    fn the_winner_has_a_name() {
        let version = Version::of_git_tag("v1.2.3").expect("a version");
        let values = Values { image: "app".into(), ..Values::default() };
        let name = name_of(&version, "r.example/app:latest", &rules(), &values);
        assert_eq!(name.as_deref(), Some("r.example/app:v1.2.3"));
    }
}
