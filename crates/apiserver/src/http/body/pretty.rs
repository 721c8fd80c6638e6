//! JSON for people's eyes, as Go indents it.

/// Nothing deeper is indented any further.
const DEPTH_MAX: usize = 500;

/// A JSON document with each value on a line of its own, two spaces further in for each level.
pub(super) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut within, mut escaped) = (0_usize, false, false);
    for (at, &byte) in json.iter().enumerate() {
        if within {
            out.push(byte);
            within = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let closes = json
            .get(at + 1)
            .is_some_and(|next| matches!(next, b'}' | b']'));
        let opened = at > 0 && matches!(json[at - 1], b'{' | b'[');
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !closes {
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !opened {
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                out.push(byte);
                within = byte == b'"';
            }
        }
    }
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth.min(DEPTH_MAX), b' ');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_indented_as_everybody_does() {
        for value in [
            json!({}),
            json!([]),
            json!("a, {b}: \"[c]\" \\"),
            json!({"a": [], "b": {}, "c": [1, {"d": [true, null]}, "\\"], "e\"": {"f": {"g": -1.5}}}),
        ] {
            let text = indented(value.to_string().as_bytes());
            let wanted = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_too_deep_is_still_the_same_value() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let text = indented(deep.as_bytes());
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read.to_string(), deep);
    }
}
