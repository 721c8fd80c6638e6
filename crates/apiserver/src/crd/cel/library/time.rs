//! Durations and points in time.
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::super::eval::{Evaluated, Failure};
use super::super::value::Val;

/// A duration such as `1h30m`, in nanoseconds.
pub(in crate::crd::cel) fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 6e10),
            ("h", 3.6e12),
        ];
        let (unit, nanos) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += number * nanos;
        rest = &rest[unit.len()..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    let nanos = (total.abs() < 9.2e18).then_some(total.round() as i64)?;
    Some(sign * nanos)
}

/// A point in time, or a date.
pub(in crate::crd::cel) fn timestamp(text: &str) -> Option<Timestamp> {
    if text.len() == 10 {
        let date: jiff::civil::Date = text.parse().ok()?;
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    text.parse().ok()
}

/// A duration in seconds, as a text: `1.5s`.
pub(in crate::crd::cel) fn seconds_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let (seconds, rest) = (size / 1_000_000_000, size % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// Sums and differences.
pub(super) fn arithmetic(name: &str, a: &Val, b: &Val) -> Evaluated {
    let overflow = || Failure::new("timestamp overflow");
    let moved = |at: &Timestamp, nanos: i64| {
        at.checked_add(SignedDuration::from_nanos(nanos))
            .map(Val::Timestamp)
            .map_err(|_far| overflow())
    };
    match (name, a, b) {
        ("_+_", Val::Duration(a), Val::Duration(b)) => a
            .checked_add(*b)
            .map(Val::Duration)
            .ok_or_else(|| Failure::new("duration overflow")),
        ("_-_", Val::Duration(a), Val::Duration(b)) => a
            .checked_sub(*b)
            .map(Val::Duration)
            .ok_or_else(|| Failure::new("duration overflow")),
        ("_+_", Val::Timestamp(at), Val::Duration(nanos))
        | ("_+_", Val::Duration(nanos), Val::Timestamp(at)) => moved(at, *nanos),
        ("_-_", Val::Timestamp(at), Val::Duration(nanos)) => {
            moved(at, nanos.checked_neg().ok_or_else(overflow)?)
        }
        ("_-_", Val::Timestamp(a), Val::Timestamp(b)) => {
            let nanos = i64::try_from(a.duration_since(*b).as_nanos());
            nanos.map(Val::Duration).map_err(|_far| overflow())
        }
        _ => Err(Failure::overload()),
    }
}

/// Calls a function of this module; nothing if it is another's.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Evaluated> {
    Some(match (name, args) {
        ("duration", [value @ Val::Duration(_)]) | ("timestamp", [value @ Val::Timestamp(_)]) => {
            Ok(value.clone())
        }
        ("duration", [Val::Int(nanos)]) => Ok(Val::Duration(*nanos)),
        ("duration", [Val::Text(text)]) => duration(text).map(Val::Duration).ok_or_else(|| {
            Failure::new("type conversion error from 'string' to 'google.protobuf.Duration'")
        }),
        ("timestamp", [Val::Text(text)]) => timestamp(text).map(Val::Timestamp).ok_or_else(|| {
            Failure::new("type conversion error from 'string' to 'google.protobuf.Timestamp'")
        }),
        ("timestamp", [Val::Int(seconds)]) => Timestamp::from_second(*seconds)
            .map(Val::Timestamp)
            .map_err(|_far| Failure::new("timestamp overflow")),
        (name, [Val::Duration(nanos)]) => return part_of_duration(name, *nanos),
        (name, [Val::Timestamp(at)]) => return part(name, *at, &TimeZone::UTC),
        (name, [Val::Timestamp(at), Val::Text(zone)]) => match TimeZone::get(zone) {
            Ok(zone) => return part(name, *at, &zone),
            Err(_unknown) => Err(Failure::new(format!("unknown time zone {zone}"))),
        },
        _ => return None,
    })
}

fn part_of_duration(name: &str, nanos: i64) -> Option<Evaluated> {
    Some(Ok(Val::Int(match name {
        "getHours" => nanos / 3_600_000_000_000,
        "getMinutes" => nanos / 60_000_000_000,
        "getSeconds" => nanos / 1_000_000_000,
        "getMilliseconds" => nanos / 1_000_000,
        _ => return None,
    })))
}

fn part(name: &str, at: Timestamp, zone: &TimeZone) -> Option<Evaluated> {
    let at = at.to_zoned(zone.clone());
    Some(Ok(Val::Int(match name {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return None,
    })))
}
