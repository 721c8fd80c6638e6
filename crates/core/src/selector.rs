//! Label selectors of Links, and the exclusion lists beside them.
//!
//! An empty selector matches nothing: the inverse of the Kubernetes convention, kept from Linkerd,
//! where a Link without a selector does not export everything by accident.
use std::collections::BTreeSet;

use crate::keys::{EXPORTED, FEDERATED};
use crate::service::Labels;

/// What one requirement asks of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Present, with one of these values.
    In(BTreeSet<String>),
    /// Absent, or with none of these values.
    NotIn(BTreeSet<String>),
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
}

/// Which Services a Link takes in one of its modes: all requirements hold, and there is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    /// A selector of these requirements; of none, it matches nothing.
    #[must_use]
    pub const fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements }
    }

    /// Matches nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self::new(Vec::new())
    }

    /// Matches one value of one label.
    #[must_use]
    pub fn label(key: &str, value: &str) -> Self {
        let operator = Operator::In(BTreeSet::from([value.to_owned()]));
        Self::new(vec![Requirement {
            key: key.to_owned(),
            operator,
        }])
    }

    /// The default of gateway mode: `mirror.linkerd.io/exported=true`.
    #[must_use]
    pub fn exported() -> Self {
        Self::label(EXPORTED, "true")
    }

    /// The default of flat mode: `mirror.linkerd.io/exported=remote-discovery`.
    #[must_use]
    pub fn remote_discovery() -> Self {
        Self::label(EXPORTED, "remote-discovery")
    }

    /// The default of federation: `mirror.linkerd.io/federated=member`.
    #[must_use]
    pub fn federated_member() -> Self {
        Self::label(FEDERATED, "member")
    }

    /// Whether it can match at all.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Its requirements, all of which must hold.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.is_nothing() && self.requirements.iter().all(|r| r.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|v| values.contains(v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Keys of labels or annotations that a Link does not copy: exact keys, or `prefix/*`.
///
/// `foo/*` drops `foo/a` but not `foobar/b`, nor `foo` itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    exact: BTreeSet<String>,
    prefixes: Vec<String>,
}

impl Exclusions {
    /// Parses the entries of `excludedLabels` or `excludedAnnotations`; every text is an entry.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Self {
        let mut exclusions = Self::default();
        for entry in entries {
            match entry
                .strip_suffix('*')
                .filter(|prefix| prefix.ends_with('/'))
            {
                Some(prefix) => exclusions.prefixes.push(prefix.to_owned()),
                None => {
                    exclusions.exact.insert(entry.to_owned());
                }
            }
        }
        exclusions
    }

    /// Whether `key` is left out.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.exact.contains(key) || self.prefixes.iter().any(|p| key.starts_with(p.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn requirement(key: &str, operator: Operator) -> Requirement {
        Requirement {
            key: key.to_owned(),
            operator,
        }
    }

    #[test]
    fn operators_follow_kubernetes_and_the_empty_selector_does_not() {
        let values = || BTreeSet::from(["x".to_owned(), "y".to_owned()]);
        let table = [
            (vec![], "a=x", false),
            (vec![], "", false),
            (vec![requirement("a", Operator::In(values()))], "a=x", true),
            (vec![requirement("a", Operator::In(values()))], "a=z", false),
            (vec![requirement("a", Operator::In(values()))], "", false),
            (
                vec![requirement("a", Operator::NotIn(values()))],
                "a=z",
                true,
            ),
            (vec![requirement("a", Operator::NotIn(values()))], "", true),
            (
                vec![requirement("a", Operator::NotIn(values()))],
                "a=y",
                false,
            ),
            (vec![requirement("a", Operator::Exists)], "a=", true),
            (vec![requirement("a", Operator::Exists)], "b=", false),
            (vec![requirement("a", Operator::DoesNotExist)], "b=", true),
            (vec![requirement("a", Operator::DoesNotExist)], "a=", false),
            (
                vec![
                    requirement("a", Operator::Exists),
                    requirement("b", Operator::Exists),
                ],
                "a=1",
                false,
            ),
        ];
        for (requirements, text, want) in table {
            let selector = Selector::new(requirements);
            assert_eq!(
                selector.matches(&labels(text)),
                want,
                "{selector:?} on {text:?}"
            );
        }
    }

    #[test]
    fn an_excluded_prefix_ends_at_its_slash() {
        let exclusions = Exclusions::parse(["foo/*", "exact", "bar*", "/*"]);
        for (key, want) in [
            ("foo/a", true),
            ("foobar/b", false),
            ("foo", false),
            ("exact", true),
            ("exact2", false),
            ("bar*", true),
            ("barn", false),
            ("any/thing", false),
        ] {
            assert_eq!(exclusions.contains(key), want, "{key}");
        }
    }
}
