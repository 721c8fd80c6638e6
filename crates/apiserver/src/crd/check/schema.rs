//! The schema of a version, and the rules in it.
use serde_json::{Value, json};

use super::cost::{self, Cardinality, Total};
use super::field_path::{Arrays, resolve};
use super::{defaults, forbidden, internal, invalid, required, structural};
use crate::crd::cel::cost::estimate;
use crate::crd::cel::rule::{Gives, SelfType, compile};
use crate::crd::path::Path;
use crate::crd::schema::Schema;
use crate::error::Cause;
use crate::store::json::{list, text};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

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

    fn rule(
        &mut self,
        rule: &Value,
        (schema, self_type): (&Value, &SelfType),
        (place, path): (&Place, &Path),
    ) {
        let (rule_path, message_path) = (path.child("rule"), path.child("messageExpression"));
        let optional = rule["optionalOldSelf"] == true;
        let bad = |path: &Path, why: &str| Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {why}", internal::rule(rule)),
            field: path.to_string(),
        };
        let compiled = match compile(text(rule, "rule"), self_type, optional, Gives::Bool) {
            Ok(compiled) => compiled,
            Err(error) => return self.rules.push(bad(&rule_path, &error)),
        };
        let cost = estimate(&compiled, schema, place.root);
        let cost = place.cardinality.times(cost, schema);
        if !self.unchanged
            && let Some(why) = cost::too_much("estimated rule cost", cost)
        {
            self.rules.push(forbidden(&rule_path, &why));
        }
        self.total.add(&rule_path, cost);
        let message = text(rule, "messageExpression");
        if !message.is_empty() {
            match compile(message, self_type, optional, Gives::Text) {
                Err(error) => self.rules.push(bad(&message_path, &error)),
                Ok(compiled) => {
                    let cost = estimate(&compiled, schema, place.root);
                    if !self.unchanged
                        && let Some(why) = cost::too_much("estimated messageExpression cost", cost)
                    {
                        self.rules.push(forbidden(&message_path, &why));
                    }
                    self.total.add(&message_path, cost);
                }
            }
        }
        if compiled.uses_old_self {
            if let Some(within) = &place.no_old_self {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
                );
                self.rules.push(invalid(&rule_path, &rule["rule"], &why));
            }
        } else if !rule["optionalOldSelf"].is_null() {
            let why = "may not be set if oldSelf is not used in rule";
            self.rules.push(invalid(
                &path.child("optionalOldSelf"),
                &rule["optionalOldSelf"],
                why,
            ));
        }
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

fn set_items(items: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = &items["x-kubernetes-list-type"];
    let path = path.child("items");
    match text(items, "type") {
        "array" if list_type.as_str().is_some_and(|found| found != "atomic") => {
            causes.push(invalid(
                &path.child("x-kubernetes-list-type"),
                list_type,
                why,
            ));
        }
        "object" if items["x-kubernetes-map-type"] != "atomic" => {
            causes.push(invalid(
                &path.child("x-kubernetes-map-type"),
                list_type,
                why,
            ));
        }
        _ => {}
    }
}

/// Lists whose elements have keys.
fn lists(schema: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let list_type = schema["x-kubernetes-list-type"].as_str();
    let (type_path, keys_path) = (
        path.child("x-kubernetes-list-type"),
        path.child("x-kubernetes-list-map-keys"),
    );
    let items = &schema["items"];
    let items_path = path.child("items");
    if !keys.is_empty() && list_type != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(match list_type {
            None => required(&type_path, why),
            Some(found) => invalid(&type_path, &found.into(), why),
        });
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            causes.push(required(
                &keys_path,
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
        if items.is_null() {
            causes.push(required(
                &items_path,
                "must have a schema if x-kubernetes-list-type is map",
            ));
        } else if items.is_object() && text(items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            causes.push(invalid(
                &items_path.child("type"),
                &text(items, "type").into(),
                why,
            ));
        }
        for (at, key) in keys
            .iter()
            .enumerate()
            .filter(|_| text(items, "type") == "object")
        {
            let name = key.as_str().unwrap_or_default();
            match items["properties"].get(name) {
                None => causes.push(invalid(
                    &keys_path,
                    &json!(keys),
                    "entries must all be names of item properties",
                )),
                Some(property) if matches!(text(property, "type"), "array" | "object") => {
                    let field = items_path.child("properties").key(name).child("type");
                    let why =
                        "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    causes.push(invalid(&field, &text(items, "type").into(), why));
                }
                Some(_) => {}
            }
            if keys[..at].contains(key) {
                causes.push(invalid(
                    &keys_path,
                    &json!(keys),
                    "must not contain duplicate entries",
                ));
            }
        }
    }
    if let Some(found) =
        list_type.filter(|found| matches!(*found, "set" | "map") && items.is_object())
    {
        key_values(items, (found, keys), &items_path, causes);
    }
}

/// Keys are always there.
fn key_values(
    items: &Value,
    (list_type, keys): (&str, &[Value]),
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    if items["nullable"] == true {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        causes.push(forbidden(&path.child("nullable"), &why));
    }
    for key in keys.iter().filter(|_| list_type == "map") {
        let name = key.as_str().unwrap_or_default();
        let Some(property) = items["properties"].get(name) else {
            continue;
        };
        let path = path.child("properties").key(name);
        if !list(items, "required").contains(key) && property["default"].is_null() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                       property";
            causes.push(required(&path.child("default"), why));
        }
        if property["nullable"] == true {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            causes.push(forbidden(&path.child("nullable"), why));
        }
    }
}

/// The parts of a rule besides its expressions.
fn rule_form(schema: &Value, rule: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let (own, message) = (text(rule, "rule"), text(rule, "message"));
    let breaks = |text: &str| text.contains(['\n', '\r']);
    if own.trim().is_empty() {
        causes.push(required(&path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        causes.push(invalid(
            &path.child("message"),
            &message.into(),
            "must be non-empty if specified",
        ));
    } else if breaks(message.trim()) {
        causes.push(invalid(
            &path.child("message"),
            &message.into(),
            "must not contain line breaks",
        ));
    } else if breaks(own.trim()) && message.trim().is_empty() {
        let why = "message must be specified if rule contains line breaks";
        causes.push(required(&path.child("message"), why));
    }
    let expression = text(rule, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        causes.push(required(&path.child("messageExpression"), why));
    }
    if let Some(reason) = rule["reason"]
        .as_str()
        .filter(|reason| !REASONS.contains(reason))
    {
        causes.push(Cause::unsupported(
            path.child("reason").to_string(),
            &reason.into(),
            &REASONS,
        ));
    }
    let field = text(rule, "fieldPath");
    let mut complain =
        |why: &str| causes.push(invalid(&path.child("fieldPath"), &field.into(), why));
    if !field.is_empty() && field.trim().is_empty() {
        complain("must be non-empty if specified");
    }
    if breaks(field) {
        complain("must not contain line breaks");
    }
    if !field.is_empty() && resolve(field, schema, Arrays::Allowed).is_err() {
        complain("must be a valid path");
    }
}
