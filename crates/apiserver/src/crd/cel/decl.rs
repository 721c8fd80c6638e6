//! Types, and how a schema is seen by rules.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// The most types of which a type is made. They are walked, so that this bounds how deep they nest as well.
const NODES_MAX: usize = 256;

/// A type. Copies share what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ty {
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Self>),
    Map(Arc<Self>, Arc<Self>),
    Object(Arc<Fields>),
    Optional(Arc<Self>),
    /// The type of types.
    Type,
    /// A type of a library, by name.
    Named(&'static str),
    /// A type that expressions make values of, by name.
    Message(Arc<str>),
    /// A parameter of a function's signature.
    Param(char),
}

/// The fields of an object that rules can name, by their escaped names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields {
    /// The name of the type, if it has one.
    name: &'static str,
    pub(super) by_name: BTreeMap<String, Ty>,
    /// Escaped names of fields whose names need it.
    pub(super) escaped: BTreeMap<String, String>,
}

const NAMED: [&str; 11] = [
    "net.IP",
    "net.CIDR",
    "kubernetes.URL",
    "kubernetes.Quantity",
    "kubernetes.NamedFormat",
    "kubernetes.Semver",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

impl Ty {
    /// The type of what is in an empty literal: whatever it is taken for.
    pub(super) const FREE: Self = Self::Param('_');

    /// A type as a signature spells it; an unknown one is dynamic.
    pub(super) fn parse(text: &str) -> Self {
        let inside = |name: &str| {
            text.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('('))
                .and_then(|rest| rest.strip_suffix(')'))
        };
        if let Some(inner) = inside("list") {
            return Self::List(Arc::new(Self::parse(inner)));
        }
        if let Some(inner) = inside("optional_type") {
            return Self::Optional(Arc::new(Self::parse(inner)));
        }
        if let Some((key, value)) = inside("map").and_then(|inner| inner.split_once(',')) {
            return Self::Map(
                Arc::new(Self::parse(key.trim())),
                Arc::new(Self::parse(value.trim())),
            );
        }
        match text {
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "duration" => Self::Duration,
            "timestamp" => Self::Timestamp,
            "type" => Self::Type,
            "A" => Self::Param('A'),
            "B" => Self::Param('B'),
            _ => NAMED
                .iter()
                .find(|name| **name == text)
                .map_or(Self::Dyn, |name| Self::Named(name)),
        }
    }

    /// How it is called where a type is asked for by name.
    pub(super) fn full_name(&self) -> String {
        match self {
            Self::Null => "null_type".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::List(inner) => format!("list({})", inner.full_name()),
            Self::Map(key, value) => format!("map({}, {})", key.full_name(), value.full_name()),
            other => other.to_string(),
        }
    }

    /// What it is in the end: what was left open is dynamic.
    pub(super) fn settled(&self) -> Self {
        match self {
            Self::Param(_) => Self::Dyn,
            Self::List(inner) => Self::List(Arc::new(inner.settled())),
            Self::Optional(inner) => Self::Optional(Arc::new(inner.settled())),
            Self::Map(key, value) => Self::Map(Arc::new(key.settled()), Arc::new(value.settled())),
            other => other.clone(),
        }
    }

    /// Whether it is the same type, as far as both are known; dynamic is another than all others.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Param(_), _) | (_, Self::Param(_)) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.is_like(b),
            (Self::Map(ka, va), Self::Map(kb, vb)) => ka.is_like(kb) && va.is_like(vb),
            (a, b) => a == b,
        }
    }

    /// One of two types that fit each other: the less that is known of either, and what either leaves open taken from
    /// the other.
    pub(super) fn joined(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => Self::Dyn,
            (&Self::FREE, other) => other.clone(),
            (Self::List(a), Self::List(b)) => Self::List(Arc::new(a.joined(b))),
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Arc::new(a.joined(b))),
            (Self::Map(ka, va), Self::Map(kb, vb)) => {
                Self::Map(Arc::new(ka.joined(kb)), Arc::new(va.joined(vb)))
            }
            (one, _) => one.clone(),
        }
    }

    /// Whether it is made of no more than [`NODES_MAX`] types; what objects are made of does not count.
    pub(super) fn is_small(&self) -> bool {
        self.nodes_left(NODES_MAX).is_some()
    }

    /// How many of so many types are left after this one; none if it has more.
    fn nodes_left(&self, most: usize) -> Option<usize> {
        let most = most.checked_sub(1)?;
        match self {
            Self::List(inner) | Self::Optional(inner) => inner.nodes_left(most),
            Self::Map(key, value) => key.nodes_left(most).and_then(|most| value.nodes_left(most)),
            _ => Some(most),
        }
    }

    /// How a schema's values look to a rule; none if rules cannot see them.
    pub(super) fn of_schema(schema: &Value, root: Root) -> Option<Self> {
        if schema["x-kubernetes-int-or-string"] == true {
            return Some(Self::Dyn);
        }
        let inner = |schema: &Value| Self::of_schema(schema, Root::of(schema));
        Some(match schema["type"].as_str().unwrap_or_default() {
            "array" => Self::List(Arc::new(inner(&schema["items"])?)),
            "object" if schema["additionalProperties"].is_object() => {
                let value = inner(&schema["additionalProperties"])?;
                Self::Map(Arc::new(Self::Text), Arc::new(value))
            }
            "object" => Self::Object(Arc::new(Fields::of_schema(schema, root))),
            "string" => match schema["format"].as_str().unwrap_or_default() {
                "byte" => Self::Bytes,
                "duration" => Self::Duration,
                "date" | "date-time" => Self::Timestamp,
                _ => Self::Text,
            },
            "boolean" => Self::Bool,
            "number" => Self::Double,
            "integer" => Self::Int,
            _ => return None,
        })
    }
}

/// Whether a schema is that of a whole resource: then its name and type can be seen without being declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Yes,
    No,
}

impl Root {
    /// Embedded resources are whole resources.
    pub(super) fn of(schema: &Value) -> Self {
        if schema["x-kubernetes-embedded-resource"] == true {
            Self::Yes
        } else {
            Self::No
        }
    }
}

impl Fields {
    /// No fields, of a type with a name.
    pub(super) fn named(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    fn of_schema(schema: &Value, root: Root) -> Self {
        let mut fields = Self::default();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(ty) = Ty::of_schema(schema, Root::of(schema)) {
                fields.add(name, ty);
            }
        }
        if root == Root::Yes {
            let mut meta = Self::default();
            meta.add("name", Ty::Text);
            meta.add("generateName", Ty::Text);
            fields.add("kind", Ty::Text);
            fields.add("apiVersion", Ty::Text);
            fields.add("metadata", Ty::Object(Arc::new(meta)));
        }
        fields
    }

    /// Adds a field, if rules can name it.
    pub(super) fn add(&mut self, name: &str, ty: Ty) {
        let Some(escaped) = escape(name) else { return };
        if escaped != name {
            self.escaped.insert(name.to_owned(), escaped.clone());
        }
        self.by_name.insert(escaped, ty);
    }
}

/// Words that name nothing in expressions.
pub(crate) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name by which a rule names a field; none if it cannot.
fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let first = name.chars().next()?;
    let usable = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if first.is_ascii_digit() || !name.chars().all(usable) {
        return None;
    }
    Some(
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(inner) => write!(f, "list({inner})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Object(fields) if fields.name.is_empty() => f.write_str("object"),
            Self::Object(fields) => f.write_str(fields.name),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Type => f.write_str("type"),
            Self::Named(name) => f.write_str(name),
            Self::Message(name) => f.write_str(name),
            Self::Param('_') => f.write_str("dyn"),
            Self::Param(name) => write!(f, "{name}"),
        }
    }
}
