//! `[profile.NAME]`: which tiers a kind of build reads and writes, and what it tags.
//!
//! A place that a less trusted profile writes, as a tier or with its `tags`, is not read as a tier
//! by a more trusted one: what a pull request left there would end in a release. But one that takes
//! the images of another by their names (`also-read` of what the other tags) has said that it
//! trusts them, and may read its tiers.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::Utf8Path;
use globset::GlobBuilder;
use serde::Deserialize;
use toml::Spanned;

use super::place::{overlap, repositories};
use super::tier::{MACHINE, Place, Tier};
use crate::config::fault::Fault;
use crate::config::table::Words;
use crate::config::tiers::template::{Template, fault_of};
use toolkit::nearest::question;

/// One `[profile.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The table's name.
    pub name: String,
    /// For which builds it counts; without any condition, for those that no other one is for.
    pub when: When,
    /// Of two profiles the one with the smaller number is trusted less.
    pub trust: u8,
    /// The tiers that are asked after this machine's store, in this order.
    pub read: Vec<String>,
    /// The tiers that are written beside it.
    pub write: Vec<String>,
    /// The names that its images get in registries.
    pub tags: Vec<Rule>,
    /// Where else images are looked for, by the key that is noted there.
    pub also_read: Vec<Template>,
}

/// Of which builds a profile is, each condition with patterns of which one has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// What led to the build: `push`, `pull_request`, …
    pub event: Vec<String>,
    /// The branch.
    pub branch: Vec<String>,
    /// The tag.
    pub tag: Vec<String>,
}

/// A name that images get, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name.
    pub name: Template,
    /// Whether it only moves to a higher version than the one that has it.
    pub forward: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProfileTable {
    when: Option<WhenTable>,
    #[serde(default)]
    trust: u8,
    #[serde(default)]
    read: Vec<Spanned<String>>,
    #[serde(default)]
    write: Vec<Spanned<String>>,
    #[serde(default)]
    tags: Vec<Spanned<TagTable>>,
    #[serde(default)]
    also_read: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhenTable {
    event: Option<Spanned<Words>>,
    branch: Option<Spanned<Words>>,
    tag: Option<Spanned<Words>>,
}

/// A tag, with or without a word on when it moves.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or `{ name = \"…\", move = \"forward\" }`")]
enum TagTable {
    Name(String),
    Rule(RuleTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    name: String,
    #[serde(default, rename = "move")]
    moves: Moves,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Moves {
    #[default]
    Always,
    Forward,
}

/// What profiles are judged with.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The tiers of the file.
    pub(crate) tiers: &'a [Tier],
    /// What `{image}` may stand for.
    pub(crate) images: &'a [&'a str],
    /// larder.toml's folder, where there is one.
    pub(crate) folder: Option<&'a Utf8Path>,
}

/// The tables of all profiles, by name.
pub(crate) type ProfileTables = BTreeMap<Spanned<String>, Spanned<ProfileTable>>;

/// The profiles, in the order of the file, with wrong values refused, and those that trust too
/// much.
pub(crate) fn profiles(tables: ProfileTables, around: &Around<'_>) -> Result<Vec<Profile>, Fault> {
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.sort_by_key(|(name, _)| name.span().start);
    one_fallback(&tables)?;
    let mut read = Vec::new();
    for (name, table) in tables {
        let places = table.get_ref().read.clone();
        read.push((table.into_inner().checked(&name, around.tiers)?, places));
    }
    read.iter().try_for_each(|(profile, places)| trusts(profile, places, &read, around))?;
    Ok(read.into_iter().map(|(profile, _)| profile).collect())
}

/// Refuses two profiles that are for all builds.
fn one_fallback(tables: &[(Spanned<String>, Spanned<ProfileTable>)]) -> Result<(), Fault> {
    let is_open = |table: &ProfileTable| {
        let when = table.when.as_ref();
        when.is_none_or(|when| when.event.is_none() && when.branch.is_none() && when.tag.is_none())
    };
    let mut open = tables.iter().filter(|(_, table)| is_open(table.get_ref())).map(|(name, _)| name);
    match (open.next(), open.next()) {
        (Some(first), Some(second)) => Err(Fault::new(
            format!("profiles `{}` and `{}` are both for any build", first.get_ref(), second.get_ref()),
            second.span(),
            "say `when` in all but one: that one counts where no other does",
        )),
        _ => Ok(()),
    }
}

/// Refuses a profile that reads what a less trusted one writes.
fn trusts(
    profile: &Profile,
    read: &[Spanned<String>],
    all: &[(Profile, Vec<Spanned<String>>)],
    around: &Around<'_>,
) -> Result<(), Fault> {
    let is_taken = |other: &Profile| other.tags.iter().any(|rule| profile.also_read.contains(&rule.name));
    let less = || all.iter().map(|(other, _)| other).filter(|other| other.trust < profile.trust);
    for name in read.iter().filter(|name| name.get_ref() != MACHINE) {
        let Some(tier) = around.tier(name.get_ref()) else { continue };
        let writes = |other: &Profile| Some(around.written(tier, other)?).filter(|_| !is_taken(other));
        if let Some((other, how)) = less().find_map(|other| Some((other, writes(other)?))) {
            let message = format!(
                "profile `{}` reads the tier `{}`, {how}, and `{}` is trusted less ({} < {})",
                profile.name, tier.name, other.name, other.trust, profile.trust
            );
            let help = "whoever can run such a build could put anything under any key of the tier: let it write another one; or, where \
                        its images are to be trusted, name one of its `tags` in `also-read`";
            return Err(Fault::new(message, name.span(), help));
        }
    }
    Ok(())
}

impl Around<'_> {
    fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.name == name)
    }

    /// How the profile writes to the tier's place, for a message, if it does.
    fn written(&self, tier: &Tier, by: &Profile) -> Option<String> {
        if by.write.contains(&tier.name) {
            return Some(format!("which `{}` writes", by.name));
        }
        let mut written = by.write.iter().filter_map(|name| self.tier(name));
        if let Some(other) = written.find(|other| overlap(&other.place, &tier.place, self.folder)) {
            return Some(format!(
                "which is the same place as the tier `{}`, which `{}` writes",
                other.name, by.name
            ));
        }
        let Place::Registry(repository) = &tier.place else { return None };
        let repositories = repositories(repository);
        let tag = by.tags.iter().find(|rule| rule.name.may_be_in(&repositories, self.images))?;
        Some(format!("where `{}` gives images the name `{}`", by.name, tag.name))
    }
}

impl ProfileTable {
    fn checked(self, name: &Spanned<String>, tiers: &[Tier]) -> Result<Profile, Fault> {
        let when = self.when.map_or(Ok(When::default()), WhenTable::checked)?;
        let tags =
            self.tags.iter().map(|rule| rule.get_ref().checked(rule.span())).collect::<Result<_, _>>()?;
        let tags = Vec::from_iter::<Vec<Rule>>(tags);
        for (rule, table) in tags.iter().zip(&self.tags) {
            has_versions(rule, &tags, table.span())?;
        }
        let also_read = self
            .also_read
            .iter()
            .map(|text| {
                Template::parse(text.get_ref()).map_err(|why| fault_of(&why, text.get_ref(), text.span()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Profile {
            name: name.get_ref().clone(),
            when,
            trust: self.trust,
            read: known(&self.read, tiers)?,
            write: known(&self.write, tiers)?,
            tags,
            also_read,
        })
    }
}

/// The tiers, but for this machine's store: that is read and written by all.
fn known(names: &[Spanned<String>], tiers: &[Tier]) -> Result<Vec<String>, Fault> {
    let mut known = Vec::new();
    for name in names.iter().filter(|name| name.get_ref() != MACHINE) {
        let text = name.get_ref();
        if !tiers.iter().any(|tier| tier.name == *text) {
            let meant = question(text, tiers.iter().map(|tier| tier.name.as_str()).chain([MACHINE]));
            let help = format!("{meant}name `machine` or a `[tier.NAME]` of this file");
            return Err(Fault::new(format!("there is no tier `{text}`"), name.span(), help));
        }
        if !known.contains(text) {
            known.push(text.clone());
        }
    }
    Ok(known)
}

impl WhenTable {
    fn checked(self) -> Result<When, Fault> {
        Ok(When { event: globs(self.event)?, branch: globs(self.branch)?, tag: globs(self.tag)? })
    }
}

/// The patterns, if all can be read.
fn globs(words: Option<Spanned<Words>>) -> Result<Vec<String>, Fault> {
    let Some(words) = words else { return Ok(Vec::new()) };
    let patterns = words.get_ref().to_vec();
    if patterns.is_empty() {
        return Err(Fault::new("there is no pattern", words.span(), "left out, it does not matter"));
    }
    match patterns.iter().find(|pattern| GlobBuilder::new(pattern).build().is_err()) {
        Some(bad) => {
            let help = "write a name, or a pattern with `*`, `?` and `[…]`";
            Err(Fault::new(format!("`{bad}` is not a pattern that can be read"), words.span(), help))
        }
        None => Ok(patterns),
    }
}

impl TagTable {
    fn checked(&self, at: Range<usize>) -> Result<Rule, Fault> {
        let (text, forward) = match self {
            Self::Name(name) => (name, false),
            Self::Rule(rule) => (&rule.name, rule.moves == Moves::Forward),
        };
        let name = Template::parse(text).map_err(|why| fault_of(&why, text, at))?;
        Ok(Rule { name, forward })
    }
}

/// Refuses a name that is to move forward where nothing at the registry tells which versions there
/// are.
fn has_versions(rule: &Rule, all: &[Rule], at: Range<usize>) -> Result<(), Fault> {
    let tells = |other: &Rule| !other.forward && other.name.has_version() && rule.name.is_beside(&other.name);
    if !rule.forward || all.iter().any(tells) {
        return Ok(());
    }
    let help = "give the image a tag with `{version}` in the same repository: by those the versions are known that are there";
    Err(Fault::new(format!("nothing tells when `{}` is to move", rule.name), at, help))
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    const TIERS: &str = "[tier.team]\nregistry = \"registry.example/cache\"\n[tier.scratch]\nregistry = \"registry.example/pr\"\n";

    #[track_caller]
    fn refused(profiles: &str, why: &str) {
        let fault = parse(&format!("{TIERS}{profiles}")).expect_err("a bad profile");
        assert!(fault.message.contains(why), "{}", fault.message);
        assert!(fault.at.is_some(), "no place");
    }

    #[test]
    fn a_profile_is_read() {
        let text = format!(
            "{TIERS}[profile.pr]\nwhen = {{ event = \"pull_request\" }}\nread = [\"machine\", \"scratch\", \"team\"]\nwrite = [\"machine\", \"scratch\"]\n\
             [profile.release]\nwhen = {{ tag = [\"v*\", \"r*\"] }}\ntrust = 2\nread = [\"team\"]\nwrite = [\"team\"]\n\
             tags = [\"registry.example/{{image}}:v{{version}}\", {{ name = \"registry.example/{{image}}:latest\", move = \"forward\" }}]\n"
        );
        let profiles = parse(&text).expect("good").profiles;
        let [pr, release] = profiles.as_slice() else { panic!("{profiles:?}") };
        assert_eq!(pr.read, ["scratch", "team"]);
        assert_eq!(pr.write, ["scratch"]);
        assert_eq!((release.trust, release.when.tag.len(), release.tags.len()), (2, 2, 2));
        assert!(release.tags.iter().any(|rule| rule.forward));
    }

    #[test]
    fn what_a_less_trusted_profile_writes_is_not_read() {
        refused(
            "[profile.pr]\nwhen = { event = \"pull_request\" }\nwrite = [\"team\"]\n[profile.release]\nwhen = { tag = \"v*\" }\ntrust = 2\nread = [\"machine\", \"team\"]\n",
            "profile `release` reads the tier `team`, which `pr` writes",
        );
    }

    #[test]
    fn a_place_is_the_same_under_the_name_of_another_tier() {
        let two = |one: &str, other: &str| {
            format!(
                "[tier.safe]\n{one}\n[tier.open]\n{other}\n[profile.pr]\nwhen = {{ event = \"pull_request\" }}\nwrite = [\"open\"]\n\
                 [profile.release]\ntrust = 2\nread = [\"safe\"]\n"
            )
        };
        for (one, other) in [
            ("registry = \"localhost:5000/cache\"", "registry = \"127.0.0.1:5000/cache\""),
            ("registry = \"r.example/cache\"", "registry = \"r.example:443/cache\""),
            ("store = \"y\"", "store = \"x/../y\""),
            ("s3 = \"https://s3.example/b/team\"", "s3 = \"https://s3.example/b\""),
        ] {
            let fault = parse(&two(one, other)).expect_err("the same place");
            let message = "profile `release` reads the tier `safe`, which is the same place as the tier `open`, which `pr` writes";
            assert!(fault.message.contains(message), "{}", fault.message);
        }
        assert!(parse(&two("store = \"y\"", "store = \"z\"")).is_ok());
    }

    #[test]
    fn a_less_trusted_profile_tags_nothing_in_a_tier_that_is_read() {
        let profiles = "[profile.pr]\nwhen = { event = \"pull_request\" }\ntags = [\"registry.example:443/{image}:{sha}\"]\n\
                        [profile.release]\ntrust = 2\nread = [\"team\"]\n";
        refused(&format!("[image.cache]\n{profiles}"), "where `pr` gives images the name");
        assert!(parse(&format!("{TIERS}[image.app]\n{profiles}")).is_ok());
    }

    #[test]
    fn a_profile_whose_images_are_taken_by_name_is_trusted() {
        let text = format!(
            "{TIERS}[profile.dev]\nwhen = {{ branch = \"dev\" }}\ntrust = 1\nwrite = [\"team\"]\ntags = [\"r.example/{{image}}:dev\"]\n\
             [profile.release]\nwhen = {{ tag = \"v*\" }}\ntrust = 2\nread = [\"team\"]\n"
        );
        assert!(parse(&text).is_err());
        let taken = format!("{text}also-read = [\"r.example/{{image}}:dev\"]\n");
        assert_eq!(parse(&taken).expect("good").profiles.len(), 2);
    }

    #[test]
    fn wrong_profiles_are_refused_where_they_stand() {
        refused("[profile.pr]\nread = [\"tame\"]\n", "there is no tier `tame`");
        refused("[profile.a]\n[profile.b]\nwhen = {}\n", "are both for any build");
        refused("[profile.a]\nwhen = { tag = [] }\n", "there is no pattern");
        refused("[profile.a]\nwhen = { branch = \"[\" }\n", "is not a pattern");
        refused("[profile.a]\ntrust = -1\n", "invalid value");
        refused("[profile.a]\ntags = [\"r.example/{imag}:1\"]\n", "`{imag}`");
        refused("[profile.a]\ntags = [\"r.example/App:1\"]\n", "r.example/App");
        refused(
            "[profile.a]\ntags = [{ name = \"r.example/{image}:latest\", move = \"forward\" }]\n",
            "nothing tells when",
        );
    }
}
