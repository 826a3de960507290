//! A directed graph of names, and the circles in it.

use std::collections::{BTreeMap, BTreeSet};

/// Who needs whom.
#[derive(Clone, Debug, Default)]
pub struct Graph(BTreeMap<String, BTreeSet<String>>);

impl FromIterator<(String, String)> for Graph {
    /// What needs itself is left out.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(edges: I) -> Self {
        let mut graph = Self::default();
        for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
            graph.0.entry(to.clone()).or_default();
            graph.0.entry(from).or_default().insert(to);
        }
        graph
    }
}

impl Graph {
    /// The groups whose members all reach each other, of two at least; sorted.
    #[must_use]
    pub fn circles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.0.keys().map(|from| (from.as_str(), self.reached(from))).collect();
        let mut found = BTreeSet::new();
        for (from, all) in &reach {
            let back = |to: &&&str| reach.get(**to).is_some_and(|theirs| theirs.contains(from));
            let circle: Vec<String> = all.iter().filter(back).map(|name| (*name).to_owned()).collect();
            if circle.len() > 1 {
                found.insert(circle);
            }
        }
        found.into_iter().collect()
    }

    /// All that is needed, directly or not.
    fn reached<'a>(&'a self, from: &'a str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            for next in self.0.get(name).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        seen
    }

    /// The edges between members of the group.
    #[must_use]
    pub fn within(&self, group: &[String]) -> Vec<(&str, &str)> {
        let edges = self.0.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
        let inside = edges.filter(|(from, to)| group.contains(from) && group.contains(to));
        inside.map(|(from, to)| (from.as_str(), to.as_str())).collect()
    }
}
