//! `[ci]`: the project's own steps.

use std::collections::BTreeSet;
use std::ops::Range;

use camino::Utf8PathBuf;
use serde::Deserialize;
use storekit::size::Age;
use toml::Spanned;

use super::checks::{is_limit, leaves};
use super::fault::Fault;
use super::names::meant::Names;

/// One of the project's own steps of `ci`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the table of times calls it.
    pub name: String,
    /// What is baked first; none means that this is not a bake.
    pub bake: Vec<String>,
    /// The image whose name and key the step sees.
    pub image: Option<String>,
    /// The line that `sh -c` runs in the project's folder; none where baking is all.
    pub run: Option<String>,
    /// Whether it runs only where it is asked for.
    pub is_manual: bool,
    /// Globs of what it reads: where that is as it was at its last success, it is skipped.
    pub inputs: Vec<String>,
    /// Globs of what it makes: where there is nothing of one, it is not skipped.
    pub outputs: Vec<String>,
    /// Variables that have to be set.
    pub env: Vec<String>,
    /// How long its line may take; none means as long as it takes.
    pub timeout: Option<Age>,
    /// The folder that its line runs in, relative to larder.toml's, and where that is said.
    pub dir: Option<(Utf8PathBuf, Range<usize>)>,
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CiTable {
    #[serde(default)]
    steps: Vec<Spanned<StepTable>>,
    #[serde(default)]
    step: Vec<Spanned<StepTable>>,
    pub(super) log: Option<Spanned<Utf8PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    name: String,
    run: Option<Spanned<String>>,
    image: Option<Spanned<String>>,
    #[serde(default)]
    bake: Vec<Spanned<String>>,
    #[serde(default)]
    when: When,
    #[serde(default)]
    inputs: Vec<Spanned<String>>,
    #[serde(default)]
    outputs: Vec<Spanned<String>>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<Spanned<Age>>,
    dir: Option<Spanned<Utf8PathBuf>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum When {
    #[default]
    Always,
    Manual,
}

impl CiTable {
    /// The steps, in the order of their lines.
    pub(super) fn steps(&self, names: &Names) -> Result<Vec<Step>, Fault> {
        let mut tables: Vec<_> = self.steps.iter().chain(&self.step).collect();
        tables.sort_by_key(|table| table.span().start);
        if let Some(log) = self.log.as_ref().filter(|log| leaves(log.get_ref())) {
            let help = "name a folder below larder.toml's, such as `target/ci`";
            return Err(Fault::new("`log` leads out of the project", log.span(), help));
        }
        let mut seen = BTreeSet::new();
        for table in &tables {
            if !seen.insert(&table.get_ref().name) {
                let message = format!("two steps are called `{}`", table.get_ref().name);
                return Err(Fault::new(message, table.span(), "`larder ci NAME` must mean one"));
            }
        }
        tables.into_iter().map(|table| table.get_ref().checked(table, names)).collect()
    }
}

impl StepTable {
    fn checked(&self, whole: &Spanned<Self>, names: &Names) -> Result<Step, Fault> {
        self.image.iter().try_for_each(|name| names.has_image(name))?;
        self.bake.iter().try_for_each(|name| names.has(name))?;
        let is_odd = |c: char| c.is_control() || c == '/';
        if self.name.trim().is_empty() || self.name.contains(is_odd) || self.name == "total" {
            let help = "it names the step in the table of times and its log: no `/`, no control characters, and not `total`";
            return Err(Fault::new(
                format!("`{}` cannot be the name of a step", self.name),
                whole.span(),
                help,
            ));
        }
        if self.run.is_none() && self.bake.is_empty() && self.image.is_none() {
            let help = "write `run = \"COMMAND\"`, or `bake = [\"NAME\"]`";
            return Err(Fault::new(format!("step `{}` does nothing", self.name), whole.span(), help));
        }
        self.inputs.iter().chain(&self.outputs).try_for_each(super::disk::is_glob)?;
        is_limit(self.timeout.as_ref())?;
        if let Some(dir) = self.dir.as_ref().filter(|dir| leaves(dir.get_ref())) {
            let help = "name a folder below larder.toml's";
            return Err(Fault::new("`dir` leads out of the project", dir.span(), help));
        }
        let plain = |names: &[Spanned<String>]| names.iter().map(|name| name.get_ref().clone()).collect();
        Ok(Step {
            name: self.name.clone(),
            bake: plain(&self.bake),
            image: self.image.as_ref().map(|image| image.get_ref().clone()),
            run: self.run.as_ref().map(|run| run.get_ref().clone()),
            is_manual: self.when == When::Manual,
            inputs: plain(&self.inputs),
            outputs: plain(&self.outputs),
            env: self.env.clone(),
            timeout: self.timeout.as_ref().map(|timeout| *timeout.get_ref()),
            dir: self.dir.as_ref().map(|dir| (dir.get_ref().clone(), dir.span())),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn steps(bake: &str) -> Result<Vec<super::Step>, crate::config::Fault> {
        let disk = "[disk.edge]\ninputs = [\"specs/**\"]\nrun = \"make\"\noutput = \"out/edge\"\n";
        let step = format!("[[ci.step]]\nname = \"make\"\nbake = {bake}\n");
        parse(&format!("[image.web-app]\n{disk}{step}")).map(|project| project.steps)
    }

    #[test]
    fn a_step_bakes_images_and_disks_by_name_or_pattern() {
        for bake in ["[\"edge\"]", "[\"web-app\", \"edge\"]", "[\"ed*\"]", "[\"*\"]"] {
            assert_eq!(steps(bake).expect("good").len(), 1);
        }
        for bake in ["[\"egde\"]", "[\"db-*\"]"] {
            let fault = steps(bake).expect_err("no such name");
            assert!(fault.message.starts_with("there is no image or disk `"), "{}", fault.message);
            assert!(fault.at.is_some(), "no place");
        }
        assert!(steps("[\"egde\"]").expect_err("no such name").help.starts_with("is `edge` meant?"));
    }
}
