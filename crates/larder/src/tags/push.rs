//! Gives images their names in registries: all of an image in one push, those that move last.

use jiff::Timestamp;

use super::forward::{Move, judge, name_of};
use super::plan::{Becomes, Planned, TagError, There, plan, values};
use crate::config::tiers::profile::Rule;
use crate::config::tiers::template::{Values, repository};
use crate::occasion::Occasion;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, succeeded};
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

    /// Gives the stored image of the key the planned names, in one push to each repository. What it
    /// says is a line for each.
    ///
    /// # Errors
    /// A registry that does not take it.
    pub(crate) fn push(
        &self,
        image: &str,
        key: &str,
        planned: &[Planned],
        say: &mut dyn FnMut(&str),
    ) -> Result<(), TagError> {
        let own = |planned: &&Planned| planned.image == image && planned.becomes == Becomes::Pushed;
        let mut wanted: Vec<_> = planned.iter().filter(own).collect();
        // Whoever sees a name that moved sees the version's own as well.
        wanted.sort_by_key(|planned| planned.forward);
        let mut repositories: Vec<&str> = Vec::new();
        for planned in &wanted {
            let repository = repository(&planned.name);
            if !repositories.contains(&repository) {
                repositories.push(repository);
            }
        }
        for place in repositories {
            let names = wanted.iter().filter(|planned| repository(&planned.name) == place);
            let names: Vec<_> = names.map(|planned| planned.name.as_str()).collect();
            let cmd = self.imgtar("push", key).args(names.iter().copied()).arg("--note-key");
            self.done(&cmd)?;
            for name in names {
                say(&format!("tagged: {image}: {name}"));
            }
        }
        let values = values(image, self.occasion, Timestamp::now());
        wanted
            .iter()
            .filter(|planned| planned.forward)
            .try_for_each(|moved| self.recheck(moved, &values, say))
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
        self.done(&self.tools.imgtar("retag").args([winner.as_str(), moved.name.as_str(), "-q"]))?;
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
