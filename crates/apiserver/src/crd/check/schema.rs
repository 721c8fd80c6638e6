//! The schema of a version, node by node.
mod lists;
mod rules;

use serde_json::{Value, json};

use super::cost::{Cardinality, Total};
use super::{defaults, forbidden, internal, invalid, required, structural};
use crate::crd::cel::rule::SelfType;
use crate::crd::path::Path;
use crate::crd::schema::Schema;
use crate::error::Cause;
use crate::store::json::{list, text};
use lists::{lists, set_items};
use rules::rule_form;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Checks a version's schema; one that an update does not change may cost what it costs.
pub(super) fn check(version: &Value, (path, unchanged): (&Path, bool), causes: &mut Vec<Cause>) {
    let schema = &version["schema"]["openAPIV3Schema"];
    if !schema.is_object() {
        return;
    }
    let path = path.child("openAPIV3Schema");
    let before = causes.len();
    if version["subresources"]["status"].is_object() {
        with_status(schema, &path, causes);
    }
    if schema["nullable"] == true {
        causes.push(forbidden(
            &path.child("nullable"),
            "nullable cannot be true at the root",
        ));
    }
    let unsupported = structural::unsupported(schema);
    let mut rules = Rules::No;
    if unsupported.is_none() {
        let mut found = structural::check(schema, &path);
        if found.is_empty() {
            defaults::check(&Schema::root(schema), &path, &mut found);
        }
        if found.is_empty() {
            rules = Rules::Yes;
        }
        causes.extend(found);
    }
    let mut checker = Checker {
        schemas: Vec::new(),
        rules: Vec::new(),
        total: Total::default(),
        unchanged,
    };
    let root = Place {
        path: path.clone(),
        root: true,
        inside_meta: false,
        no_defaults: None,
        no_old_self: None,
        cardinality: Cardinality::root(),
        rules,
    };
    checker.node(schema, &root);
    causes.append(&mut checker.schemas);
    causes.append(&mut checker.rules);
    if causes.len() == before
        && let Some(why) = unsupported
    {
        causes.push(invalid(&path, &json!(""), &why));
    }
    checker.total.check(&path, causes);
}

fn with_status(schema: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let kind = text(schema, "type");
    if !kind.is_empty() && kind != "object" {
        let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is \
                   enabled";
        return causes.push(invalid(&path.child("type"), &kind.into(), why));
    }
    if internal::not_at_root(schema) {
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            internal::AT_ROOT.join(" ")
        );
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {why}", internal::schema(schema)),
            field: path.to_string(),
        });
    }
}

/// Whether rules are looked at: only in schemas that make sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Yes,
    No,
}

/// Where in the schema a node is.
#[derive(Clone)]
struct Place {
    path: Path,
    root: bool,
    inside_meta: bool,
    no_defaults: Option<String>,
    /// The nearest list whose elements are not found again after an update.
    no_old_self: Option<String>,
    cardinality: Cardinality,
    rules: Rules,
}

impl Place {
    fn below(&self, path: Path) -> Self {
        Self {
            path,
            root: false,
            ..self.clone()
        }
    }

    fn without_rules(&self, path: Path) -> Self {
        Self {
            rules: Rules::No,
            ..self.below(path)
        }
    }
}

struct Checker {
    schemas: Vec<Cause>,
    rules: Vec<Cause>,
    total: Total,
    unchanged: bool,
}

impl Checker {
    fn node(&mut self, schema: &Value, place: &Place) {
        if !schema.is_object() {
            return;
        }
        let before = self.schemas.len();
        standard(schema, place, &mut self.schemas);
        self.children(schema, place);
        kubernetes(schema, &place.path, &mut self.schemas);
        lists(schema, &place.path, &mut self.schemas);
        let rules = list(schema, "x-kubernetes-validations");
        for (at, rule) in rules.iter().enumerate() {
            let path = place.path.child("x-kubernetes-validations").key(at);
            rule_form(schema, rule, &path, &mut self.schemas);
        }
        if rules.is_empty() || self.schemas.len() != before || place.rules == Rules::No {
            return;
        }
        let Some(self_type) = SelfType::new(schema, place.root) else {
            return;
        };
        for (at, rule) in rules.iter().enumerate() {
            let path = place.path.child("x-kubernetes-validations").key(at);
            self.rule(rule, (schema, &self_type), (place, &path));
        }
    }

    fn children(&mut self, schema: &Value, place: &Place) {
        let path = &place.path;
        let additional = &schema["additionalProperties"];
        let properties = schema["properties"]
            .as_object()
            .filter(|map| !map.is_empty());
        if !additional.is_null() {
            let path = path.child("additionalProperties");
            if properties.is_some() && *additional != true {
                let why = "additionalProperties and properties are mutual exclusive";
                self.schemas.push(forbidden(&path, why));
            }
            let mut below = place.below(path);
            if place.inside_meta {
                below.no_defaults =
                    Some("inside additionalProperties applying to object metadata".to_owned());
            }
            below.cardinality = place.cardinality.of_values(schema);
            self.node(additional, &below);
        }
        for (name, property) in properties.into_iter().flatten() {
            let mut below = place.below(path.child("properties").key(name));
            let whole = place.root || schema["x-kubernetes-embedded-resource"] == true;
            if whole && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                below.inside_meta = true;
                if place.root {
                    below.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            self.node(property, &below);
        }
        self.node(&schema["not"], &place.without_rules(path.child("not")));
        for name in ["allOf", "oneOf", "anyOf"] {
            for (at, one) in list(schema, name).iter().enumerate() {
                self.node(one, &place.without_rules(path.child(name).key(at)));
            }
        }
        for (name, one) in schema["definitions"].as_object().into_iter().flatten() {
            self.node(
                one,
                &place.without_rules(path.child("definitions").key(name)),
            );
        }
        let mut below = place.below(path.child("items"));
        if schema["x-kubernetes-list-type"] != "map" {
            below.no_old_self.get_or_insert_with(|| path.to_string());
        }
        below.cardinality = place.cardinality.of_items(schema);
        self.node(&schema["items"], &below);
    }
}

/// What OpenAPI allows and Kubernetes does not.
fn standard(schema: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let path = &place.path;
    let kind = text(schema, "type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        causes.push(Cause::unsupported(
            path.child("type").to_string(),
            &kind.into(),
            &TYPES,
        ));
    }
    if !schema["default"].is_null()
        && let Some(reason) = &place.no_defaults
    {
        causes.push(forbidden(
            &path.child("default"),
            &format!("must not be set {reason}"),
        ));
    }
    let mut no = |name: &str, set: bool| {
        if set {
            causes.push(forbidden(
                &path.child(name),
                &format!("{name} is not supported"),
            ));
        }
    };
    let filled = |name: &str| schema[name].as_object().is_some_and(|map| !map.is_empty());
    no("id", !text(schema, "id").is_empty());
    no("additionalItems", !schema["additionalItems"].is_null());
    no("patternProperties", filled("patternProperties"));
    no("definitions", filled("definitions"));
    no("dependencies", schema["dependencies"].is_object());
    no("$ref", schema["$ref"].is_string());
    if kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        causes.push(forbidden(&path.child("type"), why));
    }
    if schema["items"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
    {
        causes.push(forbidden(
            &path.child("items"),
            "items must be a schema object and not an array",
        ));
    }
    if place.inside_meta && schema["x-kubernetes-embedded-resource"] == true {
        let why = "must not be used inside of resource meta";
        causes.push(forbidden(
            &path.child("x-kubernetes-embedded-resource"),
            why,
        ));
    }
    if schema["uniqueItems"] == true {
        let why =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(forbidden(&path.child("uniqueItems"), why));
    }
}

/// Kubernetes' own keywords but for those of lists by key.
fn kubernetes(schema: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if schema[preserve] == false {
        causes.push(invalid(
            &path.child(preserve),
            &json!(false),
            "must be true or undefined",
        ));
    }
    let kind = text(schema, "type");
    for (name, wanted, allowed) in [
        (
            "x-kubernetes-map-type",
            "object",
            &["atomic", "granular"][..],
        ),
        (
            "x-kubernetes-list-type",
            "array",
            &["atomic", "set", "map"][..],
        ),
    ] {
        let Some(found) = schema[name].as_str() else {
            continue;
        };
        if kind != wanted {
            let why = format!("must be {wanted} if {name} is specified");
            let field = path.child("type");
            causes.push(if kind.is_empty() {
                required(&field, &why)
            } else {
                invalid(&field, &kind.into(), &why)
            });
        } else if found == "set" {
            set_items(&schema["items"], path, causes);
        }
        if !allowed.contains(&found) {
            // The supported values are shown sorted by nobody.
            causes.push(Cause::unsupported(
                path.child(name).to_string(),
                &found.into(),
                allowed,
            ));
        }
    }
}
