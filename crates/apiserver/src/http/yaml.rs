//! YAML as the real API server writes it: the same order of keys, the same quotes, lines broken at the same words. Pure.

mod plain;

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// After this column a line is broken at its next space.
const WIDTH: usize = 80;

/// A value as a YAML document.
pub(super) fn write(value: &Value) -> String {
    let mut out = Writer {
        text: String::new(),
        column: 0,
    };
    out.node(value, 0, Place::Top);
    out.text
}

/// Where a node stands: what has been written on its line before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing.
    Top,
    /// A key and a colon.
    Value,
    /// A dash and a space.
    Element,
}

struct Writer {
    text: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column = match text.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => self.column + text.chars().count(),
        };
    }

    fn line(&mut self, indent: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    fn node(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, indent, place),
            Value::Array(list) if !list.is_empty() => self.sequence(list, indent, place),
            other => {
                if place == Place::Value {
                    self.put(" ");
                }
                match other {
                    Value::String(text) => self.scalar(text, indent, IsKey::No),
                    Value::Object(_) => self.put("{}"),
                    other => self.put(&other.to_string()),
                }
                self.put("\n");
            }
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, indent: usize, place: Place) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by(|(a, _), (b, _)| natural(a, b));
        for (at, (name, value)) in entries.into_iter().enumerate() {
            if at > 0 || place == Place::Value {
                self.start(indent);
            }
            self.scalar(name, indent, IsKey::Yes);
            self.put(":");
            let is_list = value.as_array().is_some_and(|list| !list.is_empty());
            // Lists are as far to the left as their key.
            let inner = if is_list { indent } else { indent + 2 };
            self.node(value, inner, Place::Value);
        }
    }

    fn sequence(&mut self, list: &[Value], indent: usize, place: Place) {
        for (at, value) in list.iter().enumerate() {
            if at > 0 || place == Place::Value {
                self.start(indent);
            }
            self.put("- ");
            self.node(value, indent + 2, Place::Element);
        }
    }

    /// Begins a line, unless the last one has just ended.
    fn start(&mut self, indent: usize) {
        if self.text.ends_with('\n') {
            self.text.pop();
        }
        self.line(indent);
    }

    fn scalar(&mut self, text: &str, indent: usize, key: IsKey) {
        let is_lines = text.contains('\n');
        match plain::style(text) {
            _ if is_lines && key == IsKey::No && plain::can_be_literal(text) => {
                self.literal(text, indent);
            }
            plain::Style::Plain if !is_lines => self.folded(text, indent, key),
            plain::Style::Single if !is_lines => {
                self.put("'");
                self.folded(&text.replace('\'', "''"), indent, key);
                self.put("'");
            }
            _ => self.double(text, indent, key),
        }
    }

    /// Words, with the line broken where it has become too long.
    fn folded(&mut self, text: &str, indent: usize, key: IsKey) {
        let chars: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (at, &c) in chars.iter().enumerate() {
            let next_is_space = chars.get(at + 1).is_none_or(|next| *next == ' ');
            let breaks = key == IsKey::No && !spaces && self.column > WIDTH && !next_is_space;
            if c == ' ' && breaks && at > 0 {
                self.line(indent);
            } else {
                self.text.push(c);
                self.column += 1;
            }
            spaces = c == ' ';
        }
    }

    fn double(&mut self, text: &str, indent: usize, key: IsKey) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut spaces = false;
        for (at, &c) in chars.iter().enumerate() {
            let inside = at > 0 && at + 1 < chars.len();
            let breaks = key == IsKey::No && !spaces && self.column > WIDTH && inside;
            if c == ' ' && breaks {
                self.line(indent);
                if chars.get(at + 1) == Some(&' ') {
                    self.put("\\");
                }
            } else {
                self.put(&plain::escaped(c));
            }
            spaces = c == ' ';
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        if !text.ends_with('\n') {
            self.put("-");
        } else if text.ends_with("\n\n") || text == "\n" {
            self.put("+");
        }
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            self.put("\n");
            if !line.is_empty() {
                self.text.extend(std::iter::repeat_n(' ', indent));
                self.put(line);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsKey {
    Yes,
    No,
}

/// The order of keys: numbers in them by value, letters after everything else.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for at in 0..a.len().min(b.len()) {
        let (one, other) = (a[at], b[at]);
        if one == other {
            digits = one.is_numeric();
            continue;
        }
        return match (one.is_alphabetic(), other.is_alphabetic()) {
            (true, true) => one.cmp(&other),
            (true, false) if digits => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if digits => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => number(&a, at).cmp(&number(&b, at)).then(one.cmp(&other)),
        };
    }
    a.len().cmp(&b.len())
}

/// The number that begins there, and where it ends.
fn number(text: &[char], at: usize) -> (u64, usize) {
    let digits = text[at..].iter().map_while(|c| c.to_digit(10));
    digits.fold((0, at), |(number, end), digit| {
        let number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        (number, end + 1)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_the_real_one_writes_them() {
        let value = json!({
            "kind": "ConfigMap", "empty": {}, "none": [], "null": null, "n": 1, "b": true,
            "list": [{"a": "1", "b": [["x"], []]}, "y"],
            "f:data": {".": {}, "f:a": {}}, "text": "a: b", "lines": "a\n b\n", "open": "a\nb", "quote": "'",
            "time": "2026-11-25T17:49:32Z", "yes": "no", "": "~",
        });
        let wanted = "\"\": \"~\"\nb: true\nempty: {}\nf:data:\n  .: {}\n  f:a: {}\nkind: ConfigMap\nlines: |\n  a\n   b\n\
                      list:\n- a: \"1\"\n  b:\n  - - x\n  - []\n- \"y\"\n\"n\": 1\nnone: []\n\"null\": null\nopen: |-\n  a\n  b\n\
                      quote: ''''\ntext: 'a: b'\ntime: \"2026-11-25T17:49:32Z\"\n\"yes\": \"no\"\n";
        assert_eq!(write(&value), wanted);
        let back: Value = serde_saphyr::from_str(&write(&value)).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn long_lines_are_broken_at_words() {
        let (a, b, c) = ("a".repeat(39), "b".repeat(48), "c".repeat(20));
        let value =
            json!({"data": {"long": format!("{a} {b} {c}"), "said": format!("x: {a} {b} {c}")}});
        let wanted = format!("data:\n  long: {a} {b}\n    {c}\n  said: 'x: {a} {b}\n    {c}'\n");
        assert_eq!(write(&value), wanted);
    }

    #[test]
    fn keys_are_in_natural_order() {
        let mut keys = vec!["a10", "b", "a9", "a", ".", "f:x", "a09"];
        keys.sort_by(|a, b| natural(a, b));
        assert_eq!(keys, [".", "a", "a9", "a09", "a10", "b", "f:x"]);
    }
}
