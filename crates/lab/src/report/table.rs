//! A table for a terminal: columns as wide as their widest cell, numbers to the right.

/// How a cell is shown. Colours vanish where the output is no terminal (`anstream`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Faint,
}

impl Tone {
    pub(super) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// On which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A table with a headline. A row with fewer cells than columns is filled up with empty ones.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(columns: &[(&str, Side)]) -> Self {
        let columns = columns
            .iter()
            .map(|(name, side)| ((*name).to_owned(), *side))
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(super) fn render(&self) -> String {
        let head: Vec<_> = self
            .columns
            .iter()
            .map(|(name, _)| Cell::new(name.as_str(), Tone::Faint))
            .collect();
        let widths: Vec<_> = (0..self.columns.len())
            .map(|column| self.width(column))
            .collect();
        let lines = std::iter::once(&head).chain(&self.rows);
        lines
            .map(|cells| self.line(cells, &widths) + "\n")
            .collect()
    }

    fn width(&self, column: usize) -> usize {
        let head = self
            .columns
            .get(column)
            .map_or(0, |(name, _)| name.chars().count());
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.text.chars().count())
            .max()
            .unwrap_or(0)
            .max(head)
    }

    fn line(&self, cells: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (n, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let gap = " ".repeat(width - cell.text.chars().count().min(*width));
            let text = cell.tone.paint(&cell.text);
            let last = n + 1 == cells.len();
            line += if n == 0 { "" } else { "  " };
            match self.columns.get(n).map(|(_, side)| side) {
                Some(Side::Right) => line += &format!("{gap}{text}"),
                _ if last => line += &text,
                _ => line += &format!("{text}{gap}"),
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen_and_not_by_colour() {
        let mut table = Table::new(&[
            ("way", Side::Left),
            ("failed", Side::Right),
            ("s", Side::Left),
        ]);
        table.row(vec![
            Cell::plain("freeze"),
            Cell::new("0", Tone::Plain),
            Cell::plain("äöü"),
        ]);
        table.row(vec![
            Cell::plain("a"),
            Cell::new("12345678", Tone::Bad),
            Cell::plain("x"),
        ]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        let want = "way       failed  s\n\
                    freeze         0  äöü\n\
                    a       12345678  x\n";
        assert_eq!(plain, want);
        assert!(table.render().contains("\u{1b}[1;31m12345678\u{1b}[0m"));
    }
}
