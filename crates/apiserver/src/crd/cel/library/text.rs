//! Functions of texts, and formatting.
use std::sync::Arc;

use super::super::eval::{Evaluated, Failure, Run};
use super::super::value::Val;
use super::core::shown;
use crate::crd::formats;
use crate::selector::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value};

/// The longest text that a function makes.
const LENGTH_MAX: usize = 1 << 21;

/// Calls a function of this module; nothing if it is another's.
pub(super) fn call(run: &mut Run, name: &str, args: &[Val]) -> Option<Evaluated> {
    match args {
        [Val::Text(text)] if name == "jsonpatch.escapeKey" => {
            let escaped = text.replace('~', "~0").replace('/', "~1");
            Some(Ok(Val::text(escaped)))
        }
        [Val::Text(text)] => one(name, text),
        [Val::Text(text), Val::Text(other)] => two(run, name, text, other),
        [Val::Text(text), Val::Int(number)] => Some(cut(name, text, *number, None)?),
        [Val::Text(text), Val::Int(from), Val::Int(to)] => Some(cut(name, text, *from, Some(*to))?),
        [Val::Text(text), Val::Text(other), Val::Int(number)] => {
            three(run, name, (text, other), *number)
        }
        [Val::Text(text), Val::Text(from), Val::Text(to)] if name == "replace" => {
            Some(replace(text, from, to, -1))
        }
        [
            Val::Text(text),
            Val::Text(from),
            Val::Text(to),
            Val::Int(count),
        ] if name == "replace" => Some(replace(text, from, to, *count)),
        [Val::Text(text), Val::List(values)] if name == "format" => Some(format(run, text, values)),
        [Val::Format(format), Val::Text(text)] if name == "validate" => {
            Some(Ok(validate(format, text)))
        }
        [] => name
            .strip_prefix("format.")
            .and_then(named)
            .map(|format| Ok(Val::Format(format))),
        _ => None,
    }
}

const NAMED: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

fn named(name: &str) -> Option<&'static str> {
    NAMED.into_iter().find(|one| *one == name)
}

fn validate(format: &str, text: &str) -> Val {
    let padded = format!("{text}a");
    let ok = match format {
        "dns1123Label" => is_dns_label(text) && text.len() <= 63,
        "dns1123LabelPrefix" => is_dns_label(&padded),
        "dns1123Subdomain" => is_dns_subdomain(text),
        "dns1123SubdomainPrefix" => is_dns_subdomain(&padded),
        "dns1035Label" => is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()),
        "dns1035LabelPrefix" => {
            is_dns_label(&padded) && text.starts_with(|c: char| c.is_ascii_lowercase())
        }
        "qualifiedName" => is_label_key(text),
        "labelValue" => is_label_value(text),
        other => formats::has_format(other, text),
    };
    Val::Optional(
        (!ok).then(|| Arc::new(Val::list(vec![Val::text(format!("must be a {format}"))]))),
    )
}

fn one(name: &str, text: &str) -> Option<Evaluated> {
    Some(Ok(match name {
        "lowerAscii" => Val::text(text.to_ascii_lowercase()),
        "upperAscii" => Val::text(text.to_ascii_uppercase()),
        "trim" => Val::text(text.trim()),
        "reverse" => Val::text(text.chars().rev().collect::<String>()),
        "strings.quote" => Val::text(crate::crd::number::quoted(text)),
        "format.named" => Val::Optional(named(text).map(|format| Arc::new(Val::Format(format)))),
        _ => return None,
    }))
}

fn two(run: &mut Run, name: &str, text: &str, other: &str) -> Option<Evaluated> {
    Some(Ok(match name {
        "startsWith" => Val::Bool(text.starts_with(other)),
        "endsWith" => Val::Bool(text.ends_with(other)),
        "contains" => Val::Bool(text.contains(other)),
        "indexOf" => index_of(text, other, 0),
        "lastIndexOf" => last_index_of(text, other, None),
        "split" => return Some(split(run, text, other, -1)),
        "matches" | "find" | "findAll" => return Some(regex(run, name, (text, other), -1)),
        _ => return None,
    }))
}

fn three(run: &mut Run, name: &str, (text, other): (&str, &str), number: i64) -> Option<Evaluated> {
    Some(Ok(match name {
        "split" => return Some(split(run, text, other, number)),
        "indexOf" | "lastIndexOf" => {
            let length = length(text);
            if number < 0 || number > length {
                return Some(Err(Failure::new(format!("index out of range: {number}"))));
            }
            if name == "indexOf" {
                index_of(text, other, number)
            } else {
                last_index_of(text, other, Some(number))
            }
        }
        "findAll" => return Some(regex(run, name, (text, other), number)),
        _ => return None,
    }))
}

fn regex(run: &mut Run, name: &str, (text, pattern): (&str, &str), limit: i64) -> Evaluated {
    run.spend(100 + (pattern.len() as u64 / 4) * (1 + text.len() as u64 / 10))?;
    let compiled = run.expression(pattern)?;
    Ok(match name {
        "matches" => Val::Bool(compiled.is_match(text)),
        "find" => Val::text(compiled.find(text).map_or("", |found| found.as_str())),
        _ => find_all(&compiled, text, limit),
    })
}

fn find_all(compiled: &regex::Regex, text: &str, limit: i64) -> Val {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Val::list(
        compiled
            .find_iter(text)
            .take(limit)
            .map(|found| Val::text(found.as_str()))
            .collect(),
    )
}

fn length(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// Where in the text, in characters, a byte is.
fn in_chars(text: &str, byte: usize) -> i64 {
    length(text.get(..byte).unwrap_or_default())
}

fn byte_of(text: &str, chars: i64) -> usize {
    let chars = usize::try_from(chars).unwrap_or(0);
    text.char_indices()
        .nth(chars)
        .map_or(text.len(), |(byte, _)| byte)
}

fn index_of(text: &str, other: &str, from: i64) -> Val {
    let start = byte_of(text, from);
    let found = text.get(start..).and_then(|rest| rest.find(other));
    Val::Int(found.map_or(-1, |byte| in_chars(text, start + byte)))
}

fn last_index_of(text: &str, other: &str, until: Option<i64>) -> Val {
    let start = until.map_or(text.len(), |until| byte_of(text, until));
    let mut end = text.len().min(start.saturating_add(other.len()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let found = text[..end].rfind(other);
    Val::Int(found.map_or(-1, |byte| in_chars(text, byte)))
}

fn cut(name: &str, text: &str, from: i64, to: Option<i64>) -> Option<Evaluated> {
    let end = length(text);
    let out = |number: i64| Some(Err(Failure::new(format!("index out of range: {number}"))));
    match (name, to) {
        ("charAt", None) if from == end => Some(Ok(Val::text(""))),
        ("charAt", None) if (0..end).contains(&from) => {
            let found = usize::try_from(from)
                .ok()
                .and_then(|at| text.chars().nth(at));
            Some(Ok(Val::text(found.map(String::from).unwrap_or_default())))
        }
        ("charAt", None) => out(from),
        ("substring", to) => {
            let to = to.unwrap_or(end);
            if from < 0 || from > end {
                return out(from);
            }
            if to < 0 || to > end {
                return out(to);
            }
            if from > to {
                let why = format!("invalid substring range. start: {from}, end: {to}");
                return Some(Err(Failure::new(why)));
            }
            let part = text
                .get(byte_of(text, from)..byte_of(text, to))
                .unwrap_or_default();
            Some(Ok(Val::text(part)))
        }
        _ => None,
    }
}

fn split(run: &mut Run, text: &str, by: &str, limit: i64) -> Evaluated {
    // There may be as many parts as bytes.
    run.spend(text.len() as u64)?;
    let parts: Vec<String> = match (limit, by) {
        (0, _) => Vec::new(),
        (_, "") => text.chars().map(String::from).collect(),
        (limit, by) if limit < 0 => text.split(by).map(str::to_owned).collect(),
        (limit, by) => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            text.splitn(limit, by).map(str::to_owned).collect()
        }
    };
    Ok(Val::list(parts.iter().map(Val::text).collect()))
}

fn replace(text: &str, from: &str, to: &str, count: i64) -> Evaluated {
    let matches = if from.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(from).count()
    };
    if text.len().saturating_add(matches.saturating_mul(to.len())) > LENGTH_MAX {
        return Err(Failure::Cost);
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Val::text(text.replacen(from, to, count)))
}

/// `"%s is %d".format([a, 1])`
fn format(run: &mut Run, text: &str, values: &[Val]) -> Evaluated {
    let mut out = String::new();
    let mut chars = text.chars();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = chars.next().unwrap_or(' ');
        if verb == '%' {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if verb == '.' {
            let mut digits = String::new();
            verb = loop {
                match chars.next() {
                    Some(c) if c.is_ascii_digit() => digits.push(c),
                    other => break other.unwrap_or(' '),
                }
            };
            precision = digits.parse::<usize>().ok().map(|digits| digits.min(100));
        }
        let value = values
            .get(next)
            .ok_or_else(|| Failure::new(format!("index {next} out of range")))?;
        next += 1;
        if verb == 's' {
            plain(run, value, &mut out)?;
        } else {
            run.spend(value.weight())?;
            out.push_str(&clause(verb, precision, value)?);
        }
        if out.len() > LENGTH_MAX {
            return Err(Failure::Cost);
        }
    }
    Ok(Val::text(out))
}

fn clause(verb: char, precision: Option<usize>, value: &Val) -> Result<String, Failure> {
    let odd = || {
        let why = format!(
            "error during formatting: could not format {} with %{verb}",
            value.type_name()
        );
        Failure::new(why)
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "that is how whole numbers are shown as floats"
    )]
    let float = match value {
        Val::Double(number) => Some(*number),
        Val::Int(number) => Some(*number as f64),
        Val::Uint(number) => Some(*number as f64),
        _ => None,
    };
    Ok(match (verb, value) {
        ('d', Val::Int(_) | Val::Uint(_)) => shown(value),
        ('f', _) => format!("{:.*}", precision.unwrap_or(6), float.ok_or_else(odd)?),
        ('e', _) => format!("{:.*e}", precision.unwrap_or(6), float.ok_or_else(odd)?),
        ('b', Val::Int(number)) => format!("{number:b}"),
        ('b', Val::Bool(value)) => u8::from(*value).to_string(),
        ('x', Val::Int(number)) => format!("{number:x}"),
        ('X', Val::Int(number)) => format!("{number:X}"),
        ('o', Val::Int(number)) => format!("{number:o}"),
        ('x', Val::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        _ => return Err(odd()),
    })
}

/// Adds a value as `%s` shows it.
fn plain(run: &mut Run, value: &Val, out: &mut String) -> Result<(), Failure> {
    run.spend(value.weight())?;
    match value {
        Val::List(list) => {
            out.push('[');
            for (at, one) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                plain(run, one, out)?;
            }
            out.push(']');
        }
        Val::Map(map) => {
            out.push('{');
            for (at, (key, one)) in map.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                plain(run, &key.value(), out)?;
                out.push_str(": ");
                plain(run, one, out)?;
            }
            out.push('}');
        }
        other => out.push_str(&shown(other)),
    }
    Ok(())
}
