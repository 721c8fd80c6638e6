//! Paths such as `.spec.replicas` and `.labels['a.b']`, looked up in a schema.
use serde_json::Value;

use crate::crd::path::Path;

/// Whether `['name']` may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrays {
    Allowed,
    Refused,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) path: Path,
    /// The first field of the path.
    pub(crate) first: String,
    pub(crate) schema: &'a Value,
}

/// Looks up a path; the error says what is wrong with it.
pub(crate) fn resolve<'a>(
    text: &str,
    schema: &'a Value,
    arrays: Arrays,
) -> Result<Found<'a>, String> {
    let mut found = Found {
        path: Path::default(),
        first: String::new(),
        schema,
    };
    let mut words = split(text).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "[" => {
                if arrays == Arrays::Refused {
                    return Err("array notation is not allowed".to_owned());
                }
                let name = words.next().ok_or("unexpected end of JSON path")?;
                let inner = name
                    .strip_prefix('\'')
                    .and_then(|rest| rest.strip_suffix('\''));
                let inner =
                    inner.ok_or_else(|| format!("expected single quoted string but got {name}"))?;
                found = step(found, &inner.replace("\\'", "'").replace("\\\\", "\\"))?;
                match words.next() {
                    None => return Err("unexpected end of JSON path".to_owned()),
                    Some(word) if word != "]" => return Err(format!("expected ] but got {word}")),
                    Some(_) => {}
                }
            }
            "." => {
                let name = words.next().ok_or("unexpected end of JSON path")?;
                found = step(found, &name)?;
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

fn step<'a>(found: Found<'a>, name: &str) -> Result<Found<'a>, String> {
    let odd = || "does not refer to a valid field".to_owned();
    let properties = found.schema["properties"]
        .as_object()
        .filter(|map| !map.is_empty());
    let (path, schema) = match properties {
        Some(properties) => (
            found.path.child(name),
            properties.get(name).ok_or_else(odd)?,
        ),
        None => {
            let additional = &found.schema["additionalProperties"];
            if !additional.is_object() {
                return Err(odd());
            }
            (found.path.key(name), additional)
        }
    };
    let first = if found.first.is_empty() {
        name.to_owned()
    } else {
        found.first
    };
    Ok(Found {
        path,
        first,
        schema,
    })
}

/// Delimiters by themselves, quoted texts, and what is between.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut before = ' ';
    for c in text.chars() {
        if quoted {
            word.push(c);
            if c == '\'' && before != '\\' {
                quoted = false;
                words.push(std::mem::take(&mut word));
            }
        } else if matches!(c, '.' | '[' | ']') {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            words.push(c.to_string());
        } else {
            quoted = c == '\'' && word.is_empty();
            word.push(c);
        }
        before = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
