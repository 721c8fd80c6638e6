//! What was measured, beside what is promised: a table for people, JSON for programs.
use std::fmt::Write as _;

use serde_json::{Value, json};

/// What is promised of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// Nothing: it is told for its own sake.
    Nothing,
    /// Ours is at most this.
    AtMost(f64),
    /// Ours is at least so many times the real one's.
    TimesReal(f64),
    /// Ours is at most this part of the real one's.
    PartOfReal(f64),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) real: Option<f64>,
    pub(crate) want: Want,
}

impl Figure {
    /// Whether the promise holds; nothing if there is none, or nothing to compare with.
    fn is_kept(&self) -> Option<bool> {
        match self.want {
            Want::Nothing => None,
            Want::AtMost(most) => Some(self.ours <= most),
            Want::TimesReal(times) => self.real.map(|real| self.ours >= times * real),
            Want::PartOfReal(part) => self.real.map(|real| self.ours <= part * real),
        }
    }

    fn promise(&self) -> String {
        match self.want {
            Want::Nothing => String::new(),
            Want::AtMost(most) => format!("at most {}", number(most)),
            Want::TimesReal(times) => format!("at least {} times", number(times)),
            Want::PartOfReal(part) => format!("at most 1/{}", number(1.0 / part)),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_kept() {
            Some(true) => "kept",
            Some(false) => "BROKEN",
            None => "",
        }
    }

    fn to_value(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "ours": self.ours, "real": self.real,
            "want": self.promise(), "kept": self.is_kept(),
        })
    }
}

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// The promises that do not hold, and those that could not be judged.
    pub(crate) fn broken(&self) -> Vec<String> {
        let promised = self
            .figures
            .iter()
            .filter(|figure| !matches!(figure.want, Want::Nothing));
        promised
            .filter(|figure| figure.is_kept() != Some(true))
            .map(|figure| format!("{}: {}", figure.name, figure.promise()))
            .collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(Figure::to_value).collect();
        json!({ "figures": figures })
    }

    /// A table that is Markdown, too.
    pub(crate) fn to_table(&self) -> String {
        let mut rows = vec![["what", "unit", "ours", "real", "promised", ""].map(str::to_owned)];
        for figure in &self.figures {
            rows.push([
                figure.name.clone(),
                figure.unit.to_owned(),
                number(figure.ours),
                figure.real.map_or_else(String::new, number),
                figure.promise(),
                figure.verdict().to_owned(),
            ]);
        }
        let widths: Vec<usize> = (0..6)
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for (at, row) in rows.iter().enumerate() {
            line(&mut text, row, &widths);
            if at == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                line(&mut text, &rules, &widths);
            }
        }
        text
    }
}

fn line(text: &mut String, cells: &[String], widths: &[usize]) {
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a String cannot fail.
        write!(text, "| {cell:width$} ").ok();
    }
    text.push_str("|\n");
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_judged_and_what_cannot_be_judged_is_not_kept() {
        let figure = |real, want| Figure {
            name: "x".to_owned(),
            unit: "ms",
            ours: 10.0,
            real,
            want,
        };
        for (real, want, kept) in [
            (None, Want::AtMost(10.0), Some(true)),
            (None, Want::AtMost(9.0), Some(false)),
            (Some(2.0), Want::TimesReal(5.0), Some(true)),
            (Some(2.1), Want::TimesReal(5.0), Some(false)),
            (Some(50.0), Want::PartOfReal(0.2), Some(true)),
            (Some(49.0), Want::PartOfReal(0.2), Some(false)),
            (None, Want::TimesReal(5.0), None),
            (None, Want::Nothing, None),
        ] {
            let figure = figure(real, want);
            assert_eq!(figure.is_kept(), kept, "{figure:?}");
            let mut report = Report::default();
            let promised = !matches!(figure.want, Want::Nothing);
            report.add(figure);
            assert_eq!(report.broken().is_empty(), kept == Some(true) || !promised);
        }
    }
}
