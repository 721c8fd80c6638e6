//! Field selectors: `metadata.name=x,status.phase!=Running`, by the fields that a kind allows.
use serde_json::Value;

use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;

/// All terms must hold; none selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    path: String,
    value: String,
    equal: bool,
}

const POD: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

const EVENT: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The fields besides name and namespace by which a built-in resource may be selected.
fn allowed(res: &Resource) -> &'static [&'static str] {
    match (res.group.as_str(), res.plural.as_str()) {
        ("", "pods") => POD,
        ("" | "events.k8s.io", "events") => EVENT,
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["name", "status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("batch", "jobs") => &["status.successful"],
        ("", "replicationcontrollers") => &["status.replicas"],
        ("certificates.k8s.io", "certificatesigningrequests" | "clustertrustbundles") => {
            &["spec.signerName"]
        }
        _ => &[],
    }
}

impl FieldSelector {
    /// Parses the text form of a `fieldSelector` query for one resource.
    pub fn parse(text: &str, res: &Resource) -> Result<Self, StatusError> {
        let mut terms = Vec::new();
        let mut parts = split_terms(text);
        parts.sort_unstable();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let (path, value, equal) = split_term(part).ok_or_else(|| {
                StatusError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            })?;
            let value = unescaped(value)?;
            let known = path == "metadata.name"
                || (path == "metadata.namespace" && res.is_namespaced())
                || allowed(res).contains(&path)
                || res.of_crd.selectable.iter().any(|field| field == path);
            if !known {
                return Err(unknown(path, res));
            }
            terms.push(Term {
                path: path.to_owned(),
                value,
                equal,
            });
        }
        Ok(Self { terms })
    }

    /// Selects one name: what a get-like watch does.
    pub fn name(name: &str) -> Self {
        let term = Term {
            path: "metadata.name".to_owned(),
            value: name.to_owned(),
            equal: true,
        };
        Self { terms: vec![term] }
    }

    /// The one name that can match, if the selector pins it.
    pub fn pinned_name(&self) -> Option<&str> {
        let pin = self
            .terms
            .iter()
            .find(|term| term.equal && term.path == "metadata.name");
        pin.map(|term| term.value.as_str())
    }

    /// Whether there is no term.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an object satisfies every term; looks into its JSON only if a term needs that.
    pub fn matches(&self, object: &Object) -> bool {
        let mut parsed = None;
        self.terms.iter().all(|term| {
            let equal = match term.path.as_str() {
                "metadata.name" | "name" => object.name() == term.value,
                "metadata.namespace" => object.namespace() == term.value,
                path => {
                    let value = parsed.get_or_insert_with(|| object.value());
                    field(value, path) == term.value
                }
            };
            equal == term.equal
        })
    }
}

/// Splits at the commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Path, value and whether they shall be equal, at the first sign that says so.
fn split_term(part: &str) -> Option<(&str, &str, bool)> {
    let starts = |at: &usize| part[*at..].starts_with('=') || part[*at..].starts_with("!=");
    let at = part.char_indices().map(|(at, _)| at).find(starts)?;
    let (path, rest) = part.split_at(at);
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(sign) {
            return Some((path, value, equal));
        }
    }
    None
}

/// A value without its backslashes.
fn unescaped(value: &str) -> Result<String, StatusError> {
    let refuse = |why: String| Err(StatusError::bad_request(why));
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                next => {
                    let next = next.map(String::from).unwrap_or_default();
                    return refuse(format!(
                        "invalid field selector: invalid escape sequence: \\{next}"
                    ));
                }
            },
            (',' | '=', _) => {
                return refuse(format!(
                    "invalid field selector: unescaped character in value: {c}"
                ));
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn unknown(path: &str, res: &Resource) -> StatusError {
    if (res.group.as_str(), res.plural.as_str()) == ("batch", "jobs") {
        return StatusError::bad_request(format!("field label {path:?} not supported for Job"));
    }
    let is_replica_set = res.group == "apps" && res.plural == "replicasets";
    if is_replica_set && !res.custom {
        return StatusError::bad_request(format!(
            "{path:?} is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\""
        ));
    }
    if allowed(res).is_empty() && !res.custom {
        return StatusError::bad_request(format!(
            "{path:?} is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\""
        ));
    }
    StatusError::bad_request(format!("field label not supported: {path}"))
}

/// A field as text; absent fields are empty, as in Kubernetes' typed objects.
fn field(value: &Value, path: &str) -> String {
    match path {
        "status.podIPs" => return text(&value["status"]["podIPs"][0]["ip"]),
        "source" => {
            let component = text(&value["source"]["component"]);
            return if component.is_empty() {
                text(&value["reportingComponent"])
            } else {
                component
            };
        }
        "spec.unschedulable" | "spec.hostNetwork" => {
            let found = path.split('.').fold(value, |at, name| &at[name]);
            return (found == true).to_string();
        }
        "status.successful" => {
            return value["status"]["succeeded"]
                .as_i64()
                .unwrap_or(0)
                .to_string();
        }
        "status.replicas" => {
            return value["status"]["replicas"]
                .as_i64()
                .unwrap_or(0)
                .to_string();
        }
        _ => {}
    }
    let path = path.replace("regarding.", "involvedObject.");
    text(path.split('.').fold(value, |at, name| &at[name]))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    #[track_caller]
    fn check(selector: &str, object: &Value, wanted: bool) {
        let registry = Registry::with_builtin();
        let pods = registry.find("", "v1", "pods").unwrap();
        let selector = FieldSelector::parse(selector, &pods).unwrap();
        assert_eq!(selector.matches(&Object::new(object).unwrap()), wanted);
    }

    #[test]
    fn fields_of_pods_select_and_absent_fields_are_empty() {
        let pod = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"nodeName": "n"}});
        check("metadata.name=a,metadata.namespace==b", &pod, true);
        check("metadata.name!=a", &pod, false);
        check("spec.nodeName=n", &pod, true);
        check("spec.nodeName=", &pod, false);
        check("status.phase=", &pod, true);
        check("status.phase!=Running", &pod, true);
        check("spec.hostNetwork=false", &pod, true);
    }

    #[test]
    fn a_field_that_the_kind_does_not_allow_is_refused_by_name() {
        let registry = Registry::with_builtin();
        let pods = registry.find("", "v1", "pods").unwrap();
        let error = FieldSelector::parse("spec.foo=1", &pods).unwrap_err();
        assert_eq!(error.message, "field label not supported: spec.foo");
        let error = FieldSelector::parse("what", &pods).unwrap_err();
        assert_eq!(
            error.message,
            "invalid selector: 'what'; can't understand 'what'"
        );
        let maps = registry.find("", "v1", "configmaps").unwrap();
        let error = FieldSelector::parse("data=1", &maps).unwrap_err();
        assert_eq!(error.code, 400);
    }
}
