//! Quantities such as `100m` and `64Mi`: read, and written in their canonical form. Pure.

/// What Kubernetes says of anything else.
pub(super) const PATTERN: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const NANO: i128 = 1_000_000_000;
const MOST: i128 = i64::MAX as i128 * NANO;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// The canonical form; nothing if it is no quantity.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let number_end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    let (number, suffix) = text.split_at(number_end);
    let (format, base, exponent) = scale(suffix)?;
    let (negative, digits) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let nano = nanos(whole, fraction, base, exponent);
    let written = write(nano, format);
    Some(if negative && nano != 0 {
        format!("-{written}")
    } else {
        written
    })
}

/// The format of a suffix, and its factor as a power.
fn scale(suffix: &str) -> Option<(Format, i128, i32)> {
    let decimal = |exponent| Some((Format::Decimal, 10, exponent));
    let binary = |exponent| Some((Format::Binary, 1024, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((Format::Exponent, 10, exponent))
        }
    }
}

/// Billionths, rounded up, and no more than fit.
fn nanos(whole: &str, fraction: &str, base: i128, exponent: i32) -> i128 {
    let digit = |byte: u8| i128::from(byte.wrapping_sub(b'0'));
    let mut mantissa: i128 = 0;
    let mut places: i32 = 0;
    let mut lost = false;
    for (at, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if mantissa < MOST {
            mantissa = mantissa * 10 + digit(byte);
            places += i32::from(at >= whole.len());
        } else {
            lost |= byte != b'0';
            places -= i32::from(at < whole.len());
        }
    }
    let mut nano = mantissa;
    let mut up = 9 - places;
    if base == 10 {
        up += exponent;
    } else {
        for _ in 0..exponent {
            nano = nano.saturating_mul(base);
        }
    }
    while up > 0 && nano != 0 && nano < MOST {
        nano = nano.saturating_mul(10);
        up -= 1;
    }
    while up < 0 && nano != 0 {
        lost |= nano % 10 != 0;
        nano /= 10;
        up += 1;
    }
    (nano + i128::from(lost)).min(MOST)
}

fn write(nano: i128, format: Format) -> String {
    if nano == 0 {
        return "0".to_owned();
    }
    if format == Format::Binary && nano >= 1024 * NANO {
        let mut number = nano / NANO + i128::from(nano % NANO != 0);
        let mut power = 0;
        while number % 1024 == 0 && power < 6 {
            number /= 1024;
            power += 1;
        }
        return format!(
            "{number}{}",
            ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]
        );
    }
    let (mut number, mut power) = (nano, 0);
    while number % 1000 == 0 && power < 9 {
        number /= 1000;
        power += 1;
    }
    if format == Format::Exponent {
        return match power * 3 - 9 {
            0 => number.to_string(),
            exponent => format!("{number}e{exponent}"),
        };
    }
    format!(
        "{number}{}",
        ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][power]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_canonically() {
        for (from, to) in [
            ("100m", "100m"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("64Mi", "64Mi"),
            ("0.5Gi", "512Mi"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("1E", "1E"),
            ("-1.5k", "-1500"),
            ("+5", "5"),
            ("0", "0"),
            ("0Mi", "0"),
            ("100Ki", "100Ki"),
            ("1Ki", "1Ki"),
            ("0.1n", "1n"),
            (".5", "500m"),
        ] {
            assert_eq!(canonical(from).as_deref(), Some(to), "{from}");
        }
        for text in ["", "foo", "1.2.3", "1Zi", "m", "true", "1 Mi", "1ei"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
