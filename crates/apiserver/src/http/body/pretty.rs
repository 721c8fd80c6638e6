//! JSON for people's eyes, as Go indents it.

/// Nothing deeper is indented any further.
const DEPTH_MAX: usize = 100;
const SPACES: [u8; 2 * DEPTH_MAX] = [b' '; 2 * DEPTH_MAX];
/// What would be longer stays as it is: nobody reads it.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A JSON document with each value on a line of its own, two spaces further in for each level; none if it gets too long.
pub(super) fn indented(json: &[u8]) -> Option<Vec<u8>> {
    let mut length = 0;
    walk(json, &mut |piece| length += piece.len());
    (length <= BYTES_MAX).then(|| {
        let mut out = Vec::with_capacity(length);
        walk(json, &mut |piece| out.extend_from_slice(piece));
        out
    })
}

fn walk(json: &[u8], out: &mut impl FnMut(&[u8])) {
    let (mut depth, mut within, mut escaped) = (0_usize, false, false);
    for (at, &byte) in json.iter().enumerate() {
        if within {
            out(&[byte]);
            within = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let next = json.get(at + 1);
        let closes = next.is_some_and(|next| matches!(next, b'}' | b']'));
        let opened = at > 0 && matches!(json[at - 1], b'{' | b'[');
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'{' | b'[' => {
                out(&[byte]);
                depth += 1;
                if !closes {
                    line(out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !opened {
                    line(out, depth);
                }
                out(&[byte]);
            }
            b',' => {
                out(&[byte]);
                line(out, depth);
            }
            b':' => out(b": "),
            _ => {
                out(&[byte]);
                within = byte == b'"';
            }
        }
    }
}

fn line(out: &mut impl FnMut(&[u8]), depth: usize) {
    out(b"\n");
    out(&SPACES[..2 * depth.min(DEPTH_MAX)]);
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
            let text = indented(value.to_string().as_bytes()).unwrap();
            let wanted = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_too_deep_is_still_the_same_value() {
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        let text = indented(deep.as_bytes()).unwrap();
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read.to_string(), deep);
    }

    #[test]
    fn what_gets_too_long_stays_as_it_is() {
        let ones = vec!["1"; 200_000].join(",");
        let deep = format!("{}{ones}{}", "[".repeat(90), "]".repeat(90));
        assert_eq!(indented(deep.as_bytes()), None);
    }
}
