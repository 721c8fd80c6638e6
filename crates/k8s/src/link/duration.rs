//! Durations as Go writes them (`3s`, `1m30s`, `1.5h`), and bare seconds as gateways are annotated.
use std::time::Duration;

use serde_json::Value;

use crate::json::Reader;

/// How often a gateway is probed where the Link does not say.
pub(super) const PROBE_PERIOD: Duration = Duration::from_secs(3);
/// How long a probe may take where the Link does not say.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn read(reader: &mut Reader, object: &Value, field: &str) -> Option<Duration> {
    let text = reader.text(object, field)?;
    match parse(text) {
        Some(duration) if !duration.is_zero() => Some(duration),
        Some(_) => {
            reader.fault(field, format!("{text:?} must be more than zero"));
            None
        }
        None => {
            reader.fault(field, format!("{text:?} is no duration, as in \"3s\""));
            None
        }
    }
}

/// Parses a Go duration; a bare whole number is seconds.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_and_nothing_else() {
        for (text, want) in [
            ("3s", Some(Duration::from_secs(3))),
            ("3", Some(Duration::from_secs(3))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("250ms", Some(Duration::from_millis(250))),
            ("", None),
            ("s", None),
            ("3x", None),
            ("-3s", None),
            ("3s5", None),
            ("1..5s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse(text), want, "{text:?}");
        }
    }
}
