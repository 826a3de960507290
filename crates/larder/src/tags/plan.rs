//! Which names the images of a build get, and which they do not, and why. Changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::forward::{Move, judge};
use crate::config::tiers::profile::Rule;
use crate::config::tiers::template::{Unfit, Values, repository};
use crate::config::tiers::tier::PATIENCE;
use crate::config::tiers::version::Version;
use crate::occasion::Occasion;
use crate::process::runner::{RunError, Runner, code, succeeded};
use crate::process::tools::Tools;

/// Why no image gets a name.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum TagError {
    #[error("image `{image}` cannot get the name that `{template}` gives it: {why}")]
    #[diagnostic(
        code(larder::tag),
        help("names are lower case before the tag, and a tag has 128 characters at most")
    )]
    Unfit { image: String, template: String, why: String },

    #[error("cannot ask which names there are in `{repository}`")]
    #[diagnostic(
        code(larder::tags_unknown),
        help("a name with `move = \"forward\"` is given only where it is known what has it now")
    )]
    Unknown {
        repository: String,
        #[source]
        source: Box<RunError>,
    },

    #[error("no image is tagged: `{repository}` takes no push")]
    #[diagnostic(
        code(larder::tags_refused),
        help(
            "each repository is asked before the first name is given: all images get their names, or none does"
        )
    )]
    Refused {
        repository: String,
        #[source]
        source: Box<RunError>,
    },

    #[error("{}", if *is_begun { "not all names were given" } else { "no name was given" })]
    #[diagnostic(code(larder::tags_partly))]
    Partly {
        is_begun: bool,
        #[source]
        source: Box<Self>,
        #[help]
        help: String,
    },

    #[error("image `{image}` is not tagged, and so none is: it is not in the store")]
    #[diagnostic(
        code(larder::tag_unsaved),
        help("what the bake warned of has kept it from being saved; names go to stored images alone")
    )]
    Unsaved { image: String },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Run(#[from] RunError),
}

/// A name that a rule of the profile is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The image in larder.toml.
    pub image: String,
    /// The name, or where there is none the rule's text.
    pub name: String,
    /// What becomes of it.
    pub becomes: Becomes,
    /// Why, where the image does not get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it moves from image to image, forward only.
    pub forward: bool,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Becomes {
    /// The image gets it.
    Pushed,
    /// Another image keeps it.
    Stays,
    /// This build has none.
    Absent,
}

impl fmt::Display for Becomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pushed => "pushed",
            Self::Stays => "stays",
            Self::Absent => "absent",
        })
    }
}

/// The names that stand in repositories, each asked for once.
#[derive(Default)]
pub(crate) struct There(BTreeMap<String, Vec<String>>);

impl There {
    /// The names in the repository, in full; none where there is no such repository yet.
    ///
    /// # Errors
    /// A registry that does not tell.
    pub(crate) fn of(
        &mut self,
        repository: &str,
        tools: &Tools,
        runner: &Runner,
    ) -> Result<&[String], TagError> {
        if !self.0.contains_key(repository) {
            let names = listed(repository, tools, runner).map_err(|error| {
                if error.is_interruption() {
                    return error.into();
                }
                TagError::Unknown { repository: repository.to_owned(), source: Box::new(error) }
            })?;
            self.0.insert(repository.to_owned(), names);
        }
        Ok(self.0.get(repository).map_or(&[], Vec::as_slice))
    }
}

/// How long a registry may be silent, as imgtar has it.
pub(super) fn patience() -> String {
    format!("{}s", PATIENCE.as_secs())
}

fn listed(repository: &str, tools: &Tools, runner: &Runner) -> Result<Vec<String>, RunError> {
    let cmd = tools.imgtar("tags").args([repository, "-q", "--timeout", &patience()]);
    let (status, said) = runner.capture(&cmd)?;
    if code(status) == Some(1) {
        return Ok(Vec::new());
    }
    succeeded(&cmd, status)?;
    let tags = String::from_utf8_lossy(&said);
    Ok(tags.lines().map(|tag| format!("{repository}:{tag}")).collect())
}

/// What the fields of templates stand for in this build.
#[must_use]
pub(crate) fn values(image: &str, occasion: &Occasion, now: Timestamp) -> Values {
    Values {
        image: image.to_owned(),
        branch: occasion.branch.clone(),
        sha: occasion.sha.clone(),
        version: occasion.tag.as_deref().and_then(Version::of_git_tag),
        date: now.to_zoned(TimeZone::UTC).strftime("%Y%m%d").to_string(),
    }
}

/// The rule's name in this build, or why there is none.
///
/// # Errors
/// A name that no engine would take.
pub(crate) fn made(rule: &Rule, values: &Values) -> Result<Result<String, Unfit>, TagError> {
    match rule.name.fill(values) {
        Err(why @ Unfit::Invalid(_)) => {
            let (image, template) = (values.image.clone(), rule.name.to_string());
            Err(TagError::Unfit { image, template, why: why.to_string() })
        }
        made => Ok(made),
    }
}

/// What is wrong with the git tag that is built, where names depend on its version.
#[must_use]
pub(crate) fn odd_git_tag(rules: &[Rule], occasion: &Occasion) -> Option<String> {
    let tag = occasion.tag.as_deref()?;
    let depend = rules.iter().any(|rule| rule.forward || rule.name.depends_on_version());
    (depend && Version::of_git_tag(tag).is_none()).then(|| {
        format!("the git tag `{tag}` is not a version, which has three numbers (`v1.2.3`): names with one are not given, and none moves forward")
    })
}

/// What becomes of the name of each rule, in their order.
///
/// # Errors
/// A name that is made and that no engine would take; a registry that does not say what is there.
pub(crate) fn plan(
    rules: &[Rule],
    values: &Values,
    there: &mut There,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<Planned>, TagError> {
    let mut planned = Vec::new();
    for rule in rules {
        let (image, forward) = (values.image.clone(), rule.forward);
        let absent = |why: String| {
            let name = rule.name.to_string();
            Planned { image: image.clone(), name, becomes: Becomes::Absent, why: Some(why), forward }
        };
        let name = match made(rule, values)? {
            Ok(name) => name,
            Err(why) => {
                planned.push(absent(why.to_string()));
                continue;
            }
        };
        let moves = if forward && values.version.as_ref().is_some_and(|own| !own.is_prerelease()) {
            judge(rule, rules, values, there.of(repository(&name), tools, runner)?)
        } else {
            judge(rule, rules, values, &[])
        };
        let (becomes, why) = match moves {
            Move::Here => (Becomes::Pushed, None),
            Move::Stays(higher) => (Becomes::Stays, Some(format!("{higher} is there"))),
            Move::Prerelease => (Becomes::Stays, Some("this is a pre-release".to_owned())),
            Move::Unversioned => (Becomes::Stays, Some("no version is built".to_owned())),
        };
        planned.push(Planned { image, name, becomes, why, forward });
    }
    Ok(planned)
}

/// Lists the names, a line each or as JSON.
pub(crate) fn write(planned: &[Planned], as_json: bool, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let width = |text: fn(&Planned) -> &str| {
        planned.iter().map(|planned| text(planned).chars().count()).max().unwrap_or_default()
    };
    let (images, names) = (width(|planned| &planned.image), width(|planned| &planned.name));
    for planned in planned {
        if as_json {
            serde_json::to_writer(&mut *out, planned)?;
            writeln!(out)?;
            continue;
        }
        let Planned { image, name, becomes, why, .. } = planned;
        match why {
            Some(why) => writeln!(out, "{image:images$}  {name:names$}  {becomes}: {why}")?,
            None => writeln!(out, "{image:images$}  {name:names$}  {becomes}")?,
        }
    }
    out.flush()
}
