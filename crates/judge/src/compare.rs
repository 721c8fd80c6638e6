//! The same script against both kinds of cluster: where their answers differ, ours is wrong.
use anyhow::Result;

use crate::play::{NO_ANSWER, Player, is_answer};
use crate::script::Step;

/// One compared step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The step, as a report names it.
    pub step: String,
    /// Its line in the script.
    pub line: usize,
    /// What the real one answered, normalised.
    pub real: String,
    /// What ours answered, normalised.
    pub ours: String,
}

impl Compared {
    /// Whether nobody can tell them apart.
    pub fn is_same(&self) -> bool {
        self.ours == self.real && is_answer(&self.real)
    }

    /// Whether the real one answered and ours did not: that is never a matter of words.
    pub fn is_ours_unanswered(&self) -> bool {
        is_answer(&self.real) && self.ours.starts_with(NO_ANSWER)
    }

    /// The lines that differ: `-` is the real one's, `+` ours; `=` what neither of them did.
    pub fn difference(&self) -> String {
        if self.ours == self.real {
            let lines = self.real.lines().map(|line| format!("= {line}"));
            return lines.collect::<Vec<_>>().join("\n");
        }
        difference(&self.real, &self.ours)
    }
}

/// Plays the steps on both sides at once.
///
/// # Errors
/// When a step cannot be run at all.
pub async fn compare(steps: &[Step], (real, ours): (&Player, &Player)) -> Result<Vec<Compared>> {
    let (real, ours) = tokio::try_join!(real.play(steps), ours.play(steps))?;
    Ok(pair(steps, real, ours))
}

/// What both sides answered to the steps, side by side.
pub fn pair(steps: &[Step], real: Vec<String>, ours: Vec<String>) -> Vec<Compared> {
    let compared = steps.iter().zip(real).zip(ours);
    compared
        // A wait that ends on both sides says nothing; one that does not is a difference or a broken script.
        .filter(|((step, real), ours)| step.is_compared() || !(real.is_empty() && ours.is_empty()))
        .map(|((step, real), ours)| Compared {
            step: step.to_string(),
            line: step.line,
            real,
            ours,
        })
        .collect()
}

/// A line-by-line difference by the longest common subsequence, with the lines in common left out.
fn difference(left: &str, right: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let mut common = vec![vec![0usize; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i][j] = if left[i] == right[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", left[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", right[j]));
            j += 1;
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_neither_side_comes_to_is_not_the_same() {
        let compared = |answer: &str| Compared {
            step: "until false".to_owned(),
            line: 1,
            real: answer.to_owned(),
            ours: answer.to_owned(),
        };
        assert!(compared("exit 1\n").is_same());
        let never = compared("did not come within 1s: exit 1\n");
        assert!(!never.is_same());
        assert_eq!(never.difference(), "= did not come within 1s: exit 1");
    }

    #[test]
    fn a_difference_names_the_lines_of_either_side() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), "- b\n+ x");
        assert_eq!(difference("a\n", "a\n"), "");
        assert_eq!(difference("a\nb\n", "b\n"), "- a");
    }
}
