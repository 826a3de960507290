//! What is built, and what for: a branch, a tag, a pull request; as the CI says, else as git does.

mod ci;

use std::collections::BTreeMap;

use globset::Glob;
use miette::Diagnostic;
use thiserror::Error;

use crate::config::tiers::profile::{Profile, When};
use crate::config::tiers::version::Version;
use crate::process::command::Cmd;
use crate::process::runner::{Runner, code};
use toolkit::nearest::question;

/// The variable that names the profile.
pub const PROFILE_VARIABLE: &str = "LARDER_PROFILE";

/// What is built, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// `push`, `pull_request`, `schedule`, `manual`, `release`, or what the CI calls it; nothing
    /// where no CI says anything.
    pub event: Option<String>,
    /// The branch. None for a pull request: whoever opens one chooses what its branch is called.
    pub branch: Option<String>,
    /// The git tag.
    pub tag: Option<String>,
    /// The commit.
    pub sha: Option<String>,
    /// Whether git alone has said it.
    pub is_local: bool,
    /// Why git has told neither branch nor tag.
    pub untold: Option<Untold>,
}

/// Why git tells neither branch nor tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// In words.
    pub why: String,
    /// Whether there may be one all the same.
    pub is_trouble: bool,
}

impl Occasion {
    /// As the CI's variables say, else as git does in the runner's folder. Of a repository without
    /// a commit, or without git, nothing is known.
    #[must_use]
    pub fn find(variables: &BTreeMap<String, String>, runner: &Runner) -> Self {
        let get = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let lines = |args: &[&str]| {
            let (status, said) = runner.ask(&Cmd::new("git").args(args.iter().copied())).ok()?;
            status.success().then(|| String::from_utf8_lossy(&said).into_owned())
        };
        let ask = |args: &[&str]| {
            let said = lines(args)?.lines().next().unwrap_or_default().trim().to_owned();
            (!said.is_empty()).then_some(said)
        };
        let head = || ask(&["rev-parse", "--verify", "-q", "HEAD"]);
        if let Some(told) = ci::occasion(&get) {
            return Self { sha: told.sha.clone().or_else(head), ..told };
        }
        let sha = head();
        let tag = || highest(&lines(&["tag", "--points-at", "HEAD", "--sort=-version:refname"])?);
        let tag = sha.is_some().then(tag).flatten();
        let branch = || ask(&["symbolic-ref", "-q", "--short", "HEAD"]);
        let branch = if tag.is_some() { None } else { branch() };
        let is_told = sha.is_some() && (branch.is_some() || tag.is_some());
        let untold = if is_told { None } else { Some(untold(sha.is_some(), runner)) };
        Self { event: None, branch, tag, sha, is_local: true, untold }
    }

    /// Why no more is known of it, to be put behind a sentence; empty where all is known.
    #[must_use]
    pub fn because(&self) -> String {
        self.untold.as_ref().map(|untold| format!(": {}", untold.why)).unwrap_or_default()
    }
}

/// Why git, asked in the runner's folder, does not tell a branch, a tag or a commit.
fn untold(has_commit: bool, runner: &Runner) -> Untold {
    // Its words are looked at.
    let line = "LC_ALL=C git rev-parse --is-shallow-repository 2>&1";
    let answer = runner.ask(&Cmd::new("sh").args(["-c", line]));
    let (code, said) = answer.map_or((None, Vec::new()), |(status, said)| (code(status), said));
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().next().unwrap_or_default();
    let (why, is_trouble) = match code {
        None | Some(126 | 127) => ("git cannot be run".to_owned(), true),
        Some(0) if !has_commit => ("the git repository has no commit".to_owned(), false),
        Some(0) if first == "true" => {
            let why = "git is at a commit of no branch and no tag; the clone is shallow, and may lack its tags (`git fetch --tags`)";
            (why.to_owned(), false)
        }
        Some(0) => ("git is at a commit of no branch and no tag".to_owned(), false),
        Some(_) if first.contains("not a git repository") => {
            ("the folder is in no git repository".to_owned(), false)
        }
        Some(_) => {
            let first = first.strip_prefix("fatal: ").unwrap_or(first);
            (format!("git says: {}", storekit::printable(first)), true)
        }
    };
    Untold { why, is_trouble }
}

/// Of the tags of a commit, a line each, the one with the highest version, else the first.
fn highest(tags: &str) -> Option<String> {
    let tags = || tags.lines().map(str::trim).filter(|tag| !tag.is_empty());
    let versions = tags().filter_map(|tag| Some((Version::of_git_tag(tag)?, tag)));
    // git's own order has `v1.0.0-rc.1` above `v1.0.0`.
    let highest = versions.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, tag)| tag);
    highest.or_else(|| tags().next()).map(str::to_owned)
}

/// Why no profile can be chosen.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ProfileError {
    #[error("larder.toml has no profile `{name}`, which {by} names")]
    #[diagnostic(code(larder::no_profile))]
    Unknown {
        name: String,
        by: &'static str,
        #[help]
        help: String,
    },

    #[error("this build is one of the profile `{one}` and of `{other}`")]
    #[diagnostic(
        code(larder::two_profiles),
        help("say `--profile NAME`, or give one of them the smaller `trust`: that one counts then")
    )]
    Several { one: String, other: String },
}

/// The profile of this build: the one that is named, else the one whose `when` fits, of several the
/// one that is trusted least; else the one without `when`.
///
/// # Errors
/// [`ProfileError`].
pub fn choose<'a>(
    profiles: &'a [Profile],
    named: Option<(&str, &'static str)>,
    occasion: &Occasion,
) -> Result<Option<&'a Profile>, ProfileError> {
    if let Some((name, by)) = named {
        let found = profiles.iter().find(|profile| profile.name == name);
        return found.map(Some).ok_or_else(|| ProfileError::Unknown {
            name: name.to_owned(),
            by,
            help: unknown(name, profiles),
        });
    }
    let fits = |profile: &&Profile| profile.when != When::default() && profile.when.fits(occasion);
    let fitting: Vec<_> = profiles.iter().filter(fits).collect();
    let Some(least) = fitting.iter().map(|profile| profile.trust).min() else {
        return Ok(profiles.iter().find(|profile| profile.when == When::default()));
    };
    let mut least = fitting.into_iter().filter(|profile| profile.trust == least);
    match (least.next(), least.next()) {
        (Some(one), Some(other)) => {
            Err(ProfileError::Several { one: one.name.clone(), other: other.name.clone() })
        }
        (one, _) => Ok(one),
    }
}

fn unknown(name: &str, profiles: &[Profile]) -> String {
    if profiles.is_empty() {
        return "write `[profile.NAME]`; `larder reference` has its keys".to_owned();
    }
    let names = profiles.iter().map(|profile| profile.name.as_str());
    let list: Vec<_> = names.clone().map(|name| format!("`{name}`")).collect();
    format!("{}it has {}", question(name, names), list.join(", "))
}

impl When {
    /// Whether the build is one of those.
    fn fits(&self, occasion: &Occasion) -> bool {
        let fits = |patterns: &[String], value: &Option<String>| {
            patterns.is_empty()
                || value.as_ref().is_some_and(|value| patterns.iter().any(|pattern| is_like(pattern, value)))
        };
        fits(&self.event, &occasion.event)
            && fits(&self.branch, &occasion.branch)
            && fits(&self.tag, &occasion.tag)
    }
}

/// Whether the pattern of a profile's `when` fits.
pub(crate) fn is_like(pattern: &str, value: &str) -> bool {
    Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, trust: u8, event: &str, branch: &str, tag: &str) -> Profile {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let when = When { event: words(event), branch: words(branch), tag: words(tag) };
        let (tags, also_read) = (Vec::new(), Vec::new());
        Profile { name: name.into(), when, trust, read: Vec::new(), write: Vec::new(), tags, also_read }
    }

    fn occasion(event: &str, branch: &str, tag: &str) -> Occasion {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Occasion { event: some(event), branch: some(branch), tag: some(tag), ..Occasion::default() }
    }

    #[track_caller]
    fn chooses(profiles: &[Profile], occasion: &Occasion, name: Option<&str>) {
        let chosen = choose(profiles, None, occasion).expect("one at most");
        assert_eq!(chosen.map(|profile| profile.name.as_str()), name, "{occasion:?}");
    }

    #[test]
    fn of_several_tags_the_highest_version_is_built() {
        for (tags, tag) in [
            ("v1.0.0-rc.1\nv1.0.0\n", Some("v1.0.0")),
            ("website-2\nv1.10.0\nv1.9.0\nv1\n", Some("v1.10.0")),
            ("website-2\nnightly\n", Some("website-2")),
            ("", None),
        ] {
            assert_eq!(highest(tags).as_deref(), tag, "{tags}");
        }
    }

    #[test]
    fn the_profile_is_the_one_that_fits() {
        let all = [
            profile("pr", 0, "pull_request", "", ""),
            profile("dev", 1, "", "dev release/*", ""),
            profile("release", 2, "", "", "v*.*.*"),
            profile("else", 0, "", "", ""),
        ];
        chooses(&all, &occasion("pull_request", "", ""), Some("pr"));
        chooses(&all, &occasion("push", "dev", ""), Some("dev"));
        chooses(&all, &occasion("push", "release/1.x", ""), Some("dev"));
        chooses(&all, &occasion("push", "", "v1.2.3"), Some("release"));
        chooses(&all, &occasion("push", "topic", ""), Some("else"));
        chooses(&all[..3], &occasion("push", "topic", ""), None);
        // What is trusted less counts where two fit.
        chooses(&all, &occasion("pull_request", "dev", ""), Some("pr"));
    }

    #[test]
    fn two_that_fit_alike_are_an_error() {
        let all = [profile("a", 1, "push", "", ""), profile("b", 1, "", "main", "")];
        let error = choose(&all, None, &occasion("push", "main", "")).expect_err("two");
        assert!(matches!(error, ProfileError::Several { .. }));
    }

    #[test]
    fn a_named_profile_counts_whatever_is_built() {
        let all = [profile("pr", 0, "pull_request", "", ""), profile("release", 2, "", "", "v*")];
        let chosen = choose(&all, Some(("release", "`--profile`")), &occasion("pull_request", "", ""));
        assert_eq!(chosen.expect("it is there").map(|profile| profile.name.as_str()), Some("release"));
        let error =
            choose(&all, Some(("relaese", PROFILE_VARIABLE)), &Occasion::default()).expect_err("none");
        assert!(format!("{:?}", miette::Report::from(error)).contains("release"));
    }
}
