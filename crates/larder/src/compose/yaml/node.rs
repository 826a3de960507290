//! A document as it counts: aliases and `<<` put in, words told apart.

use std::collections::BTreeMap;

use crate::compose::source::Place;

/// A part of a document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Place,
    pub(crate) mark: Mark,
}

/// What a tag says of the files below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    #[default]
    None,
    /// `!reset`: what they say of this does not count.
    Reset,
    /// `!override`: this goes in its place.
    Override,
}

/// What a part is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number, as compose prints it, and as it is written.
    Number {
        text: String,
        written: String,
    },
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Keys and values, in the order of their lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    slots: BTreeMap<String, Slot>,
    next: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    order: usize,
    key: Place,
    node: Node,
}

/// A key with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'m> {
    pub(crate) name: &'m str,
    pub(crate) at: &'m Place,
}

impl Node {
    pub(crate) fn new(value: Value, at: Place) -> Self {
        Self { value, at, mark: Mark::None }
    }

    pub(crate) fn text(text: impl Into<String>, at: Place) -> Self {
        Self::new(Value::Text(text.into()), at)
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        if let Value::Map(map) = &self.value { Some(map) } else { None }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Value::Map(map) = &mut self.value { Some(map) } else { None }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value of a key, where this is a mapping that has it and it is not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.as_map()?.get(name).filter(|node| !node.is_null())
    }

    /// A word, a number or a truth value as compose prints it; `None` for anything else.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) | Value::Number { text, .. } => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number { .. } => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// How many parts it has, itself included.
    pub(crate) fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(map) => 1 + map.iter().map(|(_, node)| node.size()).sum::<usize>(),
            _ => 1,
        }
    }

    /// Whether two say the same, wherever they stand.
    pub(crate) fn says_same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(own), Value::Bool(other)) => own == other,
            (Value::Number { text: own, .. }, Value::Number { text: other, .. })
            | (Value::Text(own), Value::Text(other)) => own == other,
            (Value::List(own), Value::List(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.says_same(other))
            }
            (Value::Map(own), Value::Map(other)) => own.says_same(other),
            _ => false,
        }
    }
}

impl Map {
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.slots.get(name).map(|slot| &slot.node)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.slots.get_mut(name).map(|slot| &mut slot.node)
    }

    /// Sets a key; one that is there keeps its place in the order.
    pub(crate) fn set(&mut self, name: impl Into<String>, key: Place, node: Node) {
        let name = name.into();
        let order = self.slots.get(&name).map_or(self.next, |slot| slot.order);
        self.next = self.next.max(order + 1);
        self.slots.insert(name, Slot { order, key, node });
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Node> {
        self.slots.remove(name).map(|slot| slot.node)
    }

    /// Takes a value out that is about to be set anew: the key keeps its place in the order.
    pub(crate) fn take(&mut self, name: &str) -> Option<Node> {
        let slot = self.slots.get_mut(name)?;
        let empty = Node::new(Value::Null, slot.node.at.clone());
        Some(std::mem::replace(&mut slot.node, empty))
    }

    /// In the order of their lines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<'_>, &Node)> {
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_by_key(|(_, slot)| slot.order);
        slots.into_iter().map(|(name, slot)| (Key { name, at: &slot.key }, &slot.node))
    }

    /// All values, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.slots.values_mut().map(|slot| &mut slot.node)
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.keys().map(String::as_str)
    }

    pub(crate) fn says_same(&self, other: &Self) -> bool {
        self.slots.len() == other.slots.len()
            && self
                .slots
                .iter()
                .zip(&other.slots)
                .all(|((own, slot), (other, theirs))| own == other && slot.node.says_same(&theirs.node))
    }
}

/// The node on one line, as YAML between braces.
#[cfg(test)]
pub(crate) fn shown(node: &Node) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match &node.value {
        Value::List(items) => format!("[{}]", joined(items.iter().map(shown).collect())),
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, node)| format!("{}: {}", key.name, shown(node)));
            format!("{{{}}}", joined(pairs.collect()))
        }
        _ => node.scalar().unwrap_or_default(),
    }
}
