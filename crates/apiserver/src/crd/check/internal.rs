//! Parts of a CRD as Kubernetes' error texts show them: its internal form as JSON, every field named.
use serde_json::{Map, Value, json};

use super::Alike;
use crate::crd::number::html_safe;
use crate::store::json::list;

/// How a field of a schema is kept in the internal form.
enum Kind {
    Text,
    Flag,
    Pointer,
    Schema,
    Schemas,
    Properties,
    SchemaOrFlag,
    Items,
    Rules,
    Docs,
}

const FIELDS: [(&str, &str, Kind); 43] = [
    ("ID", "id", Kind::Text),
    ("Schema", "$schema", Kind::Text),
    ("Ref", "$ref", Kind::Pointer),
    ("Description", "description", Kind::Text),
    ("Type", "type", Kind::Text),
    ("Nullable", "nullable", Kind::Flag),
    ("Format", "format", Kind::Text),
    ("Title", "title", Kind::Text),
    ("Default", "default", Kind::Pointer),
    ("Maximum", "maximum", Kind::Pointer),
    ("ExclusiveMaximum", "exclusiveMaximum", Kind::Flag),
    ("Minimum", "minimum", Kind::Pointer),
    ("ExclusiveMinimum", "exclusiveMinimum", Kind::Flag),
    ("MaxLength", "maxLength", Kind::Pointer),
    ("MinLength", "minLength", Kind::Pointer),
    ("Pattern", "pattern", Kind::Text),
    ("MaxItems", "maxItems", Kind::Pointer),
    ("MinItems", "minItems", Kind::Pointer),
    ("UniqueItems", "uniqueItems", Kind::Flag),
    ("MultipleOf", "multipleOf", Kind::Pointer),
    ("Enum", "enum", Kind::Pointer),
    ("MaxProperties", "maxProperties", Kind::Pointer),
    ("MinProperties", "minProperties", Kind::Pointer),
    ("Required", "required", Kind::Pointer),
    ("Items", "items", Kind::Items),
    ("AllOf", "allOf", Kind::Schemas),
    ("OneOf", "oneOf", Kind::Schemas),
    ("AnyOf", "anyOf", Kind::Schemas),
    ("Not", "not", Kind::Schema),
    ("Properties", "properties", Kind::Properties),
    (
        "AdditionalProperties",
        "additionalProperties",
        Kind::SchemaOrFlag,
    ),
    ("PatternProperties", "patternProperties", Kind::Properties),
    ("Dependencies", "dependencies", Kind::Pointer),
    ("AdditionalItems", "additionalItems", Kind::SchemaOrFlag),
    ("Definitions", "definitions", Kind::Properties),
    ("ExternalDocs", "externalDocs", Kind::Docs),
    ("Example", "example", Kind::Pointer),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        Kind::Pointer,
    ),
    (
        "XEmbeddedResource",
        "x-kubernetes-embedded-resource",
        Kind::Flag,
    ),
    ("XIntOrString", "x-kubernetes-int-or-string", Kind::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Kind::Pointer),
    ("XListType", "x-kubernetes-list-type", Kind::Pointer),
    ("XMapType", "x-kubernetes-map-type", Kind::Pointer),
];

/// Fields that a root schema may have where its status is apart.
pub(super) const AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// The first field that a root schema has and may not have.
pub(super) fn not_at_root(schema: &Value) -> bool {
    let set = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    FIELDS
        .iter()
        .any(|(name, json, _)| !AT_ROOT.contains(name) && set(&schema[*json]))
}

/// Whether anything in a schema is so.
pub(super) fn any(schema: &Value, is: &impl Fn(&Value) -> bool) -> bool {
    if !schema.is_object() {
        return false;
    }
    is(schema) || below(schema).into_iter().any(|one| any(one, is))
}

/// The schemas right below one.
pub(super) fn below(schema: &Value) -> Vec<&Value> {
    let mut all = Vec::new();
    for name in ["items", "additionalProperties", "not", "additionalItems"] {
        all.push(&schema[name]);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        all.extend(list(schema, name));
    }
    for name in ["properties", "patternProperties", "definitions"] {
        all.extend(schema[name].as_object().into_iter().flat_map(Map::values));
    }
    all
}

/// One rule.
pub(super) fn rule(rule: &Value) -> String {
    let text = |name: &str| rule[name].as_str().unwrap_or_default();
    let parts = [
        format!("\"Rule\":{}", json!(text("rule"))),
        format!("\"Message\":{}", json!(text("message"))),
        format!("\"MessageExpression\":{}", json!(text("messageExpression"))),
        format!("\"Reason\":{}", rule["reason"]),
        format!("\"FieldPath\":{}", json!(text("fieldPath"))),
        format!("\"OptionalOldSelf\":{}", rule["optionalOldSelf"]),
    ];
    html_safe(&format!("{{{}}}", parts.join(",")))
}

/// A schema.
pub(super) fn schema(value: &Value) -> String {
    let parts: Vec<String> = FIELDS
        .iter()
        .map(|(name, json, kind)| format!("\"{name}\":{}", field(&value[*json], kind)))
        .chain([format!(
            "\"XValidations\":{}",
            field(&value["x-kubernetes-validations"], &Kind::Rules)
        )])
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn field(value: &Value, kind: &Kind) -> String {
    let all = |list: &[Value], shown: fn(&Value) -> String| {
        let parts: Vec<String> = list.iter().map(shown).collect();
        format!("[{}]", parts.join(","))
    };
    match (kind, value) {
        (Kind::Text, Value::Null) => "\"\"".to_owned(),
        (Kind::Flag, value) => (*value == true).to_string(),
        (_, Value::Null) => "null".to_owned(),
        (Kind::Schema, value) => schema(value),
        (Kind::Schemas, Value::Array(list)) => all(list, schema),
        (Kind::Rules, Value::Array(list)) => all(list, rule),
        (Kind::Properties, Value::Object(map)) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{}:{}", json!(name), schema(value)))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        (Kind::SchemaOrFlag, Value::Bool(value)) => {
            format!("{{\"Allows\":{value},\"Schema\":null}}")
        }
        (Kind::SchemaOrFlag, value) => format!("{{\"Allows\":true,\"Schema\":{}}}", schema(value)),
        (Kind::Items, Value::Array(list)) => {
            format!("{{\"Schema\":null,\"JSONSchemas\":{}}}", all(list, schema))
        }
        (Kind::Items, value) => format!("{{\"Schema\":{},\"JSONSchemas\":null}}", schema(value)),
        (Kind::Docs, value) => format!(
            "{{\"Description\":{},\"URL\":{}}}",
            json!(value["description"].as_str().unwrap_or_default()),
            json!(value["url"].as_str().unwrap_or_default())
        ),
        (_, value) => html_safe(&value.to_string()),
    }
}

/// All versions.
pub(super) fn versions(versions: &[Value], alike: &Alike) -> String {
    if versions.is_empty() {
        return "null".to_owned();
    }
    let parts: Vec<String> = versions.iter().map(|one| version(one, alike)).collect();
    format!("[{}]", parts.join(","))
}

fn version(version: &Value, alike: &Alike) -> String {
    let schema = match &version["schema"] {
        Value::Object(_) if !alike.schema => {
            let inner = &version["schema"]["openAPIV3Schema"];
            let inner = if inner.is_object() {
                schema(inner)
            } else {
                "null".to_owned()
            };
            format!("{{\"OpenAPIV3Schema\":{inner}}}")
        }
        _ => "null".to_owned(),
    };
    let subresources = match &version["subresources"] {
        Value::Object(_) if !alike.subresources => subresources(&version["subresources"]),
        _ => "null".to_owned(),
    };
    let columns = match version["additionalPrinterColumns"].as_array() {
        Some(list) if !alike.columns => {
            let parts: Vec<String> = list.iter().map(column).collect();
            format!("[{}]", parts.join(","))
        }
        _ => "null".to_owned(),
    };
    let selectable = match version["selectableFields"].as_array() {
        Some(list) if !alike.selectable => {
            let parts: Vec<String> = list
                .iter()
                .map(|one| format!("{{\"JSONPath\":{}}}", one["jsonPath"]))
                .collect();
            format!("[{}]", parts.join(","))
        }
        _ => "null".to_owned(),
    };
    let flag = |name: &str| version[name] == true;
    format!(
        "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{schema},\
         \"Subresources\":{subresources},\"AdditionalPrinterColumns\":{columns},\"SelectableFields\":{selectable}}}",
        json!(version["name"].as_str().unwrap_or_default()),
        flag("served"),
        flag("storage"),
        flag("deprecated"),
        version["deprecationWarning"],
    )
}

fn subresources(value: &Value) -> String {
    let status = if value["status"].is_object() {
        "{}"
    } else {
        "null"
    };
    let scale = &value["scale"];
    let scale = if scale.is_object() {
        format!(
            "{{\"SpecReplicasPath\":{},\"StatusReplicasPath\":{},\"LabelSelectorPath\":{}}}",
            scale["specReplicasPath"], scale["statusReplicasPath"], scale["labelSelectorPath"]
        )
    } else {
        "null".to_owned()
    };
    format!("{{\"Status\":{status},\"Scale\":{scale}}}")
}

fn column(value: &Value) -> String {
    let text = |name: &str| json!(value[name].as_str().unwrap_or_default());
    format!(
        "{{\"Name\":{},\"Type\":{},\"Format\":{},\"Description\":{},\"Priority\":{},\"JSONPath\":{}}}",
        text("name"),
        text("type"),
        text("format"),
        text("description"),
        value["priority"].as_i64().unwrap_or(0),
        text("jsonPath"),
    )
}
