//! How cells are spelled: ages, selectors, lists. Pure.

use jiff::Timestamp;
use serde_json::Value;

/// How long ago a time was, as `kubectl` prints it; `<unknown>` without one.
pub(super) fn age(time: &Value, now: i64) -> String {
    match seconds(time) {
        Some(then) => duration(now.saturating_sub(then)),
        None => "<unknown>".to_owned(),
    }
}

/// The seconds since 1970 of a time.
pub(super) fn seconds(time: &Value) -> Option<i64> {
    time.as_str()?
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_second)
}

/// Two significant units while they matter, as Kubernetes' HumanDuration.
pub(super) fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// `a=1,b=2`, or `<none>`.
pub(super) fn labels(map: &Value) -> String {
    let pairs: Vec<String> = map.as_object().map_or_else(Vec::new, |map| {
        map.iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect()
    });
    or_none(pairs.join(","))
}

/// The text, or `<none>`.
pub(super) fn or_none(text: String) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text
    }
}

/// The text, or `<unset>`.
pub(super) fn or_unset(text: String) -> String {
    if text.is_empty() {
        "<unset>".to_owned()
    } else {
        text
    }
}

/// The first three, and how many more.
pub(super) fn some_of(items: &[String]) -> String {
    match items {
        [a, b, c, _, ..] => format!("{a},{b},{c} + {} more...", items.len() - 3),
        few => few.join(","),
    }
}

/// Whether a field says `true` as text.
pub(super) fn flag(value: &Value, name: &str) -> bool {
    field(value, name) == "true"
}

/// What a JSONPath found, as text.
pub(super) fn plain(found: &[&Value]) -> String {
    let texts: Vec<String> = found
        .iter()
        .map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    texts.join(" ")
}

/// The array at a field, or nothing.
pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The text at a field, or an empty one.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a field, or 0.
pub(super) fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or(0)
}
