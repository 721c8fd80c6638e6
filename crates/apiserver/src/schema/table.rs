//! The table of types, read once from `data/types.txt`, which `cargo xtask kinds` makes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Names that stand for names: more of them in a row are a mistake in the data.
const ALIASES_MAX: usize = 8;

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Bool,
    Int32,
    Int64,
    Float,
    Bytes,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// Any object, in protobuf as JSON.
    Raw,
    /// Any value, in protobuf as JSON.
    Any,
    /// `JSONSchemaPropsOrArray` and its two sisters.
    SchemaOr(SchemaOr),
    List(Box<Named>),
    Map(Box<Named>),
    Struct(usize),
}

/// The choices of a CRD's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaOr {
    Array,
    Bool,
    Texts,
}

/// A type under the name that Go's errors give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) what: Type,
    /// `v1.Protocol`, `[]v1.Container`.
    pub(crate) go: String,
    /// A list that has a name: protobuf writes it as a message of its own.
    pub(crate) boxed: bool,
}

/// One field of a struct.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// In JSON; empty if its fields are written among the struct's own.
    pub(crate) name: &'static str,
    /// In protobuf; 0 if it is not there.
    pub(crate) number: u32,
    pub(crate) omit_empty: bool,
    pub(crate) omit_zero: bool,
    pub(crate) pointer: bool,
    pub(crate) of: Named,
    /// `list=map:name`, `atomic`, `patch=merge` and so on.
    pub(crate) markers: Vec<&'static str>,
}

/// One struct.
#[derive(Debug)]
pub(crate) struct Struct {
    /// `core/v1.Pod`.
    #[cfg(test)]
    pub(crate) key: &'static str,
    /// `Pod`.
    pub(crate) name: &'static str,
    pub(crate) atomic: bool,
    pub(crate) fields: Vec<Field>,
}

/// All types.
#[derive(Debug, Default)]
pub(crate) struct Table {
    structs: Vec<Struct>,
    index: BTreeMap<&'static str, usize>,
}

/// The table.
pub(crate) fn get() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| read(include_str!("../../data/types.txt")));
    &TABLE
}

impl Table {
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.index.get(key).copied()
    }

    /// A struct, by its number in a [`Type`].
    pub(crate) fn of(&self, number: usize) -> &Struct {
        &self.structs[number]
    }

    /// How many structs there are.
    pub(crate) fn count(&self) -> usize {
        self.structs.len()
    }

    #[cfg(test)]
    pub(crate) fn structs(&self) -> &[Struct] {
        &self.structs
    }
}

fn read(text: &'static str) -> Table {
    let mut table = Table::default();
    let mut aliases = BTreeMap::new();
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    for line in lines().filter(|line| !line.starts_with(' ')) {
        if let Some((name, other)) = line.split_once(" = ") {
            aliases.insert(name, other);
            continue;
        }
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        table.index.insert(key, table.structs.len());
        table.structs.push(Struct {
            #[cfg(test)]
            key,
            name: key.rsplit('.').next().unwrap_or(key),
            atomic: rest == "atomic",
            fields: Vec::new(),
        });
    }
    let mut at = None;
    for line in lines() {
        if let Some(field) = line.strip_prefix(' ') {
            let field = read_field(field, &table.index, &aliases);
            if let (Some(at), Some(field)) = (at, field)
                && let Some(last) = table.structs.get_mut::<usize>(at)
            {
                last.fields.push(field);
            }
        } else {
            let key = line.split(' ').next().unwrap_or_default();
            at = table.find(key);
        }
    }
    table
}

type Aliases = BTreeMap<&'static str, &'static str>;

fn read_field(
    line: &'static str,
    index: &BTreeMap<&'static str, usize>,
    aliases: &Aliases,
) -> Option<Field> {
    let mut words = line.split(' ');
    let (name, number, flags, go_type) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let (pointer, go_type) = match go_type.strip_prefix('*') {
        Some(rest) => (true, rest),
        None => (false, go_type),
    };
    Some(Field {
        name: if name == "-" { "" } else { name },
        number: number.parse().ok()?,
        omit_empty: flags.contains('e'),
        omit_zero: flags.contains('z'),
        pointer,
        of: named(go_type, (index, aliases), 0)?,
        markers: words.collect(),
    })
}

fn named(
    go_type: &'static str,
    names: (&BTreeMap<&'static str, usize>, &Aliases),
    depth: usize,
) -> Option<Named> {
    let (index, aliases) = names;
    let mut boxed = false;
    let what = match go_type {
        "string" => Type::Text,
        "bool" => Type::Bool,
        "int32" | "uint32" => Type::Int32,
        "int" | "int64" | "uint64" => Type::Int64,
        "float64" => Type::Float,
        "[]byte" => Type::Bytes,
        "meta/v1.Time" => Type::Time,
        "meta/v1.MicroTime" => Type::MicroTime,
        "meta/v1.Duration" => Type::Duration,
        "resource.Quantity" => Type::Quantity,
        "intstr.IntOrString" => Type::IntOrString,
        "runtime.RawExtension" | "meta/v1.FieldsV1" => Type::Raw,
        "apiextensions/v1.JSON" => Type::Any,
        "apiextensions/v1.JSONSchemaPropsOrArray" => Type::SchemaOr(SchemaOr::Array),
        "apiextensions/v1.JSONSchemaPropsOrBool" => Type::SchemaOr(SchemaOr::Bool),
        "apiextensions/v1.JSONSchemaPropsOrStringArray" => Type::SchemaOr(SchemaOr::Texts),
        other => {
            if let Some(element) = other.strip_prefix("[]") {
                Type::List(Box::new(named(
                    element.trim_start_matches('*'),
                    names,
                    depth,
                )?))
            } else if let Some((_, value)) = other
                .strip_prefix("map[")
                .and_then(|rest| rest.split_once(']'))
            {
                Type::Map(Box::new(named(
                    value.trim_start_matches('*'),
                    names,
                    depth,
                )?))
            } else if let Some(meant) = aliases.get(other) {
                if depth > ALIASES_MAX {
                    return None;
                }
                let meant = named(meant, names, depth + 1)?;
                boxed = matches!(meant.what, Type::List(_));
                meant.what
            } else {
                Type::Struct(*index.get(other)?)
            }
        }
    };
    Some(Named {
        what,
        go: shown(go_type),
        boxed,
    })
}

/// `map[core/v1.ResourceName]resource.Quantity` is `map[v1.ResourceName]resource.Quantity` to Go.
fn shown(go_type: &str) -> String {
    let mut text = String::with_capacity(go_type.len());
    let mut word = String::new();
    for c in go_type.chars() {
        match c {
            '/' => word.clear(),
            '*' | '[' | ']' => {
                text.push_str(&word);
                word.clear();
                text.push(c);
            }
            other => word.push(other),
        }
    }
    text.push_str(&word);
    if text == "[]byte" {
        "[]uint8".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::builtin;

    #[test]
    fn every_line_of_the_data_is_understood() {
        let fields = include_str!("../../data/types.txt").lines();
        let fields = fields.filter(|line| line.starts_with(' ')).count();
        let read: usize = get().structs().iter().map(|one| one.fields.len()).sum();
        assert_eq!(read, fields);
    }

    #[test]
    fn every_kind_of_discovery_has_its_type_and_that_of_its_list() {
        for res in builtin() {
            let (group, version) = (&res.group, &res.version);
            let found = crate::schema::type_of(group, version, &res.kind);
            assert!(found.is_some(), "{} in {group}/{version}", res.kind);
            if res.allows("list") {
                let list = crate::schema::type_of(group, version, &res.list_kind);
                assert!(list.is_some(), "{} in {group}/{version}", res.list_kind);
            }
        }
    }

    #[test]
    fn types_are_named_as_go_names_them() {
        for (from, to) in [
            ("core/v1.Protocol", "v1.Protocol"),
            ("[]core/v1.Container", "[]v1.Container"),
            (
                "map[core/v1.ResourceName]resource.Quantity",
                "map[v1.ResourceName]resource.Quantity",
            ),
            ("map[string]string", "map[string]string"),
            ("[]byte", "[]uint8"),
        ] {
            assert_eq!(shown(from), to);
        }
    }
}
