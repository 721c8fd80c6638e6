//! Scripts: what is asked of a cluster, as text.
//!
//! ```text
//! # a comment
//! $ kubectl get pods -o name          a shell command whose exit code, output and errors are compared
//! | one line of its standard input
//! until kubectl get sa default        repeated until it succeeds, on each side; not compared
//! > GET /api/v1/namespaces/x          a raw request of the administrator, status, type and body compared
//! : Accept: application/yaml          one of its headers
//! | one line of its body
//! ```
use std::fmt;

use anyhow::{Result, bail};

/// What one step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A shell command.
    Shell(String),
    /// A shell command that is repeated until it succeeds.
    Until(String),
    /// A raw request: method, path, headers.
    Request {
        /// GET, PUT and so on.
        method: String,
        /// Path and query.
        path: String,
        /// Names and values.
        headers: Vec<(String, String)>,
    },
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What it does.
    pub action: Action,
    /// Standard input, or the request's body.
    pub input: String,
}

impl Step {
    /// Whether what it says is compared.
    pub fn is_compared(&self) -> bool {
        !matches!(self.action, Action::Until(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Shell(line) => write!(f, "$ {line}"),
            Action::Until(line) => write!(f, "until {line}"),
            Action::Request { method, path, .. } => write!(f, "> {method} {path}"),
        }
    }
}

/// Reads a script.
///
/// # Errors
/// When a line begins with none of the known marks.
pub fn parse(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let number = n + 1;
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "#" if line.trim().is_empty() || mark == "#" => {}
            "$" => steps.push(step(number, Action::Shell(rest.to_owned()))),
            "until" => steps.push(step(number, Action::Until(rest.to_owned()))),
            ">" => {
                let (method, path) = rest.split_once(' ').unwrap_or((rest, "/"));
                let action = Action::Request {
                    method: method.to_owned(),
                    path: path.to_owned(),
                    headers: Vec::new(),
                };
                steps.push(step(number, action));
            }
            ":" => {
                let (
                    Some(Step {
                        action: Action::Request { headers, .. },
                        ..
                    }),
                    Some((name, value)),
                ) = (steps.last_mut(), rest.split_once(": "))
                else {
                    bail!("line {number}: a header belongs to a request, as `: Name: value`");
                };
                headers.push((name.to_owned(), value.to_owned()));
            }
            "|" => {
                let Some(last) = steps.last_mut() else {
                    bail!("line {number}: input belongs to a step");
                };
                last.input.push_str(rest);
                last.input.push('\n');
            }
            other => bail!("line {number}: {other:?} is none of $ until > : | #"),
        }
    }
    Ok(steps)
}

fn step(line: usize, action: Action) -> Step {
    Step {
        line,
        action,
        input: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_step_by_step() {
        let text = "# first\n$ kubectl apply -f -\n| a: 1\n|\n| b: 2\n\nuntil true\n> PUT /x?y=z\n: Accept: a/b\n| {}\n";
        let steps = parse(text).unwrap();
        let shown: Vec<String> = steps.iter().map(Step::to_string).collect();
        assert_eq!(
            shown,
            ["$ kubectl apply -f -", "until true", "> PUT /x?y=z"]
        );
        assert_eq!(steps[0].input, "a: 1\n\nb: 2\n");
        assert_eq!(steps[2].input, "{}\n");
        assert_eq!(steps[2].line, 8);
        assert!(!steps[1].is_compared());
    }

    #[test]
    fn what_is_no_step_is_refused_by_line() {
        for (text, why) in [
            ("$ a\nkubectl get", "line 2"),
            (": A: b", "line 1"),
            ("| x", "line 1"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
