//! Numbers as Kubernetes reads and prints them.
use serde_json::Value;

/// A float in the shortest form, with an exponent where it is very large or small.
pub(crate) fn float_text(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value}")
}

/// A value in an error text: texts quoted, numbers plain, everything else as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if !number.is_i64() && !number.is_u64() => {
            float_text(number.as_f64().unwrap_or_default())
        }
        Value::String(text) => quoted(text),
        other => html_safe(&other.to_string()),
    }
}

/// A text in quotes, as Go's `%q` writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// JSON text in which the signs of HTML are escaped, as Go's encoder does.
pub(crate) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Whether a float is a whole number, as near as floats tell.
pub(crate) fn is_whole(value: f64) -> bool {
    if value.is_nan() || value.is_infinite() || value.abs() > 9_007_199_254_740_991.0 {
        return false;
    }
    let rounded = value.round();
    let diff = (value - rounded).abs();
    value == rounded || diff < (value.abs() + rounded.abs()) * 1e-9
}
