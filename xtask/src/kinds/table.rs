//! The table of types: everything that a served kind is made of, one line a field.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::go::{self, Declared, Field};

/// What stands above the table.
const HEADER: &str = "\
# The Go types of the kinds that Kubernetes serves by default, made by `cargo xtask kinds`.
# PACKAGE.TYPE [atomic], then a line a field: name (- is inline), number in protobuf, flags (e: empty is left out,
# z: zero is left out, -: neither), type, markers. PACKAGE.TYPE = OTHER is a name for another type.
";

/// Where the packages are.
pub(super) struct Sources {
    /// Directory of a module by name, for example `api`.
    pub(super) modules: BTreeMap<String, PathBuf>,
}

impl Sources {
    /// The directory of a package such as `core/v1`.
    fn directory(&self, package: &str) -> Option<PathBuf> {
        let places = [
            ("api", ""),
            ("apimachinery", "pkg/apis"),
            ("apimachinery", "pkg/api"),
            ("apimachinery", "pkg/util"),
            ("apimachinery", "pkg"),
            ("apiextensions-apiserver", "pkg/apis"),
            ("kube-aggregator", "pkg/apis"),
        ];
        places.iter().find_map(|(module, below)| {
            let directory = self.modules.get(*module)?.join(below).join(package);
            directory.is_dir().then_some(directory)
        })
    }

    fn read(&self, package: &str) -> Result<BTreeMap<String, Declared>> {
        let mut types = BTreeMap::new();
        let Some(directory) = self.directory(package) else {
            return Ok(types);
        };
        let context = || format!("read the package {}", directory.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory).with_context(context)? {
            files.push(entry.with_context(context)?.path());
        }
        files.sort();
        for file in files.iter().filter(|file| is_source(file)) {
            let text = std::fs::read_to_string(file).with_context(context)?;
            types.extend(go::types(&text, package));
        }
        Ok(types)
    }
}

fn is_source(file: &Path) -> bool {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let generated =
        name.starts_with("zz_") || name.starts_with("generated.") || name.contains("swagger_doc");
    name.ends_with(".go") && !generated && !name.ends_with("_test.go")
}

/// Types that have their own form in JSON: their fields are nobody's business.
const OPAQUE: &[&str] = &[
    "meta/v1.Time",
    "meta/v1.MicroTime",
    "meta/v1.Duration",
    "meta/v1.FieldsV1",
    "resource.Quantity",
    "intstr.IntOrString",
    "runtime.RawExtension",
    "runtime.Object",
    "apiextensions/v1.JSON",
    "apiextensions/v1.JSONSchemaPropsOrArray",
    "apiextensions/v1.JSONSchemaPropsOrBool",
    "apiextensions/v1.JSONSchemaPropsOrStringArray",
];

/// The table of all types that `roots` (such as `apps/v1.Deployment`) are made of.
///
/// # Errors
/// When a package cannot be read.
pub(super) fn table(sources: &Sources, roots: &BTreeSet<String>) -> Result<String> {
    let mut packages: BTreeMap<String, BTreeMap<String, Declared>> = BTreeMap::new();
    let mut found: BTreeMap<String, Declared> = BTreeMap::new();
    let mut queue: VecDeque<String> = roots.iter().cloned().collect();
    while let Some(name) = queue.pop_front() {
        let Some((package, own)) = name.rsplit_once('.') else {
            continue;
        };
        if found.contains_key(&name) || OPAQUE.contains(&name.as_str()) {
            continue;
        }
        if !packages.contains_key(package) {
            packages.insert(package.to_owned(), sources.read(package)?);
        }
        let Some(declared) = packages.get(package).and_then(|types| types.get(own)) else {
            continue;
        };
        match declared {
            Declared::Struct { fields, .. } => {
                queue.extend(fields.iter().flat_map(|field| names_in(&field.go_type)));
            }
            Declared::Named(other) => queue.extend(names_in(other)),
        }
        found.insert(name, declared.clone());
    }
    Ok(print(&found))
}

fn names_in(go_type: &str) -> Vec<String> {
    let parts = go_type.split(['*', '[', ']']);
    parts
        .filter(|part| part.contains('.'))
        .map(str::to_owned)
        .collect()
}

fn print(found: &BTreeMap<String, Declared>) -> String {
    let mut text = HEADER.to_owned();
    for (name, declared) in found {
        match declared {
            Declared::Named(other) => {
                writeln!(text, "{name} = {other}").ok();
            }
            Declared::Struct { fields, atomic } => {
                writeln!(text, "{name}{}", if *atomic { " atomic" } else { "" }).ok();
                for field in fields {
                    writeln!(text, "{}", line(field)).ok();
                }
            }
        }
    }
    text
}

fn line(field: &Field) -> String {
    let name = if field.json.is_empty() {
        "-"
    } else {
        &field.json
    };
    let flags = match (field.omit_empty, field.omit_zero) {
        (true, true) => "ez",
        (true, false) => "e",
        (false, true) => "z",
        (false, false) => "-",
    };
    let mut line = format!(" {name} {} {flags} {}", field.number, field.go_type);
    // Said twice, for OpenAPI and for declarative validation.
    let mut keys: Vec<&str> = Vec::new();
    for key in values(field, "listMapKey=") {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if let Some(list) = values(field, "listType=").next() {
        write!(line, " list={list}").ok();
        if list == "map" {
            write!(line, ":{}", keys.join(",")).ok();
        }
    }
    let mut whole = values(field, "structType=").chain(values(field, "mapType="));
    if let Some(kind) = whole.find(|kind| ["atomic", "granular"].contains(kind)) {
        write!(line, " {kind}").ok();
    }
    if let Some(default) = values(field, "default=")
        .next()
        .filter(|text| !text.contains(' '))
    {
        write!(line, " default={default}").ok();
    }
    let (key, strategy) = &field.patch;
    if !strategy.is_empty() {
        write!(line, " patch={strategy}").ok();
    }
    if !key.is_empty() {
        write!(line, " key={key}").ok();
    }
    line
}

fn values<'a>(field: &'a Field, marker: &'a str) -> impl Iterator<Item = &'a str> {
    field
        .markers
        .iter()
        .filter_map(move |own| own.strip_prefix(marker))
}
