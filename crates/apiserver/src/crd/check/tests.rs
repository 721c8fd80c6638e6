//! CRDs and what is wrong with them.
use serde_json::{Value, json};

use super::problems;

fn crd(versions: Value) -> Value {
    json!({
        "metadata": {"name": "things.a.b"},
        "spec": {"group": "a.b", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": versions},
        "status": {"storedVersions": ["v1"]},
    })
}

/// A CRD with one version, whose field `a` has this schema.
fn with_field(field: Value) -> Value {
    let schema = json!({"type": "object", "properties": {"a": field}});
    crd(
        json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]),
    )
}

#[track_caller]
fn check(crd: &Value, wanted: &[&str]) {
    let found: Vec<String> = problems(None, crd)
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    assert_eq!(found, wanted);
}

const A: &str = "spec.validation.openAPIV3Schema.properties[a]";

#[track_caller]
fn field(schema: Value, at: &str, why: &str) {
    check(&with_field(schema), &[&format!("{A}{at}: {why}")]);
}

#[test]
fn schemas_are_structural() {
    check(&with_field(json!({"type": "string"})), &[]);
    field(
        json!({}),
        ".type",
        "Required value: must not be empty for specified object fields",
    );
    field(
        json!({"type": "array"}),
        ".items",
        "Required value: must be specified",
    );
    field(
        json!({"type": "string", "pattern": "("}),
        ".pattern",
        "Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`",
    );
    field(
        json!({"type": "object", "anyOf": [{"type": "object"}]}),
        ".anyOf[0].type",
        "Forbidden: must be empty to be structural",
    );
}

#[test]
fn defaults_are_what_their_schema_takes() {
    field(
        json!({"type": "integer", "default": "x"}),
        ".default",
        &format!(
            "Invalid value: \"string\": {} in body must be of type integer: \"string\"",
            ""
        ),
    );
    field(
        json!({"type": "object", "default": {"x": 1}}),
        ".default",
        "Invalid value: {\"x\":1}: must not have unknown fields",
    );
}

#[test]
fn keys_of_lists_are_always_there() {
    let list = |keys: Value, items: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items});
    let items = json!({"type": "object", "properties": {"k": {"type": "string"}}});
    field(
        list(json!(["k"]), items.clone()),
        ".items.properties[k].default",
        "Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
    );
    field(
        list(json!([]), items),
        ".x-kubernetes-list-map-keys",
        "Required value: must not be empty if x-kubernetes-list-type is map",
    );
}

#[test]
fn rules_are_compiled_and_priced() {
    field(
        json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 'a'"}]}),
        ".x-kubernetes-validations[0].rule",
        "Invalid value: {\"Rule\":\"self \\u003e 'a'\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\
         \"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:6: found no matching \
         overload for '_>_' applied to '(int, string)'\n | self > 'a'\n | .....^",
    );
    let list = json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a == b))"}]});
    let found = problems(None, &with_field(list));
    assert_eq!(found.len(), 3);
    assert!(
        found[0]
            .message
            .contains("exceeds budget by factor of more than 100x")
    );
    let bounded = json!({"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10},
        "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a == b))"}]});
    check(&with_field(bounded), &[]);
}

#[test]
fn versions_are_counted() {
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object"}}})
    };
    check(
        &crd(json!([version("v1", true), version("v2", false)])),
        &[],
    );
    let found = problems(
        None,
        &crd(json!([version("v1", true), version("v1", true)])),
    );
    let texts: Vec<&str> = found.iter().map(|cause| cause.message.as_str()).collect();
    assert!(
        texts[0].ends_with("must contain unique version names"),
        "{texts:?}"
    );
    assert!(
        texts[1].ends_with("must have exactly one version marked as storage version"),
        "{texts:?}"
    );
}

#[test]
fn what_is_served_keeps_its_names_and_its_stored_versions() {
    let mut before = with_field(json!({"type": "string"}));
    before["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut after = before.clone();
    after["spec"]["scope"] = json!("Cluster");
    after["spec"]["versions"][0]["name"] = json!("v2");
    let found = problems(Some(&before), &after);
    let texts: Vec<String> = found
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    assert_eq!(
        texts[0],
        "spec.scope: Invalid value: \"Cluster\": field is immutable"
    );
    assert!(texts[1].starts_with(
        "status.storedVersions: Invalid value: [\"v1\"]: must have the storage version v2"
    ));
    assert!(texts[2].starts_with(
        "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions"
    ));
}

#[test]
fn patterns_may_not_be_too_large_together() {
    let with = |pattern: &dyn Fn(usize) -> String| {
        let fields = (1000..3000).map(|at| {
            let field = json!({"type": "string", "pattern": pattern(at)});
            (format!("f{at}"), field)
        });
        let fields: serde_json::Map<String, Value> = fields.collect();
        with_field(json!({"type": "object", "properties": fields}))
    };
    check(&with(&|_| r"\w{20}".to_owned()), &[]);
    check(&with(&|_| r"\pL{15}".to_owned()), &[]);
    check(&with(&|at| format!("^[a-z]{{1,20}}-{at}$")), &[]);
    let large = with(&|at| format!(r"\pL{{10}}{at}"));
    let found = problems(None, &large);
    assert_eq!(found.len(), 1);
    let field = &found[0].field;
    assert!(field.starts_with(&format!("{A}.properties[f10")), "{field}");
    assert!(field.ends_with(".pattern"), "{field}");
    let why = "must not be so large together";
    assert!(found[0].message.ends_with(why), "{}", found[0].message);
    assert_eq!(problems(Some(&large), &large), [], "what is there stays");
}
