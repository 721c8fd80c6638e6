//! The five fields of a cron schedule.

/// The least, the most, and names for the numbers.
type Bounds = (u32, u32, &'static [&'static str]);

const MONTHS: &[&str] = &[
    "", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Bounds; 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, MONTHS),
    (0, 6, DAYS),
];
const DESCRIPTORS: &[&str] = &[
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// Whether it is a schedule; if not, why.
pub(super) fn parse(text: &str) -> Result<(), String> {
    let mut rest = text;
    if rest.starts_with("TZ=") || rest.starts_with("CRON_TZ=") {
        let Some((zone, schedule)) = rest.split_once(' ') else {
            return Err(format!("provided bad location {rest}: unknown time zone"));
        };
        let name = zone.split_once('=').map_or("", |(_, name)| name);
        if jiff::tz::TimeZone::get(name).is_err() {
            return Err(format!(
                "provided bad location {name}: unknown time zone {name}"
            ));
        }
        rest = schedule.trim();
    }
    if rest.starts_with('@') {
        let known = DESCRIPTORS.contains(&rest) || rest.starts_with("@every ");
        return if known {
            Ok(())
        } else {
            Err(format!("unrecognized descriptor: {rest}"))
        };
    }
    let parts: Vec<&str> = rest.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            parts.len(),
            parts.join(" ")
        ));
    }
    for (part, bounds) in parts.iter().zip(FIELDS) {
        for one in part.split(',').filter(|one| !one.is_empty()) {
            range(one, bounds)?;
        }
    }
    Ok(())
}

fn range(text: &str, (least, most, names): Bounds) -> Result<(), String> {
    let pieces: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = pieces[0].split('-').collect();
    let (from, mut to) = if matches!(ends[0], "*" | "?") {
        (least, most)
    } else {
        let from = number(ends[0], names)?;
        match ends.as_slice() {
            [_] => (from, from),
            [_, to] => (from, number(to, names)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    match pieces.as_slice() {
        [_] => {}
        [_, step] => {
            let step = number(step, &[])?;
            if ends.len() == 1 {
                to = most;
            }
            if step == 0 {
                return Err(format!("step of range should be a positive number: {text}"));
            }
        }
        _ => return Err(format!("too many slashes: {text}")),
    }
    if from < least {
        return Err(format!(
            "beginning of range ({from}) below minimum ({least}): {text}"
        ));
    }
    if to > most {
        return Err(format!(
            "end of range ({to}) above maximum ({most}): {text}"
        ));
    }
    if from > to {
        return Err(format!(
            "beginning of range ({from}) beyond end of range ({to}): {text}"
        ));
    }
    Ok(())
}

fn number(text: &str, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(index) = names
        .iter()
        .position(|name| !name.is_empty() && *name == lower)
    {
        return Ok(u32::try_from(index).unwrap_or(0));
    }
    let parsed: i64 = text.parse().map_err(|_error| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })?;
    u32::try_from(parsed)
        .map_err(|_error| format!("negative number ({parsed}) not allowed: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        for text in [
            "*/5 * * * *",
            "0 0 1 jan mon",
            "1,2-5 * ? * *",
            "@hourly",
            "TZ=UTC 0 0 * * *",
        ] {
            assert_eq!(parse(text), Ok(()), "{text}");
        }
        for (text, why) in [
            ("bad", "expected exactly 5 fields, found 1: [bad]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            (
                "a * * * *",
                "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()));
        }
    }
}
