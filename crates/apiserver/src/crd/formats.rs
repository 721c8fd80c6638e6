//! The formats that texts and numbers may be asked to have.
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use crate::selector::{is_dns_label, is_dns_subdomain};

/// The formats of texts, without dashes.
const TEXTS: &[&str] = &[
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// The format as it is looked up by; empty if nobody knows it, for then it says nothing.
pub(super) fn known(format: &str) -> &str {
    let plain = format.replace('-', "");
    if TEXTS.contains(&plain.as_str()) || is_of_numbers(format) {
        format
    } else {
        ""
    }
}

/// Whether a format belongs to numbers.
pub(super) fn is_of_numbers(format: &str) -> bool {
    matches!(format, "int32" | "int64" | "float" | "double")
}

/// Whether a schema's format means something for its type.
pub(super) fn is_recognized(format: &str, kind: &str) -> bool {
    match kind {
        "" | "string" => TEXTS.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

static EXPRESSIONS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let rows = [
        (
            "uuid",
            r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
        ),
        (
            "uuid3",
            r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
        ),
        (
            "uuid4",
            r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$",
        ),
        (
            "uuid5",
            r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$",
        ),
        ("bsonobjectid", r"^[0-9a-fA-F]{24}$"),
        ("hexcolor", r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
        ("ssn", r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"),
        (
            "mac",
            r"^([0-9a-fA-F]{2}[:-]){5}([0-9a-fA-F]{2}[:-]){0,2}[0-9a-fA-F]{2}$|^([0-9a-fA-F]{4}\.){2,3}[0-9a-fA-F]{4}$",
        ),
        (
            "creditcard",
            r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$",
        ),
        (
            "rgbcolor",
            r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$",
        ),
        (
            "datetime",
            r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$",
        ),
        (
            "email",
            r#"^("[^"\n]*"|[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)@([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*|\[[0-9.]+\])$"#,
        ),
        ("named email", r#"^[^<>@"]*<[^<>@\s]+@[^<>@\s]+>$"#),
        (
            "hostname",
            r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$",
        ),
        ("duration", r"(\d+)\s*([A-Za-zµ]+)"),
        (
            "go duration",
            r"^[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$",
        ),
    ];
    let compiled = |(name, text)| Some((name, Regex::new(text).ok()?));
    rows.into_iter().filter_map(compiled).collect()
});

fn matches(name: &str, text: &str) -> bool {
    EXPRESSIONS
        .iter()
        .any(|(found, expression)| *found == name && expression.is_match(text))
}

/// Whether a text has a format; any text has a format that nobody knows.
pub(crate) fn has_format(format: &str, text: &str) -> bool {
    let plain = format.replace('-', "");
    match plain.as_str() {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "date" => is_date(text),
        "datetime" => {
            matches("datetime", text) && text.get(..10).is_some_and(is_date) && has_time(text)
        }
        "duration" => is_duration(text),
        "uri" => is_request_uri(text),
        "email" => is_email(text),
        "byte" => is_base64(text),
        "hostname" => {
            matches("hostname", text)
                && text.len() <= 255
                && text.split('.').all(|part| part.len() <= 63)
        }
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "k8sshortname" => text.len() <= 63 && is_dns_label(text),
        "k8slongname" => text.len() <= 253 && is_dns_subdomain(text),
        "creditcard" => is_credit_card(text),
        name if EXPRESSIONS.iter().any(|(found, _)| *found == name) => matches(name, text),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    text.parse::<ipnet::IpNet>().is_ok()
}

fn is_date(text: &str) -> bool {
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shape && text.parse::<jiff::civil::Date>().is_ok()
}

fn has_time(text: &str) -> bool {
    let number = |from: usize| {
        text.get(from..from + 2)
            .and_then(|part| part.parse::<u32>().ok())
    };
    matches!(
        (number(11), number(14), number(17)),
        (Some(0..=23), Some(0..=59), Some(0..=60))
    )
}

fn is_duration(text: &str) -> bool {
    if matches("go duration", text) {
        return true;
    }
    const UNITS: &[(&[&str], &str)] = &[
        (&["ns"], "nano"),
        (&["us", "µs"], "micro"),
        (&["ms"], "milli"),
        (&["s"], "sec"),
        (&["m"], "min"),
        (&["h", "hr"], "hour"),
        (&["d"], "day"),
        (&["w", "wk"], "week"),
    ];
    let Some((_, expression)) = EXPRESSIONS.iter().find(|(name, _)| *name == "duration") else {
        return false;
    };
    expression.captures_iter(text).any(|found| {
        let unit = found.get(2).map_or("", |unit| unit.as_str()).to_lowercase();
        UNITS
            .iter()
            .any(|(exact, prefix)| exact.contains(&unit.as_str()) || unit.starts_with(prefix))
    })
}

/// What a request line may name: an absolute URI, or a path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

fn is_email(text: &str) -> bool {
    let text = text.trim();
    let plain = matches("email", text)
        && !text.contains("..")
        && !text.starts_with('.')
        && !text.contains(".@");
    plain || matches("named email", text)
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && STANDARD.decode(text).is_ok()
}

fn is_isbn10(text: &str) -> bool {
    let digits = text.replace(['-', ' '], "");
    let mut sum = 0;
    if digits.len() != 10 {
        return false;
    }
    for (at, c) in (1..).zip(digits.chars()) {
        sum += at
            * match c {
                'X' if at == 10 => 10,
                c => match c.to_digit(10) {
                    Some(digit) => digit,
                    None => return false,
                },
            };
    }
    sum % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = text.replace(['-', ' '], "");
    let numbers: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(10)).collect();
    numbers.is_some_and(|numbers| {
        numbers.len() == 13
            && numbers
                .iter()
                .zip([1, 3].into_iter().cycle())
                .map(|(n, by)| n * by)
                .sum::<u32>()
                % 10
                == 0
    })
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(at, digit)| {
            if at % 2 == 1 {
                digit * 2 / 10 + digit * 2 % 10
            } else {
                digit
            }
        })
        .sum();
    matches("creditcard", &digits) && sum.is_multiple_of(10)
}
