//! Quantities: `500m`, `64Mi`, `1e3`; their order, sums and canonical form.
use std::fmt;

use serde_json::Value;

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

/// An amount, exact to a billionth. Two are equal if they are as much, however they are written.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Quantity {
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
    pub(in crate::store) const ZERO: Self = Self {
        nano: 0,
        form: Form::Decimal,
    };

    /// A whole number.
    pub(in crate::store) fn whole(number: i64) -> Self {
        Self {
            nano: i128::from(number) * NANO,
            form: Form::Decimal,
        }
    }

    /// Reads a text or a number; none if it is no quantity.
    pub(in crate::store) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// Reads a text; none if it is no quantity.
    pub(in crate::store) fn parse(text: &str) -> Option<Self> {
        let sign_end = usize::from(text.starts_with(['+', '-']));
        let negative = text.starts_with('-');
        let rest = &text[sign_end..];
        let end = rest
            .find(|one: char| !(one.is_ascii_digit() || one == '.'))
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || number.len() > 60 {
            return None;
        }
        let (scale, form) = suffix_scale(suffix)?;
        let digits: i128 = format!("{whole}{part}").parse().unwrap_or(i128::MAX);
        let shift = i32::try_from(part.len()).ok()?;
        let nano = match scale {
            Scale::Ten(power) => scaled(digits, power + 9 - shift),
            Scale::Two(power) => {
                let base = digits.saturating_mul(1i128 << power);
                scaled(base, 9 - shift)
            }
        };
        let nano = nano.min(MOST);
        Some(Self {
            nano: if negative { -nano } else { nano },
            form,
        })
    }

    /// Whether it is less than nothing.
    pub(in crate::store) fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is nothing.
    pub(in crate::store) fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is a whole number (to a thousandth, as Kubernetes looks at it).
    pub(in crate::store) fn is_whole(self) -> bool {
        self.milli() % 1000 == 0
    }

    /// The whole number, rounded up.
    pub(in crate::store) fn value(self) -> i64 {
        i64::try_from(up(self.nano, NANO)).unwrap_or(i64::MAX)
    }

    fn milli(self) -> i128 {
        up(self.nano, 1_000_000)
    }

    /// As much as this, in thousandths at the least: what is stored is never finer.
    pub(in crate::store) fn in_milli(self) -> Self {
        Self {
            nano: self.milli() * 1_000_000,
            ..self
        }
    }

    /// How many times the other goes into it.
    pub(in crate::store) fn over(self, other: Self) -> f64 {
        let thousandths = |one: Self| {
            let milli = one.milli();
            milli.to_string().parse::<f64>().unwrap_or(f64::MAX)
        };
        thousandths(self) / thousandths(other)
    }

    /// Both together, written as the first (or as the second if that is nothing).
    pub(in crate::store) fn plus(self, other: Self) -> Self {
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
}

/// Divides, rounding away from nothing.
fn up(number: i128, by: i128) -> i128 {
    let (whole, rest) = (number / by, number % by);
    match rest.signum() {
        0 => whole,
        sign => whole + sign,
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn suffix_scale(suffix: &str) -> Option<(Scale, Form)> {
    if let Some(index) = BINARY.iter().skip(1).position(|one| *one == suffix) {
        return Some((
            Scale::Two(10 * (u32::try_from(index).ok()? + 1)),
            Form::Binary,
        ));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(one, _)| *one == suffix) {
        return Some((Scale::Ten(*power), Form::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let power: i32 = exponent.parse().ok()?;
    (-60..=60)
        .contains(&power)
        .then_some((Scale::Ten(power), Form::Exponent))
}

/// A number times a power of ten, rounded up, never overflowing.
fn scaled(number: i128, power: i32) -> i128 {
    let size = power.unsigned_abs();
    if size > 38 {
        return if power > 0 && number > 0 {
            MOST
        } else {
            i128::from(number > 0)
        };
    }
    let factor = 10i128.pow(size);
    if power >= 0 {
        number.checked_mul(factor).unwrap_or(MOST)
    } else {
        up(number, factor)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
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
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("2000", "2k"),
            ("1e3", "1e3"),
            ("100M", "100M"),
            ("1000k", "1M"),
            ("-5", "-5"),
            ("0", "0"),
            ("12345", "12345"),
            ("1500m", "1500m"),
            ("1Ki", "1Ki"),
        ] {
            assert_eq!(Quantity::parse(from).unwrap().to_string(), to, "{from}");
        }
        for text in ["", "x", "1x", "1.2.3", ".", "-", "1 ", "1ki"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn quantities_add_up_and_compare() {
        let of = |text| Quantity::parse(text).unwrap();
        assert!(of("1500m") > of("1") && of("1Gi") == of("1024Mi"));
        assert_eq!(of("1Gi").plus(of("512Mi")).to_string(), "1536Mi");
        assert_eq!(of("100m").value(), 1);
        assert_eq!(of("1e60").plus(of("1")), of("1e60").plus(of("1")));
    }
}
