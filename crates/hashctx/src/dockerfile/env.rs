//! The variables of a stage, and how much all expansions of one Dockerfile may take.
//!
//! A few lines can ask for any amount of memory: each value may name the one before it twice. So every byte that is looked
//! up, expanded to or handed to another stage counts against one limit.

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
    /// `None`: it is set, and nobody knows to what.
    known: BTreeMap<String, Option<String>>,
    /// More variables may be set, by a base image that nobody has looked at.
    pub(super) open: bool,
    pub(super) spent: Spent,
}

impl Env {
    /// These variables and no others.
    pub(super) fn closed(known: BTreeMap<String, String>, spent: &Spent) -> Self {
        let known = known.into_iter().map(|(name, value)| (name, Some(value))).collect();
        Self { known, open: false, spent: spent.clone() }
    }

    /// No variable, or none but those that a base image sets.
    pub(super) fn empty(open: bool, spent: &Spent) -> Self {
        Self { known: BTreeMap::new(), open, spent: spent.clone() }
    }

    /// The same variables for another stage.
    pub(super) fn handed_on(&self) -> Result<Self, String> {
        let size =
            |(name, value): (&String, &Option<String>)| name.len() + value.as_ref().map_or(0, String::len);
        self.spent.add(self.known.iter().map(size).sum::<usize>() + 64 * self.known.len())?;
        Ok(self.clone())
    }

    /// The value, where there is one that is known.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.known.get(name)?.as_deref()
    }

    /// Whether the variable may have a value that nobody knows here.
    pub(super) fn is_doubtful(&self, name: &str) -> bool {
        self.known.get(name).map_or(self.open, Option::is_none)
    }

    /// Sets a variable whose name was expanded. Where nobody knows the name, it can be any.
    pub(super) fn set_name(&mut self, name: Word, value: Word) {
        if name.uncertain {
            self.known.values_mut().for_each(|known| *known = None);
            self.open = true;
        } else {
            self.set(name.text, value);
        }
    }

    pub(super) fn set(&mut self, name: String, value: Word) {
        self.known.insert(name, Some(value.text).filter(|_| !value.uncertain));
    }
}
