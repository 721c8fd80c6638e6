//! Quantities: `500m`, `64Mi`, `1e3`; their order, sums and canonical form. Pure.
use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// What Kubernetes says of anything else.
pub(crate) const PATTERN: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

/// An amount, exact to a billionth. Two are equal if they are as much, however they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantity {
    nano: i128,
    form: Form,
}

const NANO: i128 = 1_000_000_000;
/// More is cut off to this, as Kubernetes does.
const MOST: i128 = (i64::MAX as i128) * NANO;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Nothing.
    pub(crate) const ZERO: Self = Self {
        nano: 0,
        form: Form::Decimal,
    };

    /// A whole number.
    pub(crate) fn whole(number: i64) -> Self {
        Self {
            nano: i128::from(number) * NANO,
            form: Form::Decimal,
        }
    }

    /// Reads a text or a number; none if it is no quantity.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// Reads a text; none if it is no quantity.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned
            .find(|one: char| !(one.is_ascii_digit() || one == '.'))
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (form, base, exponent) = scale(suffix)?;
        let nano = nanos(whole, fraction, base, exponent);
        Some(Self {
            nano: if text.starts_with('-') { -nano } else { nano },
            form,
        })
    }

    /// Minus one, nothing or one.
    pub(crate) fn sign(self) -> i64 {
        i64::from(self.nano > 0) - i64::from(self.nano < 0)
    }

    /// Whether it is less than nothing.
    pub(crate) fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is nothing.
    pub(crate) fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is a whole number (to a thousandth, as Kubernetes looks at it).
    pub(crate) fn is_whole(self) -> bool {
        self.milli() % 1000 == 0
    }

    /// The whole number that it is; none if it is none, exactly.
    pub(crate) fn exactly(self) -> Option<i64> {
        (self.nano % NANO == 0).then(|| i64::try_from(self.nano / NANO).ok())?
    }

    /// The whole number, rounded up.
    pub(crate) fn value(self) -> i64 {
        i64::try_from(up(self.nano, NANO)).unwrap_or(i64::MAX)
    }

    /// About as much.
    pub(crate) fn approximately(self) -> f64 {
        float(self.nano) / float(NANO)
    }

    fn milli(self) -> i128 {
        up(self.nano, 1_000_000)
    }

    /// As much as this, in thousandths at the least: what is stored is never finer.
    pub(crate) fn in_milli(self) -> Self {
        Self {
            nano: self.milli() * 1_000_000,
            ..self
        }
    }

    /// How many times the other goes into it.
    pub(crate) fn over(self, other: Self) -> f64 {
        float(self.milli()) / float(other.milli())
    }

    /// Both together, written as the first (or as the second if that is nothing).
    pub(crate) fn plus(self, other: Self) -> Self {
        let form = if self.is_zero() {
            other.form
        } else {
            self.form
        };
        Self {
            nano: self.nano.saturating_add(other.nano),
            form,
        }
    }

    /// What is left of the first.
    pub(crate) fn minus(self, other: Self) -> Self {
        let nano = -other.nano;
        self.plus(Self { nano, ..other })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "who asks for a float wants no more than it holds"
)]
fn float(number: i128) -> f64 {
    number as f64
}

/// Divides, rounding away from nothing.
fn up(number: i128, by: i128) -> i128 {
    let (whole, rest) = (number / by, number % by);
    whole + rest.signum()
}

/// The form of a suffix, and its factor as a power.
fn scale(suffix: &str) -> Option<(Form, i128, i32)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(one, _)| *one == suffix) {
        return Some((Form::Decimal, 10, *power));
    }
    if let Some(power) = BINARY.iter().position(|one| *one == suffix) {
        return Some((Form::Binary, 1024, i32::try_from(power).ok()?));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Form::Exponent, 10, exponent))
}

/// Billionths, rounded up, and no more than fit.
fn nanos(whole: &str, fraction: &str, base: i128, exponent: i32) -> i128 {
    let digit = |byte: u8| i128::from(byte.wrapping_sub(b'0'));
    let mut nano: i128 = 0;
    let mut places: i32 = 0;
    let mut lost = false;
    for (at, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if nano < MOST {
            nano = nano * 10 + digit(byte);
            places += i32::from(at >= whole.len());
        } else {
            lost |= byte != b'0';
            places -= i32::from(at < whole.len());
        }
    }
    let mut shift = 9 - places;
    if base == 10 {
        shift = shift.saturating_add(exponent);
    } else {
        for _ in 0..exponent {
            nano = nano.saturating_mul(base);
        }
    }
    while shift > 0 && nano != 0 && nano < MOST {
        nano = nano.saturating_mul(10);
        shift -= 1;
    }
    while shift < 0 && nano != 0 {
        lost |= nano % 10 != 0;
        nano /= 10;
        shift += 1;
    }
    (nano.min(MOST) + i128::from(lost)).min(MOST)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * NANO;
        if self.form == Form::Binary && !small {
            let mut number = up(self.nano, NANO);
            let mut steps = 0;
            while number % 1024 == 0 && steps + 1 < BINARY.len() {
                number /= 1024;
                steps += 1;
            }
            return write!(f, "{number}{}", BINARY[steps]);
        }
        let (mut number, mut step) = (self.nano, 0);
        while number % 1000 == 0 && step + 1 < DECIMAL.len() {
            number /= 1000;
            step += 1;
        }
        let (suffix, power) = DECIMAL[step];
        match self.form {
            Form::Exponent if power != 0 => write!(f, "{number}e{power}"),
            _ => write!(f, "{number}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_kubernetes_writes_them() {
        for (from, to) in [
            ("1", "1"),
            ("100m", "100m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("64Mi", "64Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("0.5Ki", "512"),
            ("100Ki", "100Ki"),
            ("1Ki", "1Ki"),
            ("1000", "1k"),
            ("2000", "2k"),
            ("1000k", "1M"),
            ("100M", "100M"),
            ("1E", "1E"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("-5", "-5"),
            ("-1.5k", "-1500"),
            ("+5", "5"),
            ("0", "0"),
            ("0Mi", "0"),
            ("12345", "12345"),
            ("0.1n", "1n"),
            ("1e2147483647", "9223372036854775807"),
            ("1e-2147483648", "1e-9"),
        ] {
            assert_eq!(Quantity::parse(from).unwrap().to_string(), to, "{from}");
        }
        for text in [
            "", "x", "foo", "1x", "1.2.3", ".", "-", "1 ", "1 Mi", "1ki", "1Zi", "m", "true", "1ei",
        ] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn quantities_add_up_and_compare() {
        let of = |text| Quantity::parse(text).unwrap();
        assert!(of("1500m") > of("1") && of("1Gi") == of("1024Mi"));
        assert_eq!(of("1Gi").plus(of("512Mi")).to_string(), "1536Mi");
        assert_eq!(of("1Gi").minus(of("512Mi")).to_string(), "512Mi");
        assert_eq!(of("100m").value(), 1);
        assert_eq!(
            (of("100m").exactly(), of("2k").exactly()),
            (None, Some(2000))
        );
        assert_eq!(of("1e60").plus(of("1")), of("1e60").plus(of("1")));
    }
}
