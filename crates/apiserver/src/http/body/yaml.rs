//! Bodies in YAML: their values, the keys that they have twice, and what Kubernetes' parser says of what is none.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Error, Options, Spanned};

/// Values in a body: what an object of the largest size that is stored may have, ten bytes each.
const NODES_MAX: usize = 150_000;
/// Bodies larger than this are not looked through for keys that are there twice: that would hold up other requests.
const LOOKED_THROUGH_MAX: usize = 64 * 1024;
/// More keys than these are not told.
const KEYS_MAX: usize = 100;

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    }
}

/// YAML as Kubernetes reads it: of two equal keys the last one counts.
pub(super) fn value(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_error| "yaml: control characters are not allowed".to_owned())?;
    let error = match serde_saphyr::from_str_with_options(text, options()) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Error::MultipleDocuments { location, .. } = &error
        && let Some(first) = before(text, location.line())
    {
        return serde_saphyr::from_str_with_options(first, options())
            .map_err(|error| problem(first, &error));
    }
    Err(problem(text, &error))
}

/// The lines before the one with which the second of several documents begins.
fn before(text: &str, line: u64) -> Option<&str> {
    let lines = text.split_inclusive('\n');
    let lines = lines.take(usize::try_from(line).ok()?.checked_sub(1)?);
    let (mut end, mut marks) = (0, None);
    for line in lines {
        if line.starts_with("---") {
            marks = Some(end);
        }
        end += line.len();
    }
    text.get(..marks.filter(|end| *end > 0)?)
}

/// What is wrong, in the words of Kubernetes' parser. A scanner's errors name the line where they are, a parser's the
/// one before; the first line is not named.
fn problem(text: &str, error: &Error) -> String {
    let location = error.location();
    let line = location.map_or(0, |location| location.line());
    let shown = error.to_string();
    let shown = shown.strip_prefix("error: ").unwrap_or(&shown);
    let ends = text.matches('\n').count() as u64;
    let says = |what: &str| shown.contains(what);
    let (why, line) = if matches!(error, Error::UnknownAnchor { .. }) || says("unknown anchor") {
        let name = location.and_then(|at| alias(text, at.line(), at.column()));
        let name = name.unwrap_or_default();
        return format!("yaml: unknown anchor '{name}' referenced");
    } else if says("unclosed quote") {
        ("found unexpected end of stream".to_owned(), ends + 1)
    } else if says("unclosed bracket '{'") {
        ("did not find expected ',' or '}'".to_owned(), ends)
    } else if says("unclosed bracket '['") {
        ("did not find expected ',' or ']'".to_owned(), ends)
    } else if says("mismatched bracket '{'") {
        let why = "did not find expected ',' or '}'";
        (why.to_owned(), line.saturating_sub(1))
    } else if says("mismatched bracket '['") {
        let why = "did not find expected ',' or ']'";
        (why.to_owned(), line.saturating_sub(1))
    } else if says("simple key expected ':'") {
        ("could not find expected ':'".to_owned(), line + 1)
    } else if says("tabs disallowed") || says("tab cannot be used") || says("unexpected character:")
    {
        let why = "found character that cannot start any token";
        (why.to_owned(), line)
    } else if let Some((_, why)) = shown
        .split_once("while parsing a ")
        .and_then(|(_, rest)| rest.split_once(", "))
    {
        let why = why.split(" at line ").next().unwrap_or(why);
        let did = if why.starts_with("expected ") {
            "did not find "
        } else {
            ""
        };
        (format!("{did}{why}"), line.saturating_sub(1))
    } else {
        let why = shown.split(" at line ").next().unwrap_or(shown);
        // `line 3 column 5: what is wrong`
        let why = match why.split_once(": ") {
            Some((place, why)) if place.starts_with("line ") => why,
            _ => why,
        };
        (why.to_owned(), line)
    };
    match line {
        0 | 1 => format!("yaml: {why}"),
        line => format!("yaml: line {line}: {why}"),
    }
}

/// The name of the alias at a place.
fn alias(text: &str, line: u64, column: u64) -> Option<&str> {
    let line = text
        .lines()
        .nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let at = usize::try_from(column).ok()?.checked_sub(1)?;
    let (start, _) = line.char_indices().nth(at)?;
    let name = line[start..].trim_start_matches('*');
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
    name.split(ends).next()
}

/// What there is to say of the keys that a body has twice; nothing of what is no YAML, or large.
pub(in crate::http) fn duplicates(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).ok();
    let Some(text) = text.filter(|text| text.len() <= LOOKED_THROUGH_MAX) else {
        return Vec::new();
    };
    let mut told = Vec::new();
    let walked = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |reader| {
        Walk(&mut told).deserialize(reader)
    });
    match walked {
        Ok(()) => told,
        Err(_none) => Vec::new(),
    }
}

/// Goes through a document and tells of keys that are there again.
struct Walk<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Walk(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            if seen.contains(&key.value) && self.0.len() < KEYS_MAX {
                self.0.push(format!(
                    "line {line}: key {:?} already set in map",
                    key.value
                ));
            }
            seen.insert(key.value);
            map.next_value_seed(Walk(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_yaml_is_said_in_the_words_of_kubernetes() {
        for (text, wanted) in [
            (
                "a: v\nb: c\nm: {name: open\n",
                "yaml: line 3: did not find expected ',' or '}'",
            ),
            (
                "a: v\n  b: c\n",
                "yaml: line 2: mapping values are not allowed in this context",
            ),
            (
                "a: b: c\n",
                "yaml: mapping values are not allowed in this context",
            ),
            ("- a\nb\n", "yaml: line 3: could not find expected ':'"),
            (
                "a: v\nb: \"c\n",
                "yaml: line 3: found unexpected end of stream",
            ),
            (
                "a: v\nb: {c: *nothing}\n",
                "yaml: unknown anchor 'nothing' referenced",
            ),
        ] {
            assert_eq!(value(text.as_bytes()).unwrap_err(), wanted, "{text:?}");
        }
    }

    #[test]
    fn of_several_documents_the_first_one_counts() {
        let text = "a: 1\n---\nb: 2\n---\nc: 3\n";
        assert_eq!(value(text.as_bytes()).unwrap(), serde_json::json!({"a": 1}));
        let text = "---\na: 1\n---\nb: 2\n";
        assert_eq!(value(text.as_bytes()).unwrap(), serde_json::json!({"a": 1}));
    }

    #[test]
    fn keys_that_are_there_twice_are_told_with_their_lines() {
        let text = "a: 1\nb: {c: 1, c: 2}\na: 2\nl:\n- {d: 1}\n- d: 1\n  d: 2\n";
        let wanted = [
            "line 2: key \"c\" already set in map",
            "line 3: key \"a\" already set in map",
            "line 7: key \"d\" already set in map",
        ];
        assert_eq!(duplicates(text.as_bytes()), wanted);
        assert!(duplicates(b"a: [").is_empty());
    }
}
