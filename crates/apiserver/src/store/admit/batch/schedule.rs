//! The five fields of a cron schedule.
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

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
const DESCRIPTORS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// For how many years a time is looked for.
const YEARS: i64 = 5;
/// Times that are looked through at most.
const TIMES_MAX: usize = 100_000;

/// When something is due, again and again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    times: Times,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq)]
enum Times {
    /// After so many seconds.
    Every(i64),
    /// The bits of the numbers that each field allows, and whether it allows all.
    Fields([(u64, bool); 5]),
}

impl Schedule {
    /// In which zone it is meant, if it does not say so itself.
    pub(crate) fn in_zone(mut self, name: &str) -> Self {
        if let Ok(zone) = TimeZone::get(name) {
            self.zone = zone;
        }
        self
    }

    /// As the time of the zone is written.
    pub(crate) fn written(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.zone.clone());
        match zoned.offset().is_zero() {
            true => zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            false => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }

    /// The first time after this; nothing if there is none for years.
    pub(crate) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let fields = match &self.times {
            Times::Every(seconds) => {
                let next = after
                    .checked_add(SignedDuration::from_secs(*seconds))
                    .ok()?;
                return Timestamp::from_second(next.as_second()).ok();
            }
            Times::Fields(fields) => fields,
        };
        let start = after.to_zoned(self.zone.clone()).datetime();
        let start = start.with().second(0).subsec_nanosecond(0).build().ok()?;
        let mut at = start.checked_add(1.minute()).ok()?;
        let last = start.checked_add(YEARS.years()).ok()?;
        while at < last {
            let Some(found) = step(fields, &mut at)? else {
                continue;
            };
            let found = found.to_zoned(self.zone.clone()).ok()?.timestamp();
            if found > after {
                return Some(found);
            }
        }
        None
    }

    /// The last time after one and not after another.
    pub(crate) fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        for hours in [1, 24, 32 * 24, 366 * 24 * YEARS] {
            let start = until.checked_sub(SignedDuration::from_hours(hours)).ok();
            let start = start.map_or(after, |start| start.max(after));
            let times = std::iter::successors(self.next_after(start), |at| self.next_after(*at));
            let last = times.take_while(|at| *at <= until).take(TIMES_MAX).last();
            if last.is_some() || start == after {
                return last;
            }
        }
        None
    }
}

/// Answers a time that the fields allow and goes on behind it, or only goes on.
fn step(fields: &[(u64, bool); 5], at: &mut DateTime) -> Option<Option<DateTime>> {
    let allows = |field: usize, number: i8| {
        u32::try_from(number).is_ok_and(|number| fields[field].0 & (1_u64 << number) != 0)
    };
    let date = at.date();
    if !allows(3, at.month()) {
        *at = date
            .first_of_month()
            .checked_add(1.month())
            .ok()?
            .at(0, 0, 0, 0);
        return Some(None);
    }
    let (day, weekday) = (
        allows(2, at.day()),
        allows(4, date.weekday().to_sunday_zero_offset()),
    );
    // If both are restricted, one is enough.
    let both = fields[2].1 || fields[4].1;
    let is_day = if both { day && weekday } else { day || weekday };
    if !is_day {
        *at = date.checked_add(1.day()).ok()?.at(0, 0, 0, 0);
        return Some(None);
    }
    if !allows(1, at.hour()) {
        *at = date.at(at.hour(), 0, 0, 0).checked_add(1.hour()).ok()?;
        return Some(None);
    }
    let found = allows(0, at.minute()).then_some(*at);
    *at = at.checked_add(1.minute()).ok()?;
    Some(found)
}

/// Reads a schedule; if it is none, says why.
pub(crate) fn parse(text: &str) -> Result<Schedule, String> {
    let mut rest = text;
    let mut zone = TimeZone::UTC;
    if rest.starts_with("TZ=") || rest.starts_with("CRON_TZ=") {
        let Some((named, schedule)) = rest.split_once(' ') else {
            return Err(format!("provided bad location {rest}: unknown time zone"));
        };
        let name = named.split_once('=').map_or("", |(_, name)| name);
        zone = TimeZone::get(name)
            .map_err(|_error| format!("provided bad location {name}: unknown time zone {name}"))?;
        rest = schedule.trim();
    }
    if let Some(every) = rest.strip_prefix("@every ") {
        let seconds = every
            .parse::<SignedDuration>()
            .map_or(1, |every| every.as_secs().max(1));
        let times = Times::Every(seconds);
        return Ok(Schedule { times, zone });
    }
    if rest.starts_with('@') {
        let known = DESCRIPTORS.iter().find(|(name, _)| *name == rest);
        let (_, meaning) = known.ok_or_else(|| format!("unrecognized descriptor: {rest}"))?;
        rest = meaning;
    }
    let parts: Vec<&str> = rest.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            parts.len(),
            parts.join(" ")
        ));
    }
    let mut fields = [(0, false); 5];
    for ((part, bounds), field) in parts.iter().zip(FIELDS).zip(&mut fields) {
        for one in part.split(',').filter(|one| !one.is_empty()) {
            let (bits, all) = range(one, bounds)?;
            *field = (field.0 | bits, field.1 || all);
        }
    }
    let times = Times::Fields(fields);
    Ok(Schedule { times, zone })
}

/// The bits of the numbers in a range, and whether those are all.
fn range(text: &str, (least, most, names): Bounds) -> Result<(u64, bool), String> {
    let pieces: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = pieces[0].split('-').collect();
    let all = matches!(ends[0], "*" | "?");
    let (from, mut to) = if all {
        (least, most)
    } else {
        let from = number(ends[0], names)?;
        match ends.as_slice() {
            [_] => (from, from),
            [_, to] => (from, number(to, names)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let mut every = 1;
    match pieces.as_slice() {
        [_] => {}
        [_, step] => {
            every = number(step, &[])?;
            if ends.len() == 1 {
                to = most;
            }
            if every == 0 {
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
    let steps = usize::try_from(every).unwrap_or(1);
    let bits = (from..=to)
        .step_by(steps)
        .fold(0_u64, |bits, at| bits | (1_u64 << at));
    Ok((bits, all && every == 1))
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
            assert_eq!(parse(text).map(drop), Ok(()), "{text}");
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
            assert_eq!(parse(text).map(drop), Err(why.to_owned()));
        }
    }

    #[test]
    fn schedules_come_true_when_cron_says() {
        for (text, zone, after, next) in [
            (
                "*/5 * * * *",
                "",
                "2026-01-01T00:04:30Z",
                "2026-01-01T00:05:00Z",
            ),
            (
                "*/5 * * * *",
                "",
                "2026-01-01T00:05:00Z",
                "2026-01-01T00:10:00Z",
            ),
            (
                "30 2 29 2 *",
                "",
                "2026-01-01T00:00:00Z",
                "2028-02-29T02:30:00Z",
            ),
            (
                "0 0 13 * fri",
                "",
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00Z",
            ),
            (
                "0 0 * * 1-5",
                "",
                "2026-01-02T00:00:00Z",
                "2026-01-05T00:00:00Z",
            ),
            (
                "@monthly",
                "",
                "2026-12-31T23:59:59Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "@every 1h30m",
                "",
                "2026-01-01T00:00:00Z",
                "2026-01-01T01:30:00Z",
            ),
            (
                "0 9 * * *",
                "Europe/Berlin",
                "2026-07-01T08:00:00Z",
                "2026-07-02T07:00:00Z",
            ),
        ] {
            let schedule = parse(text).unwrap().in_zone(zone);
            let found = schedule.next_after(after.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), next, "{text}");
        }
        assert_eq!(
            parse("0 0 30 2 *")
                .unwrap()
                .next_after(Timestamp::UNIX_EPOCH),
            None
        );
    }

    #[test]
    fn of_missed_times_the_last_counts() {
        let last = |text: &str, after: &str, until: &str| {
            let schedule = parse(text).unwrap();
            let found = schedule.last_between(after.parse().unwrap(), until.parse().unwrap());
            found.map(|at| at.to_string())
        };
        let (start, end) = ("2026-01-01T00:00:00Z", "2026-03-01T10:07:00Z");
        let found = last("*/5 * * * *", start, end);
        assert_eq!(found.as_deref(), Some("2026-03-01T10:05:00Z"));
        let found = last("0 3 1 * *", start, end);
        assert_eq!(found.as_deref(), Some("2026-03-01T03:00:00Z"));
        assert_eq!(last("0 3 * * *", start, "2026-01-01T02:00:00Z"), None);
    }
}
