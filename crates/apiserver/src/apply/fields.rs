//! Sets of field paths, in the form in which `managedFields` has them (`FieldsV1`).
//!
//! A step is its own text: `f:name` for a field, `k:{"name":"a"}` for a list element by key,
//! `v:"x"` for an element of a set.
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FieldSet {
    steps: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    /// Whether the path that ends here is in the set.
    member: bool,
    below: FieldSet,
}

impl FieldSet {
    /// Whether no path is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds a path.
    pub(crate) fn insert(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.steps.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether the path of one step is in the set.
    pub(crate) fn has(&self, step: &str) -> bool {
        self.steps.get(step).is_some_and(|node| node.member)
    }

    /// The paths below a step.
    pub(crate) fn below(&self, step: &str) -> Option<&Self> {
        self.steps
            .get(step)
            .map(|node| &node.below)
            .filter(|below| !below.is_empty())
    }

    /// Takes out everything at and below a path.
    pub(crate) fn cut(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        if rest.is_empty() {
            self.steps.remove(*first);
            return;
        }
        let Some(node) = self.steps.get_mut(*first) else {
            return;
        };
        node.below.cut(rest);
        if !node.member && node.below.is_empty() {
            self.steps.remove(*first);
        }
    }

    /// Leaves only what is at and below a step.
    pub(crate) fn only(&mut self, step: &str) {
        self.steps.retain(|name, _| name == step);
    }

    /// Takes a step's own path out, but not what is below it.
    pub(crate) fn unmark(&mut self, step: &str) {
        let Some(node) = self.steps.get_mut(step) else {
            return;
        };
        node.member = false;
        if node.below.is_empty() {
            self.steps.remove(step);
        }
    }

    /// Paths of either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (step, node) in &other.steps {
            let mine = all.steps.entry(step.clone()).or_default();
            mine.member |= node.member;
            mine.below = mine.below.union(&node.below);
        }
        all
    }

    /// Paths of both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, others| mine && others)
    }

    /// Paths of this that are not in the other.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, others| mine && !others)
    }

    fn combine(&self, other: &Self, keep: impl Fn(bool, bool) -> bool + Copy) -> Self {
        let nothing = Node::default();
        let mut steps = BTreeMap::new();
        for (step, node) in &self.steps {
            let others = other.steps.get(step).unwrap_or(&nothing);
            let member = keep(node.member, others.member);
            let below = node.below.combine(&others.below, keep);
            if member || !below.is_empty() {
                steps.insert(step.clone(), Node { member, below });
            }
        }
        Self { steps }
    }

    /// Paths of this that neither are in the other nor lead to one that is.
    pub(crate) fn without_prefixes_of(&self, other: &Self) -> Self {
        let mut steps = BTreeMap::new();
        for (step, node) in &self.steps {
            let Some(others) = other.steps.get(step) else {
                steps.insert(step.clone(), node.clone());
                continue;
            };
            let below = node.below.without_prefixes_of(&others.below);
            if !below.is_empty() {
                steps.insert(
                    step.clone(),
                    Node {
                        member: false,
                        below,
                    },
                );
            }
        }
        Self { steps }
    }

    /// Every path, as conflict texts write it: `.spec.containers[name="a"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        // What is named here comes before what lies below anything here.
        let path = |step: &str| format!("{prefix}{}", readable(step));
        let members = self.steps.iter().filter(|(_, node)| node.member);
        paths.extend(members.map(|(step, _)| path(step)));
        for (step, node) in &self.steps {
            node.below.collect(&path(step), paths);
        }
    }

    /// The `fieldsV1` of an entry.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (step, node) in &self.steps {
            let mut inner = node.below.to_json();
            if let (true, false, Value::Object(inner)) =
                (node.member, node.below.is_empty(), &mut inner)
            {
                inner.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(step.clone(), inner);
        }
        Value::Object(map)
    }

    /// Reads the `fieldsV1` of an entry; what is no path is left out.
    pub(crate) fn from_json(value: &Value) -> Self {
        let mut steps = BTreeMap::new();
        for (step, inner) in value.as_object().into_iter().flatten() {
            if step == "." {
                continue;
            }
            let below = Self::from_json(inner);
            let member = below.is_empty() || inner.get(".").is_some();
            steps.insert(step.clone(), Node { member, below });
        }
        Self { steps }
    }
}

/// A step as texts write it.
pub(super) fn readable(step: &str) -> String {
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let parts: Vec<String> = keys
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("[{}]", parts.join(","))
        }
        _ => format!("[{step}]"),
    }
}
