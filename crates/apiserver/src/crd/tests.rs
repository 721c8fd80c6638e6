//! Tables of schemas and objects, and the law that nothing panics.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::exercise::exercise;
use super::path::Path;
use super::schema::Schema;
use super::{decode, list_type, validate};

/// What is wrong with a value of `{spec: <schema>}`.
#[track_caller]
fn check(schema: &Value, value: Value, wanted: &[&str]) {
    update(schema, None, value, wanted);
}

#[track_caller]
fn update(schema: &Value, old: Option<Value>, value: Value, wanted: &[&str]) {
    let schema = Schema::root(&json!({"type": "object", "properties": {"spec": schema}}));
    let old = old.map(|old| json!({"spec": old}));
    let value = json!({"spec": value});
    let found = validate::validate(&schema, (&value, old.as_ref()), &Path::default());
    let found: Vec<String> = found
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn values_are_checked_in_the_words_of_kubernetes() {
    let text = json!({"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^a"});
    check(&text, json!("ab"), &[]);
    let short = "spec: Invalid value: \"a\": spec in body should be at least 2 chars long";
    check(&text, json!("a"), &[short]);
    check(
        &text,
        json!("abcd"),
        &["spec: Too long: may not be more than 3 bytes"],
    );
    check(
        &text,
        json!("bb"),
        &["spec: Invalid value: \"bb\": spec in body should match '^a'"],
    );
    let wrong =
        "spec: Invalid value: \"integer\": spec in body must be of type string: \"integer\"";
    check(&text, json!(1), &[wrong]);
    let number = json!({"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 2});
    check(&number, json!(4), &[]);
    let low = "spec: Invalid value: 0: spec in body should be greater than or equal to 1";
    check(&number, json!(0), &[low]);
    let odd = "spec: Invalid value: 3: spec in body should be a multiple of 2";
    check(&number, json!(3), &[odd]);
    check(&json!({"type": "number"}), json!(3), &[]);
    check(
        &json!({"x-kubernetes-int-or-string": true}),
        json!("3%"),
        &[],
    );
    let neither = "spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\"";
    check(
        &json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &[neither],
    );
    let choice = json!({"type": "string", "enum": ["a", "b"]});
    let none = "spec: Unsupported value: \"c\": supported values: \"a\", \"b\"";
    check(&choice, json!("c"), &[none]);
}

#[test]
fn formats_are_known_by_name() {
    for (format, good, bad) in [
        ("date", "2024-02-29", "2024-13-01"),
        ("date-time", "2024-02-29T12:00:00Z", "2024-02-29"),
        ("duration", "1h30m", "soon"),
        ("uuid", "2c1b7a1e-0d53-4a0a-9a0f-d2f8c6f0a111", "2c1b"),
        ("ipv4", "10.0.0.1", "10.0.0"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("mac", "01:02:03:04:05:06", "01:02"),
        ("email", "a@b.c", "a"),
        ("uri", "https://a.b/c", "a b"),
        ("hostname", "a.bc", "-"),
        ("byte", "aGk=", "%"),
        ("isbn10", "0321751043", "0321751044"),
        ("hexcolor", "#ffffff", "#ff"),
    ] {
        assert!(super::formats::has_format(format, good), "{format} {good}");
        assert!(!super::formats::has_format(format, bad), "{format} {bad}");
    }
    assert!(super::formats::has_format("nobody-knows-it", "x"));
}

#[test]
fn of_several_schemas_the_nearest_is_reported() {
    let one = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(&one, json!({"a": "x"}), &[]);
    check(
        &one,
        json!({"a": "x", "b": "y"}),
        &[
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ],
    );
    check(
        &one,
        json!({}),
        &[
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid",
            "spec.a: Required value",
        ],
    );
}

#[test]
fn what_an_update_leaves_alone_is_tolerated() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1}}});
    let old = json!({"a": "long", "b": "x"});
    update(
        &schema,
        Some(old.clone()),
        json!({"a": "long", "b": "y"}),
        &[],
    );
    let long = "spec.a: Too long: may not be more than 1 byte";
    update(
        &schema,
        Some(old),
        json!({"a": "longer", "b": "y"}),
        &[long],
    );
}

#[test]
fn elements_of_sets_and_maps_are_unique() {
    let schema = Schema::root(&json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}}));
    let value =
        json!({"set": ["a", "b", "a", "a"], "map": [{"k": "x"}, {"k": "y"}, {"k": "x", "v": 1}]});
    let found = list_type::duplicates(&schema, &value, &Path::default());
    let found: Vec<String> = found
        .iter()
        .map(|one| format!("{}: {}", one.field, one.message))
        .collect();
    assert_eq!(
        found,
        [
            "map[2]: Duplicate value: {\"k\":\"x\"}",
            "set[2]: Duplicate value: \"a\""
        ]
    );
}

#[test]
fn reading_prunes_and_defaults() {
    let schema = Schema::root(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "default": {}, "properties": {
            "a": {"type": "integer", "default": 1},
            "n": {"type": "string", "nullable": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "boolean", "default": true}}}}}}}}));
    let mut value = json!({"kind": "K", "extra": 1, "spec": {
        "a": null, "n": null, "odd": {"x": 1}, "free": {"any": [1]}, "list": [{"c": 1}]}});
    assert_eq!(
        decode::prune(&schema, &mut value),
        ["extra", "spec.list[0].c", "spec.odd"]
    );
    decode::drop_nulls(&schema, &mut value);
    decode::default(&schema, &mut value);
    assert_eq!(
        value,
        json!({"kind": "K", "spec": {"a": 1, "n": null, "free": {"any": [1]}, "list": [{"b": true}]}})
    );
    let mut empty = json!({});
    decode::settle(&schema, &mut empty);
    assert_eq!(empty, json!({"spec": {"a": 1}}));
}

#[test]
fn work_on_large_products_of_schema_and_object_ends() {
    let branches: Vec<Value> = (0..2000).map(|at| json!({"minLength": 10 + at})).collect();
    let schema = json!({"type": "array", "items": {"type": "string", "anyOf": branches}});
    let schema = Schema::root(&json!({"type": "object", "properties": {"spec": schema}}));
    let value = json!({"spec": vec!["a"; 20_000]});
    let found = validate::validate(&schema, (&value, None), &Path::default());
    assert!(
        found
            .iter()
            .any(|cause| cause.message.contains("too large to be checked"))
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_schema() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "object", "array", "string", "integer", "number", "boolean", "", "odd",
    ]);
    let rule = prop::sample::select(vec![
        "self == oldSelf",
        "self > 1",
        "self.all(x, x == 1)",
        "has(self.a)",
        "self.a.b",
        "size(self) < 3",
        "self.matches('a')",
        "[1,2].map(x, x * 2)",
        "(((",
        "self.a[0] / 0",
    ]);
    let leaf = (kind, any_value(), rule, any::<bool>(), "[(a*+)]{0,4}").prop_map(|(kind, value, rule, flag, pattern)| {
        json!({"type": kind, "default": value, "nullable": flag, "maxLength": 2, "minimum": value, "enum": [value],
            "pattern": pattern, "x-kubernetes-int-or-string": !flag,
            "x-kubernetes-validations": [{"rule": rule, "messageExpression": rule}]})
    });
    leaf.prop_recursive(3, 16, 3, |inner| {
        (inner.clone(), inner.clone(), inner, any::<bool>()).prop_map(|(a, b, c, flag)| {
            let list_type = if flag { "map" } else { "set" };
            json!({"type": if flag { "object" } else { "array" }, "properties": {"a": a, "b": b},
                "additionalProperties": c, "items": c, "anyOf": [a, b], "oneOf": [b], "not": c, "required": ["a"],
                "x-kubernetes-preserve-unknown-fields": flag, "x-kubernetes-embedded-resource": flag,
                "x-kubernetes-list-type": list_type, "x-kubernetes-list-map-keys": ["a"]})
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_schema_and_no_object_panics(schema in any_schema(), old in any_value(), object in any_value()) {
        exercise(&schema, &old, &object);
    }
}
