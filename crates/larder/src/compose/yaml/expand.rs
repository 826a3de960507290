//! Puts aliases and `<<` in.

use std::collections::BTreeMap;

use super::node::{Map, Mark, Node, Value};
use super::raw::{Kind, Raw, too_deep};
use super::{DEEPEST, scalar};
use crate::compose::source::{Fault, Place};

/// How many parts a document may have with all aliases put in, as compose counts them.
const MOST: usize = 100_000;

/// The document as it counts.
///
/// # Errors
/// Aliases that multiply or lie within their own anchor; `<<` with something else than mappings; a
/// key that is not a word.
pub(crate) fn expanded(raw: &Raw, file: usize) -> Result<Node, Fault> {
    let mut anchors = BTreeMap::new();
    anchored(raw, &mut anchors);
    Expander { anchors, file, left: MOST }.node(raw, 0)
}

/// All parts with an anchor.
fn anchored<'r>(raw: &'r Raw, anchors: &mut BTreeMap<usize, &'r Raw>) {
    if raw.anchor != 0 {
        anchors.insert(raw.anchor, raw);
    }
    match &raw.kind {
        Kind::List(items) => items.iter().for_each(|item| anchored(item, anchors)),
        Kind::Map { entries, .. } => entries.iter().for_each(|(key, value)| {
            anchored(key, anchors);
            anchored(value, anchors);
        }),
        Kind::Alias(_) | Kind::Scalar { .. } => {}
    }
}

struct Expander<'r> {
    anchors: BTreeMap<usize, &'r Raw>,
    file: usize,
    /// How many parts there may still be.
    left: usize,
}

impl<'r> Expander<'r> {
    fn node(&mut self, raw: &'r Raw, depth: usize) -> Result<Node, Fault> {
        let at = Place { file: self.file, at: raw.at.clone() };
        if depth >= DEEPEST {
            return Err(too_deep(&at));
        }
        let Some(left) = self.left.checked_sub(1) else {
            let message = format!("with its aliases put in, the file has more than {MOST} parts");
            return Err(Fault::new(
                message,
                &at,
                "aliases of aliases multiply: write some of it out, or leave some of it out",
            ));
        };
        self.left = left;
        let value = match &raw.kind {
            Kind::Alias(anchor) => return self.node(self.meant(*anchor, &at)?, depth + 1),
            Kind::Scalar { text, plain } => scalar::value(text, *plain, raw.tag.as_deref()),
            Kind::List(items) => {
                Value::List(items.iter().map(|item| self.node(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Kind::Map { entries, .. } => Value::Map(self.map(entries, depth)?),
        };
        let mark = match raw.tag.as_deref() {
            Some("!reset") => Mark::Reset,
            Some("!override") => Mark::Override,
            _ => Mark::None,
        };
        Ok(Node { value, at, mark })
    }

    fn meant(&self, anchor: usize, at: &Place) -> Result<&'r Raw, Fault> {
        let unknown =
            || Fault::new("the alias has no anchor", at, "an anchor, `&NAME`, stands before its aliases");
        self.anchors.get(&anchor).copied().ok_or_else(unknown)
    }

    fn map(&mut self, entries: &'r [(Raw, Raw)], depth: usize) -> Result<Map, Fault> {
        let mut map = Map::default();
        for (key, value) in entries {
            let at = Place { file: self.file, at: key.at.clone() };
            match &key.kind {
                Kind::Scalar { text, plain: true } if text == "<<" => {}
                Kind::Scalar { text, .. } => map.set(text, at, self.node(value, depth + 1)?),
                Kind::Alias(anchor) => {
                    let Kind::Scalar { text, .. } = &self.meant(*anchor, &at)?.kind else {
                        return Err(not_a_word(&at));
                    };
                    map.set(text, at, self.node(value, depth + 1)?);
                }
                Kind::List(_) | Kind::Map { .. } => return Err(not_a_word(&at)),
            }
        }
        // What is written out goes before what is merged, wherever `<<` stands.
        for (key, value) in entries {
            if matches!(&key.kind, Kind::Scalar { text, plain: true } if text == "<<") {
                let merged = self.node(value, depth + 1)?;
                Self::merge(&mut map, merged)?;
            }
        }
        Ok(map)
    }

    /// Puts what a mapping does not have itself into it; of several, the first that has it counts.
    fn merge(map: &mut Map, merged: Node) -> Result<(), Fault> {
        let wrong = |at: &Place| {
            Fault::new(
                "`<<` takes a mapping, or a list of mappings",
                at,
                "write `<<: *NAME`, or `<<: [*ONE, *OTHER]`",
            )
        };
        let at = merged.at.clone();
        match merged.value {
            Value::Map(other) => {
                for (key, node) in other.iter() {
                    if map.get(key.name).is_none() {
                        map.set(key.name, key.at.clone(), node.clone());
                    }
                }
                Ok(())
            }
            Value::List(items) => items.into_iter().try_for_each(|item| match item.value {
                Value::Map(_) => Self::merge(map, item),
                _ => Err(wrong(&item.at)),
            }),
            _ => Err(wrong(&at)),
        }
    }
}

fn not_a_word(at: &Place) -> Fault {
    Fault::new("a key must be a word", at, "write `NAME: VALUE`")
}
