//! Times and durations, read as Go reads them. Pure.

use jiff::Timestamp;
use serde_json::Value;

/// How exactly a time is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    Seconds,
    Micros,
}

/// The time as it is written back; an error in Go's words.
pub(super) fn time(text: &str, precision: Precision) -> Result<Value, String> {
    let layout = match precision {
        Precision::Seconds => "2006-01-02T15:04:05Z07:00",
        Precision::Micros => "2006-01-02T15:04:05.000000Z07:00",
    };
    let shaped = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T');
    let parsed: Option<Timestamp> = text.parse().ok().filter(|_| shaped);
    let Some(at) = parsed else {
        let (rest, wanted) = first_fault(text, precision);
        return Err(format!(
            "parsing time \"{text}\" as \"{layout}\": cannot parse \"{rest}\" as \"{wanted}\""
        ));
    };
    let written = match precision {
        Precision::Seconds => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Precision::Micros => at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
    };
    Ok(written.into())
}

/// What is left of the text where it no longer follows the layout, and the part of the layout that it should follow.
fn first_fault(text: &str, precision: Precision) -> (&str, &'static str) {
    let parts: [(usize, &'static str); 11] = [
        (4, "2006"),
        (1, "-"),
        (2, "01"),
        (1, "-"),
        (2, "02"),
        (1, "T"),
        (2, "15"),
        (1, ":"),
        (2, "04"),
        (1, ":"),
        (2, "05"),
    ];
    let mut rest = text;
    for (length, wanted) in parts {
        let fits = rest.get(..length).is_some_and(|here| {
            here == wanted || (length > 1 && here.bytes().all(|byte| byte.is_ascii_digit()))
        });
        match rest.get(length..).filter(|_| fits) {
            Some(after) => rest = after,
            None => return (rest, wanted),
        }
    }
    if precision == Precision::Micros && !rest.starts_with('.') {
        return (rest, ".000000");
    }
    (rest, "Z07:00")
}

/// A duration such as `1m30s`, as Go writes it; an error in Go's words.
pub(super) fn duration(text: &str) -> Result<Value, String> {
    let nanos = nanos(text).ok_or_else(|| format!("time: invalid duration \"{text}\""))?;
    Ok(written(nanos).into())
}

/// A duration in billionths of a second.
pub(crate) fn nanos(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest.get(..end)?.parse().ok()?;
        let after = rest.get(end..)?;
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let unit = match after.get(..unit_end)? {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = after.get(unit_end..)?;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is too long is cut off at the end of the range"
    )]
    Some((sign * total) as i64)
}

/// As Go prints a duration.
pub(crate) fn written(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let left = nanos.unsigned_abs();
    let fraction = |number: u64, unit: u64| {
        let text = format!(
            "{}.{:0width$}",
            number / unit,
            number % unit,
            width = unit.ilog10() as usize
        );
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match left {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{left}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(left, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(left, 1_000_000)),
        _ => {
            let seconds = left / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = fraction(left % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{rest}s"),
                (0, minutes) => format!("{sign}{minutes}m{rest}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_refused_as_go_does() {
        let read = |text| time(text, Precision::Seconds);
        assert_eq!(
            read("2026-01-02T03:04:05Z").unwrap(),
            "2026-01-02T03:04:05Z"
        );
        assert_eq!(
            read("2026-01-02T03:04:05.9+02:00").unwrap(),
            "2026-01-02T01:04:05Z"
        );
        assert_eq!(
            read("yesterday").unwrap_err(),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
        );
        assert!(
            read("2026-01-02")
                .unwrap_err()
                .ends_with("cannot parse \"\" as \"T\"")
        );
        let micros = time("2026-01-02T03:04:05.123456Z", Precision::Micros);
        assert_eq!(micros.unwrap(), "2026-01-02T03:04:05.123456Z");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (from, to) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("0", "0s"),
            ("-2m", "-2m0s"),
        ] {
            assert_eq!(duration(from).unwrap(), to, "{from}");
        }
        assert!(duration("five").is_err());
    }
}
