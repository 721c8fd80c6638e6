//! What names, keys and values must look like, in Kubernetes' words.
//!
//! Each function answers every reason for which a text is not allowed, so none if it is.
use crate::selector::{is_dns_label, is_dns_subdomain};

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// `what` does not match an expression.
pub(in crate::store) fn regex(what: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{what} (regex used for validation is '{format}')");
    }
    let shown: Vec<String> = examples.iter().map(|one| format!("'{one}', ")).collect();
    format!(
        "{what} (e.g. {}regex used for validation is '{format}')",
        shown.join(" or ")
    )
}

fn longer(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} characters"))
}

fn is_label_shape(text: &str) -> bool {
    let ends = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)
}

fn is_subdomain_shape(text: &str) -> bool {
    text.split('.').all(is_label_shape)
}

/// A DNS label: no dots.
pub(in crate::store) fn label(text: &str) -> Vec<String> {
    if is_dns_label(text) {
        return Vec::new();
    }
    let mut why: Vec<String> = longer(text, 63).into_iter().collect();
    if is_label_shape(text) {
        return why;
    }
    why.push(if is_subdomain_shape(text) {
        "must not contain dots".to_owned()
    } else {
        let what = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                    or '-', and must start and end with an alphanumeric character";
        regex(what, LABEL_FMT, &["my-name", "123-abc"])
    });
    why
}

/// A DNS label that begins with a letter.
pub(in crate::store) fn label_1035(text: &str) -> Vec<String> {
    let mut why: Vec<String> = longer(text, 63).into_iter().collect();
    if !is_label_shape(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        let what = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
                    start with an alphabetic character, and end with an alphanumeric character";
        why.push(regex(
            what,
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    why
}

/// A DNS name.
pub(in crate::store) fn subdomain(text: &str) -> Vec<String> {
    if is_dns_subdomain(text) {
        return Vec::new();
    }
    let mut why: Vec<String> = longer(text, 253).into_iter().collect();
    if !is_subdomain_shape(text) {
        let what = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                    characters, '-' or '.', and must start and end with an alphanumeric character";
        why.push(regex(what, SUBDOMAIN_FMT, &["example.com"]));
    }
    why
}

/// A DNS name whose first label is a star.
pub(in crate::store) fn wildcard(text: &str) -> Vec<String> {
    let mut why: Vec<String> = longer(text, 253).into_iter().collect();
    if !text.strip_prefix("*.").is_some_and(is_subdomain_shape) {
        let what = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS \
                    subdomain, which must consist of lower case alphanumeric characters, '-' or \
                    '.' and end with an alphanumeric character";
        let format = format!("\\*\\.{SUBDOMAIN_FMT}");
        why.push(regex(what, &format, &["*.example.com"]));
    }
    why
}

/// One segment of a path.
pub(in crate::store) fn path_segment(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text == "." || text == ".." {
        why.push(format!("may not be '{text}'"));
    }
    for part in ["/", "%"] {
        if text.contains(part) {
            why.push(format!("may not contain '{part}'"));
        }
    }
    why
}

fn is_key_shape(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)
}

const KEY_WHAT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                        and end with an alphanumeric character";
const KEY_EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];

/// The key of a label: a name, and perhaps a DNS name before it.
pub(in crate::store) fn qualified(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    let mut parts = text.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                why.push("prefix part must be non-empty".to_owned());
            } else {
                let parts = subdomain(prefix).into_iter();
                why.extend(parts.map(|one| format!("prefix part {}", bytes(&one))));
            }
            name
        }
        _ => {
            let what = format!("a valid label key {KEY_WHAT}");
            return vec![format!(
                "{} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex(&what, KEY_FMT, KEY_EXAMPLES)
            )];
        }
    };
    if name.is_empty() {
        why.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        why.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_key_shape(name) {
        why.push(format!(
            "name part {}",
            regex(KEY_WHAT, KEY_FMT, KEY_EXAMPLES)
        ));
    }
    why
}

/// Newer texts count bytes, not characters.
fn bytes(why: &str) -> String {
    if why.starts_with("must be no more than") {
        why.replace("characters", "bytes")
    } else {
        why.to_owned()
    }
}

/// The value of a label.
pub(in crate::store) fn label_value(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text.len() > 63 {
        why.push("must be no more than 63 bytes".to_owned());
    }
    if !text.is_empty() && !is_key_shape(text) {
        let what = format!(
            "a valid label must be an empty string or {}",
            &KEY_WHAT[5..]
        );
        let format = format!("({KEY_FMT})?");
        why.push(regex(&what, &format, &["MyValue", "my_value", "12345"]));
    }
    why
}

/// The key of a ConfigMap or Secret: a file name.
pub(in crate::store) fn config_key(text: &str) -> Vec<String> {
    let mut why: Vec<String> = longer(text, 253).into_iter().collect();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(plain) {
        let what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        why.push(regex(
            what,
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." | ".." => why.push(format!("must not be '{text}'")),
        _ if text.starts_with("..") => why.push("must not start with '..'".to_owned()),
        _ => {}
    }
    why
}

/// The name of an environment variable.
pub(in crate::store) fn variable(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text.is_empty() {
        why.push("environment variable name must be non-empty".to_owned());
    }
    if !text
        .chars()
        .all(|one| (' '..='~').contains(&one) && one != '=')
    {
        let what = "a valid environment variable name must consist only of printable ASCII \
                    characters other than '='";
        why.push(what.to_owned());
    }
    why
}

/// The name of a port.
pub(in crate::store) fn port_name(text: &str) -> Vec<String> {
    let mut why: Vec<String> = longer(text, 15).into_iter().collect();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || !text.bytes().all(plain) {
        let what = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        why.push(what.to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        why.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        why.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        why.push("must not begin or end with a hyphen".to_owned());
    }
    why
}

/// A number and a percent sign.
pub(in crate::store) fn percent(text: &str) -> Vec<String> {
    let number = text.strip_suffix('%').unwrap_or_default();
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let what = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex(what, "[0-9]+%", &["1%", "93%"])]
}

/// The name of an HTTP header.
pub(in crate::store) fn header(text: &str) -> Vec<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.is_empty() && text.bytes().all(plain) {
        return Vec::new();
    }
    let what = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex(what, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A DNS name, a slash and a path.
pub(in crate::store) fn prefixed_path(text: &str) -> Vec<String> {
    match text.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => subdomain(host),
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(check: fn(&str) -> Vec<String>, rows: &[(&str, &[&str])]) {
        for (text, wanted) in rows {
            let found = check(text);
            assert_eq!(found.len(), wanted.len(), "{text}: {found:?}");
            for (found, wanted) in found.iter().zip(*wanted) {
                assert!(found.starts_with(wanted), "{text}: {found}");
            }
        }
    }

    #[test]
    fn names_are_refused_with_every_reason() {
        let long = "a".repeat(64);
        check(
            label,
            &[
                ("a-b", &[]),
                ("a.b", &["must not contain dots"]),
                ("A", &["a lowercase RFC 1123 label must"]),
                (&long, &["must be no more than 63 characters"]),
                ("", &["a lowercase RFC 1123 label must"]),
            ],
        );
        check(
            qualified,
            &[
                ("a/b", &[]),
                (
                    "",
                    &["name part must be non-empty", "name part must consist"],
                ),
                ("/x", &["prefix part must be non-empty"]),
                ("A/x", &["prefix part a lowercase RFC 1123 subdomain"]),
                ("a/b/c", &["a valid label key must consist"]),
                (&long, &["name part must be no more than 63 bytes"]),
            ],
        );
        check(
            port_name,
            &[
                ("http", &[]),
                ("a--b", &["must not contain consecutive"]),
                ("80", &["must contain at least one letter"]),
                ("Http", &["must contain only alpha-numeric characters (a-z"]),
            ],
        );
        check(
            config_key,
            &[
                ("a.b", &[]),
                ("..", &["must not be '..'"]),
                ("..a", &["must not start with '..'"]),
                ("a b", &["a valid config key must"]),
            ],
        );
        check(percent, &[("10%", &[]), ("10", &["a valid percent"])]);
        check(variable, &[("A.b", &[]), ("a=b", &["a valid environment"])]);
    }
}
