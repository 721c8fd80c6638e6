//! Which texts need quotes: those that would be read as something else, or not at all.

/// How a text of one line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
}

/// Words that are read as truth, or as nothing.
const WORDS: &[&str] = &[
    "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true",
    "True", "TRUE", "n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE",
    ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
    "-.INF", "<<",
];

/// The style of a text of one line.
pub(super) fn style(text: &str) -> Style {
    if is_something_else(text) || text.chars().any(|c| !is_printable(c)) {
        return Style::Double;
    }
    if has_indicators(text) || text.starts_with(' ') || text.ends_with(' ') {
        return Style::Single;
    }
    Style::Plain
}

/// Whether lines can be written as they are.
pub(super) fn can_be_literal(text: &str) -> bool {
    !text.contains(" \n") && text.chars().all(|c| c == '\n' || is_printable(c))
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn is_something_else(text: &str) -> bool {
    WORDS.contains(&text) || is_number(text) || is_time(text) || is_base_sixty(text)
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        }
    }
    let is_shaped = digits
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    is_shaped && digits.parse::<f64>().is_ok()
}

/// Times are only told from other texts by their beginning: a year, a month and a day.
fn is_time(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let day: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let clock = &rest[day.len()..];
    let is_clock =
        clock.is_empty() || (clock.starts_with(['T', 't', ' ']) && clock.matches(':').count() == 2);
    year.len() == 4
        && is_digits(year)
        && is_digits(month)
        && month.len() <= 2
        && (1..=2).contains(&day.len())
        && is_clock
}

fn is_base_sixty(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.contains(':')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ':' | '_' | '.'))
        && digits.split(':').skip(1).all(|part| {
            let part = part.split('.').next().unwrap_or_default();
            (1..=2).contains(&part.len()) && part.parse::<u8>().is_ok_and(|number| number < 60)
        })
}

fn has_indicators(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let chars: Vec<char> = text.chars().collect();
    chars.iter().enumerate().any(|(at, &c)| {
        let ends = chars.get(at + 1).is_none_or(|next| *next == ' ');
        let begins = at == 0;
        match c {
            '#' => begins || chars[at - 1] == ' ',
            ':' => ends,
            '-' | '?' => begins && ends,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
            | '`' => begins,
            _ => false,
        }
    })
}

/// A character between double quotes.
pub(super) fn escaped(c: char) -> String {
    match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\0' => "\\0".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{1b}' => "\\e".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{2028}' => "\\L".to_owned(),
        '\u{2029}' => "\\P".to_owned(),
        '\u{feff}' => "\\uFEFF".to_owned(),
        c if c.is_control() => format!("\\x{:02X}", u32::from(c)),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_where_a_text_would_be_read_as_something_else() {
        for (text, wanted) in [
            ("a", Style::Plain),
            ("f:a", Style::Plain),
            (".", Style::Plain),
            ("a-b c", Style::Plain),
            ("10.0.0.1", Style::Plain),
            ("1.5", Style::Double),
            ("1e3", Style::Double),
            ("0x1f", Style::Double),
            ("1_000", Style::Double),
            ("true", Style::Double),
            ("12:30:45", Style::Double),
            ("2026-11-25", Style::Double),
            ("a: b", Style::Single),
            ("a #b", Style::Single),
            ("- a", Style::Single),
            ("-a", Style::Plain),
            ("{a", Style::Single),
            ("a,b", Style::Plain),
            ("k:{\"a\":1}", Style::Plain),
            (" a", Style::Single),
            ("a\tb", Style::Double),
        ] {
            assert_eq!(style(text), wanted, "{text:?}");
        }
    }
}
