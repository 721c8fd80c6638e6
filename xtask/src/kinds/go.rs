//! Go type declarations of the Kubernetes API, as far as the table of kinds needs them: names, tags and markers.
//!
//! A line-based reader of gofmt'ed source; it knows nothing of Kubernetes but the markers' names.

use std::collections::BTreeMap;

/// One declared type.
#[derive(Clone, Debug)]
pub(super) enum Declared {
    /// `type A struct {..}`.
    Struct { fields: Vec<Field>, atomic: bool },
    /// `type A B`: the other type, with its package where it has one.
    Named(String),
}

/// One field of a struct.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// In JSON; empty for an embedded struct that is written inline.
    pub(super) json: String,
    pub(super) omit_empty: bool,
    pub(super) omit_zero: bool,
    /// In protobuf; 0 if it is not there.
    pub(super) number: u32,
    /// `*core/v1.Pod`, `[]string` and so on, every name with its package.
    pub(super) go_type: String,
    /// `+listType=map` and the like, without the plus.
    pub(super) markers: Vec<String>,
    /// `patchMergeKey` and `patchStrategy`.
    pub(super) patch: (String, String),
}

/// The types of one file, by name; `package` is put before the names of its own types.
pub(super) fn types(text: &str, package: &str) -> BTreeMap<String, Declared> {
    let imports = imports(text);
    let names = Names {
        package,
        imports: &imports,
    };
    let mut types = BTreeMap::new();
    let mut markers = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("//") {
            markers.extend(marker(comment));
            continue;
        }
        if line.is_empty() {
            // Markers may stand apart from the doc comment that follows them.
            continue;
        }
        if let Some(rest) = line.strip_prefix("type ") {
            let (name, what) = rest.split_once(' ').unwrap_or((rest, ""));
            if what == "struct {" {
                let fields = fields(&mut lines, names);
                let atomic = markers.iter().any(|marker| marker == "structType=atomic");
                types.insert(name.to_owned(), Declared::Struct { fields, atomic });
            } else if what == "struct{}" {
                let fields = Vec::new();
                types.insert(
                    name.to_owned(),
                    Declared::Struct {
                        fields,
                        atomic: false,
                    },
                );
            } else if !what.is_empty()
                && !what.starts_with("interface")
                && !what.starts_with("func")
            {
                let what = what.trim_start_matches("= ");
                types.insert(name.to_owned(), Declared::Named(names.resolve(what)));
            }
        }
        markers.clear();
    }
    types
}

#[derive(Clone, Copy)]
struct Names<'a> {
    package: &'a str,
    imports: &'a BTreeMap<String, String>,
}

impl Names<'_> {
    /// A type with packages in place of the file's names for them.
    fn resolve(self, go_type: &str) -> String {
        let go_type = go_type.split(" //").next().unwrap_or_default().trim();
        for prefix in ["*", "[]", "map[string]"] {
            if let Some(rest) = go_type.strip_prefix(prefix) {
                return format!("{prefix}{}", self.resolve(rest));
            }
        }
        if let Some((key, value)) = go_type
            .strip_prefix("map[")
            .and_then(|rest| rest.split_once(']'))
        {
            return format!("map[{}]{}", self.resolve(key), self.resolve(value));
        }
        match go_type.split_once('.') {
            Some((alias, name)) => {
                let package = self.imports.get(alias).map_or(alias, String::as_str);
                format!("{package}.{name}")
            }
            None if BASIC.contains(&go_type) => go_type.to_owned(),
            None => format!("{}.{go_type}", self.package),
        }
    }
}

const BASIC: &[&str] = &[
    "string",
    "bool",
    "byte",
    "int",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float64",
    "interface{}",
    "any",
];

/// The name by which the table knows a package.
pub(super) fn package_key(path: &str) -> String {
    let path = path.trim_start_matches("k8s.io/");
    for prefix in [
        "apimachinery/pkg/apis/",
        "apimachinery/pkg/api/",
        "apimachinery/pkg/util/",
        "apimachinery/pkg/",
        "apiextensions-apiserver/pkg/apis/",
        "kube-aggregator/pkg/apis/",
        "api/",
    ] {
        if let Some(rest) = path.strip_prefix(prefix) {
            return rest.to_owned();
        }
    }
    path.to_owned()
}

fn imports(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(|line| line.trim().trim_start_matches("import "))
        .filter(|line| line.ends_with('"') && line.contains("k8s.io/"))
        .filter_map(|line| {
            let (alias, path) = line.split_once('"')?;
            let path = path.trim_end_matches('"');
            let own = path.rsplit('/').next().unwrap_or_default();
            let alias = if alias.trim().is_empty() {
                own
            } else {
                alias.trim()
            };
            Some((alias.to_owned(), package_key(path)))
        })
        .collect()
}

fn marker(comment: &str) -> Option<String> {
    let marker = comment.trim().strip_prefix('+')?;
    let marker = marker.trim_start_matches("k8s:");
    Some(marker.to_owned())
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>, names: Names<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut markers = Vec::new();
    for line in lines {
        if line == "}" {
            break;
        }
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("//") {
            markers.extend(marker(comment));
        } else if let Some((declared, tags)) = line.split_once('`') {
            let tags = tags.split('`').next().unwrap_or_default();
            fields.extend(field(
                declared.trim(),
                tags,
                names,
                std::mem::take(&mut markers),
            ));
        } else if !line.is_empty() {
            markers.clear();
        }
    }
    fields
}

fn field(declared: &str, tags: &str, names: Names<'_>, markers: Vec<String>) -> Option<Field> {
    let json = tag(tags, "json")?;
    let mut json = json.split(',');
    let name = json.next().unwrap_or_default();
    if name == "-" {
        return None;
    }
    let options: Vec<&str> = json.collect();
    let (go_name, go_type) = match declared.split_once(char::is_whitespace) {
        Some((name, go_type)) => (name, go_type.trim()),
        None => ("", declared),
    };
    let inline = options.contains(&"inline") || (name.is_empty() && go_name.is_empty());
    let number = tag(tags, "protobuf")
        .and_then(|tag| tag.split(',').nth(1)?.parse().ok())
        .unwrap_or(0);
    Some(Field {
        json: if inline {
            String::new()
        } else {
            name.to_owned()
        },
        omit_empty: options.contains(&"omitempty"),
        omit_zero: options.contains(&"omitzero"),
        number,
        go_type: names.resolve(go_type),
        markers,
        patch: (
            tag(tags, "patchMergeKey").unwrap_or_default().to_owned(),
            tag(tags, "patchStrategy").unwrap_or_default().to_owned(),
        ),
    })
}

fn tag<'a>(tags: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tags.split_once(&format!("{name}:\""))?;
    rest.split('"').next()
}
