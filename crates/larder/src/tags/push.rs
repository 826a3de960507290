//! Gives images their names in registries: all of an image in one push, those that move last.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::forward::{Move, judge, name_of};
use super::plan::{Becomes, Planned, TagError, There, made, patience, plan, values};
use crate::config::tiers::profile::Rule;
use crate::config::tiers::template::{Unfit, Values, repository};
use crate::config::tiers::tier::PATIENCE;
use crate::occasion::Occasion;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code, succeeded};
use crate::process::tools::Tools;

/// What gives names.
pub(crate) struct Tagger<'a> {
    pub(crate) rules: &'a [Rule],
    pub(crate) occasion: &'a Occasion,
    pub(crate) tools: &'a Tools,
    pub(crate) runner: &'a Runner,
    /// As imgtar has it; none for the one that it finds itself.
    pub(crate) store: Option<&'a camino::Utf8Path>,
}

/// A stored image, and the names that it gets.
struct Named<'a> {
    image: &'a str,
    key: &'a str,
    /// Those that move last: whoever sees one of these sees the version's own as well.
    names: Vec<&'a Planned>,
}

impl<'a> Named<'a> {
    fn new(image: &'a str, key: &'a str, planned: &'a [Planned]) -> Self {
        let own = |planned: &&Planned| planned.image == image && planned.becomes == Becomes::Pushed;
        let mut names: Vec<_> = planned.iter().filter(own).collect();
        names.sort_by_key(|planned| planned.forward);
        Self { image, key, names }
    }
}

impl Tagger<'_> {
    /// What becomes of the names of these images.
    ///
    /// # Errors
    /// As [`plan`].
    pub(crate) fn plan<'i>(&self, images: impl Iterator<Item = &'i str>) -> Result<Vec<Planned>, TagError> {
        let (now, mut there) = (Timestamp::now(), There::default());
        let mut all = Vec::new();
        for image in images {
            let values = values(image, self.occasion, now);
            all.extend(plan(self.rules, &values, &mut there, self.tools, self.runner)?);
        }
        Ok(all)
    }

    /// Refuses names that no engine would take, whatever becomes of them. Asks nobody.
    ///
    /// # Errors
    /// [`TagError::Unfit`].
    pub(crate) fn can_be_made<'i>(&self, mut images: impl Iterator<Item = &'i str>) -> Result<(), TagError> {
        let now = Timestamp::now();
        images.try_for_each(|image| {
            let values = values(image, self.occasion, now);
            self.rules.iter().try_for_each(|rule| made(rule, &values).map(drop))
        })
    }

    /// Whether an image may get a name, whatever stands in registries. Asks nobody.
    pub(crate) fn may_give<'i>(&self, mut images: impl Iterator<Item = &'i str>) -> bool {
        let now = Timestamp::now();
        images.any(|image| {
            let values = values(image, self.occasion, now);
            let is_made =
                |rule: &&Rule| !matches!(rule.name.fill(&values), Err(Unfit::Absent(_) | Unfit::Prerelease));
            self.rules.iter().filter(is_made).any(|rule| judge(rule, self.rules, &values, &[]) == Move::Here)
        })
    }

    /// Gives the stored images, each with its key, the planned names, once every repository has
    /// said that it takes a push. What it says is a line for each.
    ///
    /// # Errors
    /// A registry that does not take them: with the names that were given until then, if any was.
    pub(crate) fn give(
        &self,
        keys: &[(&str, String)],
        planned: &[Planned],
        say: &mut dyn FnMut(&str),
    ) -> Result<(), TagError> {
        let images: Vec<_> = keys.iter().map(|(image, key)| Named::new(image, key, planned)).collect();
        self.reach(&images)?;
        let mut given = Vec::new();
        images
            .iter()
            .try_for_each(|image| self.push(image, &mut given, say))
            .map_err(|error| self.partly(error, &images, &given))
    }

    /// Asks each repository once whether it takes a push.
    fn reach(&self, images: &[Named<'_>]) -> Result<(), TagError> {
        let mut asked = BTreeSet::new();
        let all = images
            .iter()
            .flat_map(|image| image.names.iter().map(move |name| (image.key, name.name.as_str())));
        for (key, name) in all {
            let place = repository(name);
            if !asked.insert(place) {
                continue;
            }
            let cmd = self.imgtar("push", key).arg(name).arg(format!("--check={}", patience()));
            self.done(&cmd).map_err(|error| {
                if error.is_interruption() {
                    return error.into();
                }
                TagError::Refused { repository: place.to_owned(), source: Box::new(error) }
            })?;
        }
        Ok(())
    }

    /// Gives an image its names, in one push to each repository.
    fn push<'n>(
        &self,
        image: &Named<'n>,
        given: &mut Vec<&'n str>,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), TagError> {
        let mut repositories: Vec<&str> = Vec::new();
        for name in &image.names {
            let repository = repository(&name.name);
            if !repositories.contains(&repository) {
                repositories.push(repository);
            }
        }
        for place in repositories {
            let names = image.names.iter().filter(|name| repository(&name.name) == place);
            let names: Vec<_> = names.map(|name| name.name.as_str()).collect();
            let cmd = self.imgtar("push", image.key).args(names.iter().copied()).arg("--note-key");
            self.done(&cmd)?;
            for name in &names {
                say(&format!("tagged: {}: {name}", image.image));
            }
            given.extend(names);
        }
        let values = values(image.image, self.occasion, Timestamp::now());
        let mut moved = image.names.iter().filter(|name| name.forward);
        moved.try_for_each(|moved| self.recheck(moved, &values, say))
    }

    /// The error with which names were given and which not. Of the push that failed, the registry
    /// is asked: it may have taken some.
    fn partly(&self, error: TagError, images: &[Named<'_>], given: &[&str]) -> TagError {
        if matches!(&error, TagError::Run(error) if error.is_interruption()) {
            return error;
        }
        let all = images
            .iter()
            .flat_map(|image| image.names.iter().map(move |name| (image.key, name.name.as_str())));
        let rest: Vec<_> = all.filter(|(_, name)| !given.contains(name)).collect();
        let Some(failed) = rest.first().map(|(_, name)| repository(name)) else { return error };
        let (mut given, mut lacking, mut unknown) = (given.to_vec(), Vec::new(), Vec::new());
        let mut is_up = true;
        for (key, name) in rest {
            let stands = if repository(name) != failed {
                Some(false)
            } else if is_up {
                self.stands(name, key)
            } else {
                None
            };
            is_up &= stands.is_some();
            match stands {
                Some(true) => given.push(name),
                Some(false) => lacking.push(name),
                None => unknown.push(name),
            }
        }
        let part = |what: &str, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
        };
        let parts =
            [part("given", &given), part("not given", &lacking), part("not known whether given", &unknown)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let help = format!("{}; another run gives them all", parts.join("; "));
        TagError::Partly { is_begun: !given.is_empty(), source: Box::new(error), help }
    }

    /// Whether the name is of what stands under the key; nothing where the registry does not tell.
    fn stands(&self, name: &str, key: &str) -> Option<bool> {
        let limit = PATIENCE + Duration::from_secs(1);
        let cmd = self.tools.imgtar("resolve").args([name, "--key", "-q"]).within(Some(limit));
        let (status, said) = self.runner.ask(&cmd).ok()?;
        match code(status) {
            Some(0) => Some(String::from_utf8_lossy(&said).trim() == key),
            Some(1) => Some(false),
            _ => None,
        }
    }

    /// Looks again at a name that moved. Where a higher version came meanwhile, it gets the name:
    /// whichever of two releases looks last sees both.
    fn recheck(&self, moved: &Planned, values: &Values, say: &mut dyn FnMut(&str)) -> Result<(), TagError> {
        let is_its = |rule: &&Rule| rule.forward && rule.name.fill(values).as_ref() == Ok(&moved.name);
        let Some(rule) = self.rules.iter().find(is_its) else { return Ok(()) };
        let mut there = There::default();
        let names = there.of(repository(&moved.name), self.tools, self.runner)?;
        let Move::Stays(higher) = judge(rule, self.rules, values, names) else { return Ok(()) };
        let Some(winner) = name_of(&higher, &moved.name, self.rules, values) else { return Ok(()) };
        let retag = self.tools.imgtar("retag").args([winner.as_str(), moved.name.as_str(), "-q"]);
        self.done(&retag.args(["--timeout", &patience()]))?;
        say(&format!("another release won: {} is {higher}'s", moved.name));
        Ok(())
    }

    fn imgtar(&self, job: &str, key: &str) -> Cmd {
        let cmd = self.tools.imgtar(job).args([key, "-q"]);
        match self.store {
            Some(store) => cmd.arg("--store").path(store),
            None => cmd,
        }
    }

    fn done(&self, cmd: &Cmd) -> Result<(), RunError> {
        let (status, _) = self.runner.capture(cmd)?;
        succeeded(cmd, status)
    }
}
