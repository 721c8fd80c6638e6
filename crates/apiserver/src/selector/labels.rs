//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`, and the object form of the same.
use serde_json::Value;

use super::grammar;
use crate::error::StatusError;

/// All requirements must hold; none selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// What one label must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
    Never,
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(wanted) => value.is_some_and(|value| wanted.iter().any(|one| one == value)),
            Self::NotIn(refused) => {
                value.is_none_or(|value| refused.iter().all(|one| one != value))
            }
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::Above(bound) => number().is_some_and(|number| number > *bound),
            Self::Below(bound) => number().is_some_and(|number| number < *bound),
            Self::Never => false,
        }
    }
}

impl LabelSelector {
    /// Parses the text form of a `labelSelector` query.
    pub fn parse(text: &str) -> Result<Self, StatusError> {
        let requirements = grammar::parse(text).map_err(StatusError::bad_request)?;
        Ok(Self { requirements })
    }

    /// Reads the object form (`matchLabels` and `matchExpressions`). An empty object selects
    /// everything; null selects nothing.
    pub fn from_object(value: &Value) -> Self {
        let Some(object) = value.as_object() else {
            let never = Requirement {
                key: String::new(),
                test: Test::Never,
            };
            return Self {
                requirements: vec![never],
            };
        };
        let mut selector = Self::from_map(object.get("matchLabels").unwrap_or(&Value::Null));
        let expressions = object.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.map_or(&[][..], Vec::as_slice) {
            let values = || {
                let list = expression["values"]
                    .as_array()
                    .map_or(&[][..], Vec::as_slice);
                list.iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            };
            let test = match expression["operator"].as_str() {
                Some("In") => Test::In(values()),
                Some("NotIn") => Test::NotIn(values()),
                Some("Exists") => Test::Exists,
                Some("DoesNotExist") => Test::Missing,
                _ => Test::Never,
            };
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            selector.requirements.push(Requirement { key, test });
        }
        selector
    }

    /// Reads a plain map of labels that must all be there (a Service's selector).
    pub fn from_map(value: &Value) -> Self {
        let Some(map) = value.as_object() else {
            return Self::default();
        };
        let requirements = map
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            })
            .collect();
        Self { requirements }
    }

    /// Whether there is no requirement.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels that `label` looks up satisfy every requirement.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.test.holds(label(&requirement.key)))
    }

    /// The text form, as a scale's status shows it.
    pub fn to_text(&self) -> String {
        let parts: Vec<String> = self.requirements.iter().map(Requirement::to_text).collect();
        parts.join(",")
    }
}

impl Requirement {
    fn to_text(&self) -> String {
        let key = &self.key;
        match &self.test {
            Test::In(values) => match values.as_slice() {
                [one] => format!("{key}={one}"),
                many => format!("{key} in ({})", many.join(",")),
            },
            Test::NotIn(values) => match values.as_slice() {
                [one] => format!("{key}!={one}"),
                many => format!("{key} notin ({})", many.join(",")),
            },
            Test::Exists => key.clone(),
            Test::Missing => format!("!{key}"),
            Test::Above(bound) => format!("{key}>{bound}"),
            Test::Below(bound) => format!("{key}<{bound}"),
            Test::Never => "!*".to_owned(),
        }
    }
}

/// Kubernetes' sentence about keys of labels and annotations.
pub(crate) const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, \
'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Kubernetes' sentence about values of labels.
pub(crate) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of \
alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Whether a text is `[prefix/]name` as keys of labels and annotations must be.
pub(crate) fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if !is_dns_subdomain(prefix) {
                return false;
            }
            name
        }
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// Whether a text may be a label's value.
pub(crate) fn is_label_value(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outer = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|&byte| inner(byte))
        && outer(bytes.first())
        && outer(bytes.last())
}

/// Whether a text is a lower-case DNS name of at most 253 bytes.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name
            .split('.')
            .all(|label| !label.is_empty() && dns_chars(label))
}

/// Whether a text is one lower-case DNS label of at most 63 bytes.
pub(crate) fn is_dns_label(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && dns_chars(name)
}

fn dns_chars(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.iter().all(|&byte| plain(byte) || byte == b'-')
        && bytes.first().is_none_or(|&byte| plain(byte))
        && bytes.last().is_none_or(|&byte| plain(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, labels: &[(&str, &str)], wanted: bool) {
        let parsed = LabelSelector::parse(selector).unwrap();
        let found = parsed.matches(|key| {
            labels
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value)
        });
        assert_eq!(found, wanted, "{selector} on {labels:?}");
    }

    #[test]
    fn selectors_select_what_kubernetes_selects() {
        check("", &[], true);
        check("app=web", &[("app", "web")], true);
        check("app==web", &[("app", "api")], false);
        check("app!=web", &[], true);
        check("app!=web", &[("app", "web")], false);
        check(
            "app in (web, api),tier",
            &[("app", "api"), ("tier", "x")],
            true,
        );
        check("app in (web, api),tier", &[("app", "api")], false);
        check("app notin (web)", &[("app", "api")], true);
        check("app notin (web)", &[], true);
        check("!app", &[("app", "")], false);
        check("!app", &[], true);
        check("size>3,size<10", &[("size", "4")], true);
        check("size>3", &[("size", "3")], false);
        check("size>3", &[("size", "large")], false);
        check("example.com/a=b", &[("example.com/a", "b")], true);
        check("app=", &[("app", "")], true);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "a b", "=x", "a in (x", "a on (x)", "a=b=c d", "-a", "a=-b", "a>b", ",a", "x/y/z",
        ] {
            let error = LabelSelector::parse(text).unwrap_err();
            assert_eq!(error.code, 400, "{text}");
        }
    }

    #[test]
    fn the_object_form_matches_expressions_and_null_selects_nothing() {
        let selector = LabelSelector::from_object(&serde_json::json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]
        }));
        assert!(selector.matches(|key| (key == "a").then_some("b")));
        assert!(!LabelSelector::from_object(&Value::Null).matches(|_| None));
        assert!(LabelSelector::from_object(&serde_json::json!({})).matches(|_| None));
    }
}
