//! Whether a CustomResourceDefinition may be stored, in Kubernetes' words.
//!
//! Kubernetes checks its internal form, in which what all versions say alike is said once, above them:
//! so paths of errors begin with `spec.validation` where there is one schema, else with `spec.versions[i].schema`.
mod conversion;
mod cost;
mod defaults;
pub(crate) mod field_path;
mod internal;
mod names;
mod patterns;
mod schema;
mod structural;
mod version;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::formats::is_recognized;
use super::number::shown;
use super::path::Path;
use crate::error::Cause;
use crate::selector::is_dns_subdomain;
use crate::store::json::{list, text};
use names::{dns1035, dns1123};

/// What all versions say alike.
struct Alike {
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable: bool,
}

impl Alike {
    fn new(versions: &[Value]) -> Self {
        let same = |name: &str| {
            let mut all = versions.iter().map(|version| &version[name]);
            all.next()
                .is_some_and(|first| all.all(|other| other == first))
        };
        Self {
            schema: same("schema"),
            subresources: same("subresources"),
            columns: same("additionalPrinterColumns"),
            selectable: same("selectableFields"),
        }
    }
}

/// Everything that is wrong with a CRD; `before` is what it was before an update.
pub(crate) fn problems(before: Option<&Value>, crd: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if before.is_none() {
        name(crd, &mut causes);
    }
    spec(before, crd, &mut causes);
    if let Some(before) = before {
        immutable(before, crd, &mut causes);
    }
    names::check(
        &crd["status"]["acceptedNames"],
        &Path::new("status.acceptedNames"),
        &mut causes,
    );
    stored_versions(crd, &mut causes);
    approval(before, crd, &mut causes);
    let kept = before.is_some_and(|before| before["spec"]["preserveUnknownFields"] == true);
    if !kept && crd["spec"]["preserveUnknownFields"] == true {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        causes.push(Cause::invalid(
            "spec.preserveUnknownFields",
            &json!(true),
            why,
        ));
    }
    causes
}

/// What is in the schemas of a CRD and means nothing.
pub(crate) fn warnings(crd: &Value) -> Vec<String> {
    let versions = list(&crd["spec"], "versions");
    let alike = Alike::new(versions);
    let mut formats = Vec::new();
    let mut sets = BTreeSet::new();
    for version in versions
        .iter()
        .take(if alike.schema { 1 } else { usize::MAX })
    {
        walk(&version["schema"]["openAPIV3Schema"], &mut |schema| {
            let (format, kind) = (text(schema, "format"), text(schema, "type"));
            if !format.is_empty() && !is_recognized(format, kind) {
                formats.push(format!("unrecognized format {format:?}"));
            }
            let of = text(&schema["items"], "type");
            if schema["x-kubernetes-list-type"] == "set" && matches!(of, "object" | "array") {
                sets.insert(format!(
                    "x-kubernetes-list-type: set for items of type {of:?} is not supported by server-side apply or \
                     CEL validation rules"
                ));
            }
        });
    }
    formats.into_iter().chain(sets).collect()
}

fn walk(schema: &Value, see: &mut impl FnMut(&Value)) {
    if schema.is_object() {
        see(schema);
        internal::below(schema)
            .into_iter()
            .for_each(|below| walk(below, see));
    }
}

fn name(crd: &Value, causes: &mut Vec<Cause>) {
    let name = &crd["metadata"]["name"];
    let (plural, group) = (
        text(&crd["spec"]["names"], "plural"),
        text(&crd["spec"], "group"),
    );
    if let Some(why) = name.as_str().and_then(dns1123) {
        causes.push(Cause::invalid("metadata.name", name, &why));
    }
    if name.as_str() != Some(format!("{plural}.{group}").as_str()) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", name, why));
    }
}

fn spec(before: Option<&Value>, crd: &Value, causes: &mut Vec<Cause>) {
    let spec = &crd["spec"];
    let versions = list(spec, "versions");
    let alike = Alike::new(versions);
    group_and_scope(spec, causes);
    schemas_are_there(spec, causes);
    if let Some(cause) = patterns::too_many(before, versions, &alike) {
        // Nothing more is done with them.
        causes.push(cause);
        return;
    }
    for (at, version) in versions.iter().enumerate() {
        let path = Path::new("spec.versions").key(at);
        let name = text(version, "name");
        if let Some(why) = dns1035(name) {
            causes.push(Cause::invalid(
                path.child("name").to_string(),
                &json!(name),
                &why,
            ));
        }
        version::deprecation(version, &path, causes);
        if !alike.schema {
            let unchanged = has_same_schema(before, version);
            schema::check(version, (&path.child("schema"), unchanged), causes);
        }
        if !alike.subresources {
            let path = path.child("subresources");
            version::subresources(&version["subresources"], &path, causes);
        }
        if !alike.columns {
            version::columns(version, &path.child("additionalPrinterColumns"), causes);
        }
        if !alike.selectable {
            version::selectable(version, &path.child("selectableFields"), causes);
        }
    }
    counts(versions, &alike, causes);
    names::required(&spec["names"], causes);
    names::check(&spec["names"], &Path::new("spec.names"), causes);
    said_once(before, versions, &alike, causes);
    conversion::check(&spec["conversion"], causes);
}

/// What all versions say alike, checked once.
fn said_once(before: Option<&Value>, versions: &[Value], alike: &Alike, causes: &mut Vec<Cause>) {
    let Some(first) = versions.first() else {
        return;
    };
    if alike.schema {
        let mut whole = first.clone();
        let mut subresources = versions.iter().map(|version| &version["subresources"]);
        let status = subresources.find(|one| one["status"].is_object());
        whole["subresources"] = status.cloned().unwrap_or_default();
        let unchanged = has_same_schema(before, first);
        schema::check(&whole, (&Path::new("spec.validation"), unchanged), causes);
    }
    if alike.subresources {
        let path = Path::new("spec.subresources");
        version::subresources(&first["subresources"], &path, causes);
    }
    if alike.columns {
        version::columns(first, &Path::new("spec.additionalPrinterColumns"), causes);
    }
    if alike.selectable {
        version::selectable(first, &Path::new("spec.selectableFields"), causes);
    }
}

fn schemas_are_there(spec: &Value, causes: &mut Vec<Cause>) {
    let versions = list(spec, "versions");
    for (at, version) in versions.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            let field = format!("spec.versions[{at}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, ""));
        }
    }
    let has_default = |version: &Value| {
        let schema = &version["schema"]["openAPIV3Schema"];
        internal::any(schema, &|one| !one["default"].is_null())
    };
    if spec["preserveUnknownFields"] == true && versions.iter().any(has_default) {
        let why = "must be false in order to use defaults in the schema";
        causes.push(Cause::invalid(
            "spec.preserveUnknownFields",
            &json!(true),
            why,
        ));
    }
}

/// Whether an update leaves a version's schema as it was.
fn has_same_schema(before: Option<&Value>, version: &Value) -> bool {
    let same = |old: &Value| old["name"] == version["name"] && old["schema"] == version["schema"];
    before.is_some_and(|before| list(&before["spec"], "versions").iter().any(same))
}

fn group_and_scope(spec: &Value, causes: &mut Vec<Cause>) {
    let group = text(spec, "group");
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if let Some(why) = dns1123(group) {
        causes.push(Cause::invalid("spec.group", &json!(group), &why));
    } else if !group.contains('.') {
        let why = "should be a domain with at least one dot";
        causes.push(Cause::invalid("spec.group", &json!(group), why));
    }
    let scopes = ["Cluster", "Namespaced"];
    match text(spec, "scope") {
        "" => causes.push(Cause::required("spec.scope", "")),
        scope if scopes.contains(&scope) => {}
        scope => causes.push(Cause::unsupported("spec.scope", &json!(scope), &scopes)),
    }
}

/// The names and the number of versions.
fn counts(versions: &[Value], alike: &Alike, causes: &mut Vec<Cause>) {
    let shown = || internal::versions(versions, alike);
    let mut complain = |why: &str| {
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {why}", shown()),
            field: "spec.versions".to_owned(),
        });
    };
    let twice = |at: usize| {
        versions[..at]
            .iter()
            .any(|other| other["name"] == versions[at]["name"])
    };
    if (0..versions.len()).any(twice) {
        complain("must contain unique version names");
    }
    if versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count()
        != 1
    {
        complain("must have exactly one version marked as storage version");
    }
    let first = versions.first().map_or("", |version| text(version, "name"));
    if !first.is_empty()
        && let Some(why) = dns1035(first)
    {
        causes.push(Cause::invalid("spec.version", &json!(first), &why));
    }
}

fn immutable(before: &Value, crd: &Value, causes: &mut Vec<Cause>) {
    let (old, new) = (&before["spec"], &crd["spec"]);
    let established = list(&before["status"], "conditions")
        .iter()
        .any(|one| one["type"] == "Established" && one["status"] == "True");
    let mut same = |field: &str, old: &Value, new: &Value| {
        if old != new {
            causes.push(Cause::invalid(
                format!("spec.{field}"),
                new,
                "field is immutable",
            ));
        }
    };
    if established {
        same("scope", &old["scope"], &new["scope"]);
        same("names.kind", &old["names"]["kind"], &new["names"]["kind"]);
    }
    same("group", &old["group"], &new["group"]);
    same(
        "names.plural",
        &old["names"]["plural"],
        &new["names"]["plural"],
    );
}

fn stored_versions(crd: &Value, causes: &mut Vec<Cause>) {
    let field = "status.storedVersions";
    let stored = list(&crd["status"], "storedVersions");
    if stored.is_empty() {
        let why = "must have at least one stored version";
        return causes.push(Cause::invalid(field, &Value::Null, why));
    }
    let versions = list(&crd["spec"], "versions");
    for version in versions.iter().filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            let why = format!("must have the storage version {}", text(version, "name"));
            causes.push(Cause::invalid(field, &json!(stored), &why));
        }
    }
    for (at, name) in stored.iter().enumerate() {
        if versions.iter().any(|version| version["name"] == *name) {
            continue;
        }
        let name_text = name.as_str().unwrap_or_default();
        let why = format!(
            "missing from spec.versions; {name_text} was previously a storage version, and must remain in \
             spec.versions until a storage migration ensures no data remains persisted in {name_text} and removes \
             {name_text} from status.storedVersions"
        );
        causes.push(Cause::invalid(format!("{field}[{at}]"), name, &why));
    }
}

const APPROVED: &str = "api-approved.kubernetes.io";

#[derive(PartialEq)]
enum Approval {
    Missing,
    Bypassed,
    Given,
    Odd,
}

fn approval_of(crd: &Value) -> Approval {
    let annotation = text(&crd["metadata"]["annotations"], APPROVED);
    let is_url = annotation
        .split_once("://")
        .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty());
    match annotation {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed,
        _ if is_url => Approval::Given,
        _ => Approval::Odd,
    }
}

fn approval(before: Option<&Value>, crd: &Value, causes: &mut Vec<Cause>) {
    let group = text(&crd["spec"], "group");
    let protected = ["k8s.io", "kubernetes.io"];
    let is_protected = |suffix: &str| group == suffix || group.ends_with(&format!(".{suffix}"));
    if !protected.into_iter().any(is_protected)
        || before.is_some_and(|old| approval_of(old) == approval_of(crd))
    {
        return;
    }
    let field = format!("metadata.annotations[{APPROVED}]");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    match approval_of(crd) {
        Approval::Missing => {
            let why = format!("protected groups must have approval annotation {APPROVED:?}, {see}");
            causes.push(Cause::required(field, &why));
        }
        Approval::Odd => {
            let why = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting \
                 with \"unapproved\", {see}"
            );
            causes.push(Cause::invalid(
                field,
                &crd["metadata"]["annotations"][APPROVED],
                &why,
            ));
        }
        Approval::Bypassed | Approval::Given => {}
    }
}

/// A cause whose value is shown as Kubernetes shows it.
fn invalid(path: &Path, value: &Value, why: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {}: {why}", shown(value)),
        field: path.to_string(),
    }
}

fn forbidden(path: &Path, why: &str) -> Cause {
    Cause::forbidden(path.to_string(), why)
}

fn required(path: &Path, why: &str) -> Cause {
    Cause::required(path.to_string(), why)
}

/// Whether a group's name is one at all.
fn is_group(group: &str) -> bool {
    group.len() <= 253 && is_dns_subdomain(group)
}

#[cfg(test)]
mod tests;
