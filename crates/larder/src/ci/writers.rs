//! On which builds a profile writes a tier, as the conditions of a CI's jobs.
//!
//! Pure. A condition may hold where no tier is written, for no CI's conditions have all patterns of
//! larder.toml, and of two profiles it does not know which counts: `larder bake --to-tiers` finds
//! that out, and bakes nothing then. It never fails to hold where one is written.

use super::emit::Forge;
use crate::config::tiers::profile::{Profile, When};
use crate::occasion::{Occasion, choose, is_like};

/// On which builds a profile writes a tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Writes {
    /// On none that the workflow is started for.
    #[default]
    Never,
    /// Where this condition of the CI holds.
    Where(String),
    /// On all.
    Always,
}

impl Writes {
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Never, one) | (one, Self::Never) => one,
            (Self::Where(one), Self::Where(other)) if one == other => Self::Where(one),
            (Self::Where(one), Self::Where(other)) => Self::Where(format!("{one} || {other}")),
        }
    }
}

/// On which of the builds that the workflow is started for a profile writes: pushes and, on GitHub,
/// pull requests.
///
/// Sources: GitHub Actions, "Evaluate expressions in workflows"; GitLab CI/CD, "Specify when jobs
/// run with `rules`".
pub(super) fn writes(forge: Forge, profiles: &[Profile]) -> Writes {
    let writing = profiles.iter().filter(|profile| !profile.write.is_empty());
    let by_push = writing.map(|profile| of_push(forge, &profile.when)).fold(Writes::Never, Writes::or);
    if forge == Forge::GitLab {
        return by_push;
    }
    let own = "github.event_name == 'pull_request'";
    let other = "github.event_name != 'pull_request'";
    match (by_pull_request(profiles), by_push) {
        (false, Writes::Never) => Writes::Never,
        (false, Writes::Always) => Writes::Where(other.to_owned()),
        (false, Writes::Where(push)) => Writes::Where(format!("{other} && ({push})")),
        (true, Writes::Never) => Writes::Where(own.to_owned()),
        (true, Writes::Always) => Writes::Always,
        (true, Writes::Where(push)) => Writes::Where(format!("{own} || {push}")),
    }
}

/// The same, of one tier.
pub(super) fn writes_to(forge: Forge, profiles: &[Profile], tier: &str) -> Writes {
    let alone = |profile: &Profile| {
        let mut profile = profile.clone();
        profile.write.retain(|name| name == tier);
        profile
    };
    writes(forge, &profiles.iter().map(alone).collect::<Vec<_>>())
}

/// Neither branch nor tag counts there, so the profile is known.
fn by_pull_request(profiles: &[Profile]) -> bool {
    let occasion = Occasion { event: Some("pull_request".to_owned()), ..Occasion::default() };
    matches!(choose(profiles, None, &occasion), Ok(Some(profile)) if !profile.write.is_empty())
}

/// What else than a merge request leads to a pipeline of GitLab's, as `when.event` has it.
const EVENTS: [&str; 6] = ["push", "schedule", "manual", "pipeline", "parent_pipeline", "pages_deploy"];

fn of_push(forge: Forge, when: &When) -> Writes {
    let events = match forge {
        Forge::GitHub => &EVENTS[..1],
        Forge::GitLab => &EVENTS[..],
    };
    let is_of = |event: &&str| when.event.iter().any(|pattern| is_like(pattern, event));
    if !when.event.is_empty() && !events.iter().any(is_of) {
        return Writes::Never;
    }
    match (when.branch.as_slice(), when.tag.as_slice()) {
        ([], []) => Writes::Always,
        (branches, []) => Writes::Where(any(forge, "branch", branches)),
        ([], tags) => Writes::Where(any(forge, "tag", tags)),
        // No build is of both.
        _ => Writes::Never,
    }
}

/// Whether the name of the branch or tag is like one of the patterns.
fn any(forge: Forge, kind: &str, patterns: &[String]) -> String {
    let one = |pattern: &String| like(forge, kind, pattern);
    let mut terms = patterns.iter().map(one).collect::<Vec<_>>();
    terms.dedup();
    terms.join(" || ")
}

fn like(forge: Forge, kind: &str, pattern: &str) -> String {
    let Part { start, end, is_whole } = Part::of(pattern);
    match forge {
        Forge::GitHub => {
            let mut terms = vec![format!("github.ref_type == '{kind}'")];
            if is_whole {
                terms.push(format!("github.ref_name == '{start}'"));
            } else {
                let ends = [("startsWith", start), ("endsWith", end)];
                let ends = ends.into_iter().filter(|(_, text)| !text.is_empty());
                terms.extend(ends.map(|(how, text)| format!("{how}(github.ref_name, '{text}')")));
            }
            terms.join(" && ")
        }
        Forge::GitLab => {
            let name = if kind == "tag" { "$CI_COMMIT_TAG" } else { "$CI_COMMIT_BRANCH" };
            let escaped = |text: &str| text.replace('.', "\\.").replace('+', "\\+").replace('/', "\\/");
            match (start, end) {
                (start, _) if is_whole => format!("{name} == \"{start}\""),
                ("", "") => name.to_owned(),
                (start, end) => format!("{name} =~ /^{}.*{}$/", escaped(start), escaped(end)),
            }
        }
    }
}

/// What a name that is like a pattern begins and ends with: letters alone that mean themselves in
/// every CI's conditions.
struct Part<'p> {
    start: &'p str,
    end: &'p str,
    /// Whether `start` is all of it.
    is_whole: bool,
}

impl<'p> Part<'p> {
    fn of(pattern: &'p str) -> Self {
        let is_odd = |c: char| !(c.is_ascii_alphanumeric() || "._/-+@".contains(c));
        let (Some(first), Some(last)) = (pattern.find(is_odd), pattern.rfind(is_odd)) else {
            return Self { start: pattern, end: "", is_whole: true };
        };
        let start = pattern.get(..first).unwrap_or_default();
        let end = pattern.get(last..).unwrap_or_default().trim_start_matches(is_odd);
        // `**/x` is `x`, too.
        if pattern.contains("**") {
            let (start, end) = (start.trim_end_matches('/'), end.trim_start_matches('/'));
            return Self { start, end, is_whole: false };
        }
        Self { start, end, is_whole: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[track_caller]
    fn both(profiles: &str, github: &str, gitlab: &str) {
        let tiers = "[tier.team]\nstore = \"a\"\n[tier.pr]\nstore = \"b\"\n";
        let project = parse(&format!("{tiers}{profiles}")).expect("good");
        let told = |forge| match writes(forge, &project.profiles) {
            Writes::Never => "never".to_owned(),
            Writes::Always => "always".to_owned(),
            Writes::Where(condition) => condition,
        };
        assert_eq!((told(Forge::GitHub).as_str(), told(Forge::GitLab).as_str()), (github, gitlab));
    }

    #[test]
    fn a_condition_holds_for_the_builds_of_profiles_that_write() {
        let pr = "[profile.pr]\nwhen = { event = \"pull_request\" }\n";
        let dev = "[profile.dev]\nwhen = { branch = \"dev\" }\ntrust = 1\nwrite = [\"team\"]\n";
        let release =
            "[profile.release]\nwhen = { tag = [\"v*.*.*\", \"*-rc\"] }\ntrust = 2\nwrite = [\"team\"]\n";
        both(
            &format!("{pr}{dev}"),
            "github.event_name != 'pull_request' && (github.ref_type == 'branch' && github.ref_name == 'dev')",
            "$CI_COMMIT_BRANCH == \"dev\"",
        );
        both(
            &format!("{pr}write = [\"pr\"]\n{release}"),
            "github.event_name == 'pull_request' || github.ref_type == 'tag' && startsWith(github.ref_name, 'v') \
             || github.ref_type == 'tag' && endsWith(github.ref_name, '-rc')",
            "$CI_COMMIT_TAG =~ /^v.*$/ || $CI_COMMIT_TAG =~ /^.*-rc$/",
        );
        // The one without `when` is for all that no other one is for.
        let any = "[profile.any]\nwrite = [\"team\"]\n";
        both(any, "always", "always");
        both(&format!("{pr}{any}"), "github.event_name != 'pull_request'", "always");
        both(
            &format!("{dev}[profile.any]\n"),
            "github.event_name != 'pull_request' && (github.ref_type == 'branch' && github.ref_name == 'dev')",
            "$CI_COMMIT_BRANCH == \"dev\"",
        );
        both(pr, "never", "never");
        both(&format!("{pr}write = [\"pr\"]\n"), "github.event_name == 'pull_request'", "never");
        both("[profile.n]\nwhen = { event = \"schedule\" }\nwrite = [\"team\"]\n", "never", "always");
    }

    #[test]
    fn what_a_ci_cannot_say_is_left_out_of_the_condition() {
        let branch = |pattern: &str| {
            let quoted = serde_json::Value::from(pattern).to_string();
            format!("[profile.a]\nwhen = {{ branch = {quoted} }}\nwrite = [\"team\"]\n")
        };
        let push = "github.event_name != 'pull_request' && (github.ref_type == 'branch'";
        both(&branch("*"), &format!("{push})"), "$CI_COMMIT_BRANCH");
        both(
            &branch("it's"),
            &format!("{push} && startsWith(github.ref_name, 'it') && endsWith(github.ref_name, 's'))"),
            "$CI_COMMIT_BRANCH =~ /^it.*s$/",
        );
        both(
            &branch("**/fix"),
            &format!("{push} && endsWith(github.ref_name, 'fix'))"),
            "$CI_COMMIT_BRANCH =~ /^.*fix$/",
        );
        both(
            &branch("release/[0-9]/é+a"),
            &format!("{push} && startsWith(github.ref_name, 'release/') && endsWith(github.ref_name, '+a'))"),
            "$CI_COMMIT_BRANCH =~ /^release\\/.*\\+a$/",
        );
    }
}
