//! The variables of a stage, and how much all expansions of one Dockerfile may take.
//!
//! A few lines can ask for any amount of memory: each value may name the one before it twice. So
//! every byte that is looked up, expanded to or handed to another stage counts against one limit.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::expand::Word;

/// Bytes that the expansions of one Dockerfile may come to, all in all.
const MAX_SPENT: usize = 64 << 20;

/// What the expansions of one Dockerfile have come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent(Rc<Cell<usize>>);

impl Spent {
    /// Notes that many bytes more.
    pub(super) fn add(&self, bytes: usize) -> Result<(), String> {
        self.0.set(self.0.get().saturating_add(bytes));
        if self.0.get() > MAX_SPENT {
            return Err(format!("all its variables and patterns take more than {} MiB", MAX_SPENT >> 20));
        }
        Ok(())
    }
}

/// The variables that a word may name.
#[derive(Debug, Clone, Default)]
pub(super) struct Env {
    known: BTreeMap<String, Variable>,
    /// Of the names that the stage's own `ARG`s set: what the image has, which is what stages built
    /// on it begin with.
    behind: BTreeMap<String, Option<Variable>>,
    /// More variables may be set by a base image, which is not looked at.
    pub(super) open: bool,
    pub(super) spent: Spent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    /// `None`: it is set to an unknown value.
    value: Option<String>,
    /// The image has it: an `ENV` set it and no `ARG`.
    in_image: bool,
}

impl Env {
    /// These variables and no others.
    pub(super) fn closed(known: BTreeMap<String, String>, spent: &Spent) -> Self {
        let variable = |(name, value)| (name, Variable { value: Some(value), in_image: true });
        Self { known: known.into_iter().map(variable).collect(), ..Self::empty(false, spent) }
    }

    /// No variable, or none but those that a base image sets.
    pub(super) fn empty(open: bool, spent: &Spent) -> Self {
        Self { known: BTreeMap::new(), behind: BTreeMap::new(), open, spent: spent.clone() }
    }

    /// The same variables for another stage.
    pub(super) fn handed_on(&self) -> Result<Self, String> {
        let size = |(name, variable): (&String, &Variable)| {
            name.len() + variable.value.as_ref().map_or(0, String::len)
        };
        self.spent.add(self.known.iter().map(size).sum::<usize>() + 64 * self.known.len())?;
        Ok(self.clone())
    }

    /// What a stage that is built on this one begins with: what the image has is what it was before
    /// an `ARG` of the same name. A base image, which is not looked at, may set any such name.
    pub(super) fn inherited(mut self) -> Self {
        for (name, behind) in std::mem::take(&mut self.behind) {
            match behind {
                Some(variable) => drop(self.known.insert(name, variable)),
                None if self.open => drop(self.known.insert(name, Variable { value: None, in_image: false })),
                None => {}
            }
        }
        self
    }

    /// The value, where there is one that is known.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.known.get(name)?.value.as_deref()
    }

    /// Whether the variable may have a value that is not known here.
    pub(super) fn is_doubtful(&self, name: &str) -> bool {
        self.known.get(name).map_or(self.open, |variable| variable.value.is_none())
    }

    /// Whether an `ENV` gave the name another value than this: engines other than `BuildKit` keep
    /// it, whatever an `ARG` says.
    pub(super) fn contradicts(&self, name: &str, value: &str) -> bool {
        let own = || self.known.get(name).filter(|variable| variable.in_image);
        let image = self.behind.get(name).map_or_else(own, Option::as_ref);
        image.is_some_and(|variable| variable.value.as_deref() != Some(value))
    }

    /// Sets a variable, as `ARG` does, whose name was expanded. Where the name is not known, it can
    /// be any.
    pub(super) fn set_name(&mut self, name: Word, value: Word) {
        if name.uncertain {
            self.doubt_all();
        } else {
            self.set(name.text, value);
        }
    }

    /// Sets a variable, as `ARG` does.
    pub(super) fn set(&mut self, name: String, value: Word) {
        let argument = Variable { value: known(value), in_image: false };
        let before = self.known.insert(name.clone(), argument);
        self.behind.entry(name).or_insert(before.filter(|variable| variable.in_image));
    }

    /// Sets a variable, as `ENV` does, whose name was expanded.
    pub(super) fn set_in_image(&mut self, name: Word, value: Word) {
        if name.uncertain {
            self.doubt_all();
            self.behind.values_mut().flatten().for_each(|variable| variable.value = None);
        } else {
            self.behind.remove(&name.text);
            self.known.insert(name.text, Variable { value: known(value), in_image: true });
        }
    }

    fn doubt_all(&mut self) {
        self.known.values_mut().for_each(|variable| variable.value = None);
        self.open = true;
    }
}

fn known(value: Word) -> Option<String> {
    Some(value.text).filter(|_| !value.uncertain)
}
