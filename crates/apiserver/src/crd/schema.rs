//! A structural schema, ready for use: made from a CRD's JSON once, shared by every request.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::cel::rule::{self, Rule};
use super::pattern::Pattern;

/// The types that a value can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    Text,
    Integer,
    Number,
    Boolean,
}

impl Type {
    /// The type that a schema names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::Text,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// How elements of a list are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// They are not.
    #[default]
    Atomic,
    /// By what they are.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

/// What fields that are no properties may hold.
#[derive(Debug, Clone, Default)]
pub(crate) enum Additional {
    /// The schema does not say.
    #[default]
    Unsaid,
    /// Anything.
    Any,
    /// Nothing.
    Never,
    /// What a schema says.
    Of(Box<Schema>),
}

/// A schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(crate) kind: Option<Type>,
    pub(crate) int_or_string: bool,
    pub(crate) nullable: bool,
    pub(crate) embedded: bool,
    pub(crate) preserve: bool,
    pub(crate) list_type: ListType,
    pub(crate) default: Option<Value>,
    pub(crate) properties: BTreeMap<String, Self>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Box<Self>>,
    pub(crate) checks: Checks,
    pub(crate) rules: Vec<Rule>,
    /// Whether there are rules here or anywhere below.
    pub(crate) has_rules: bool,
}

/// What a value must satisfy besides its type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    pub(crate) format: String,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) max_length: Option<i64>,
    pub(crate) min_length: Option<i64>,
    pub(crate) pattern: Option<Arc<Pattern>>,
    pub(crate) max_items: Option<i64>,
    pub(crate) min_items: Option<i64>,
    pub(crate) max_properties: Option<i64>,
    pub(crate) min_properties: Option<i64>,
    pub(crate) required: Vec<String>,
    pub(crate) choices: Vec<Value>,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
}

impl Schema {
    /// The schema at the root of a custom kind's version, its rules compiled.
    pub(crate) fn root(value: &Value) -> Self {
        let mut schema = Self::new(value);
        rule::compile_all(&mut schema, value);
        schema
    }

    /// A schema as its JSON says, without rules; what is of the wrong type is as if it were not there.
    pub(crate) fn new(value: &Value) -> Self {
        let flag = |name: &str| value[name] == true;
        let additional = match &value["additionalProperties"] {
            Value::Bool(true) => Additional::Any,
            Value::Bool(false) => Additional::Never,
            other if other.is_object() => Additional::Of(Box::new(Self::new(other))),
            _ => Additional::Unsaid,
        };
        let properties = value["properties"].as_object().into_iter().flatten();
        Self {
            kind: value["type"].as_str().and_then(Type::parse),
            int_or_string: flag("x-kubernetes-int-or-string"),
            nullable: flag("nullable"),
            embedded: flag("x-kubernetes-embedded-resource"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            list_type: match value["x-kubernetes-list-type"].as_str() {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(texts(&value["x-kubernetes-list-map-keys"])),
                _ => ListType::Atomic,
            },
            default: value.get("default").filter(|one| !one.is_null()).cloned(),
            properties: properties
                .map(|(name, one)| (name.clone(), Self::new(one)))
                .collect(),
            additional,
            items: value["items"]
                .is_object()
                .then(|| Box::new(Self::new(&value["items"]))),
            checks: Checks::new(value),
            rules: Vec::new(),
            has_rules: false,
        }
    }

    /// The names of the types that a value may have; none if the schema does not say.
    pub(crate) fn type_names(&self) -> Vec<&'static str> {
        if self.int_or_string {
            return vec!["integer", "string"];
        }
        self.kind.map(Type::name).into_iter().collect()
    }

    /// The schema of a field: a property's, or that of all other fields.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Of(schema) => Some(schema),
            _ => None,
        })
    }
}

impl Checks {
    fn new(value: &Value) -> Self {
        let flag = |name: &str| value[name] == true;
        let float = |name: &str| value[name].as_f64();
        let count = |name: &str| value[name].as_i64();
        let schemas = |name: &str| -> Vec<Schema> {
            let list = value[name].as_array().into_iter().flatten();
            list.map(Schema::new).collect()
        };
        let format = value["format"].as_str().unwrap_or_default();
        Self {
            format: super::formats::known(format).to_owned(),
            maximum: float("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: float("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: float("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: value["pattern"]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(Pattern::of),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: texts(&value["required"]),
            choices: value["enum"].as_array().cloned().unwrap_or_default(),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: value["not"]
                .is_object()
                .then(|| Box::new(Schema::new(&value["not"]))),
        }
    }
}

/// The texts of a list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}
