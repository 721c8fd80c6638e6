//! The part of JSONPath that printer columns use: fields, quoted fields, indexes, `[*]` and `[?(@.a=="b")]`. Pure.

use serde_json::Value;

use super::text;

/// What a path finds; nothing if it is malformed.
pub(super) fn find<'a>(root: &'a Value, path: &str) -> Vec<&'a Value> {
    let path = path.trim().trim_start_matches('{').trim_end_matches('}');
    let path = path.strip_prefix('$').unwrap_or(path);
    let mut found = vec![root];
    let mut rest = path;
    while !rest.is_empty() && !found.is_empty() {
        let Some((step, after)) = step(rest) else {
            return Vec::new();
        };
        found = found
            .into_iter()
            .flat_map(|value| step.apply(value))
            .collect();
        rest = after;
    }
    found
}

enum Step<'p> {
    Field(String),
    Index(i64),
    All,
    /// Elements in which a path has a text.
    Where(&'p str, &'p str),
}

impl Step<'_> {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(list)) => {
                let index = if *index < 0 {
                    list.len()
                        .checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
                } else {
                    usize::try_from(*index).ok()
                };
                index
                    .and_then(|index| list.get(index))
                    .into_iter()
                    .collect()
            }
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (Self::Where(path, wanted), Value::Array(list)) => list
                .iter()
                .filter(|element| {
                    find(element, path).iter().any(|found| match found {
                        Value::String(text) => text == wanted,
                        other => text::plain(&[other]) == *wanted,
                    })
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The first step of a path, and the rest.
fn step(path: &str) -> Option<(Step<'_>, &str)> {
    if let Some(rest) = path.strip_prefix('[') {
        let (inside, after) = bracket(rest)?;
        return Some((bracketed(inside)?, after));
    }
    let rest = path.strip_prefix('.').unwrap_or(path);
    if rest.starts_with('[') {
        return step(rest);
    }
    let mut name = String::new();
    let mut chars = rest.char_indices();
    let end = loop {
        match chars.next() {
            // A dot inside a name is escaped.
            Some((_, '\\')) => name.extend(chars.next().map(|(_, c)| c)),
            Some((at, '.' | '[')) => break at,
            Some((_, c)) => name.push(c),
            None => break rest.len(),
        }
    };
    let step = match name.as_str() {
        "" => return None,
        "*" => Step::All,
        _ => Step::Field(name),
    };
    Some((step, rest.get(end..)?))
}

/// What is inside brackets (quotes may hold a closing one), and what follows.
fn bracket(rest: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ']') => return Some((rest.get(..at)?, rest.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

fn bracketed(inside: &str) -> Option<Step<'_>> {
    let inside = inside.trim();
    if inside == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = inside
        .strip_prefix("?(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let (path, wanted) = filter.split_once("==")?;
        return Some(Step::Where(
            path.trim().strip_prefix('@')?,
            unquoted(wanted.trim()),
        ));
    }
    match inside.parse() {
        Ok(index) => Some(Step::Index(index)),
        Err(_no_number) => Some(Step::Field(unquoted(inside).to_owned())),
    }
}

fn unquoted(text: &str) -> &str {
    let inner = |quote| {
        text.strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    inner('\'').or_else(|| inner('"')).unwrap_or(text)
}
