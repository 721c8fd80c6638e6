//! Regular expressions that users write, in bounded size.
use regex::{Regex, RegexBuilder};

/// How much memory one compiled expression may take.
const SIZE_MAX: usize = 1 << 20;
/// The longest expression that is taken.
const TEXT_MAX: usize = 16 << 10;

/// Compiles an expression; the error is worded as Go's regexp package does.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > TEXT_MAX {
        return Err("error parsing regexp: expression too large".to_owned());
    }
    RegexBuilder::new(pattern)
        .size_limit(SIZE_MAX)
        .dfa_size_limit(SIZE_MAX)
        .nest_limit(200)
        .build()
        .map_err(|error| reason(pattern, &error))
}

/// The part of the text that one can name, in Go's words.
fn reason(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let said = |why: &str, what: &str| format!("error parsing regexp: {why}: `{what}`");
    let table = [
        ("unclosed group", "missing closing )", pattern),
        ("unopened group", "unexpected )", pattern),
        (
            "unclosed character class",
            "missing closing ]",
            after_bracket(pattern),
        ),
        (
            "repetition operator missing expression",
            "missing argument to repetition operator",
            operator(pattern),
        ),
        (
            "incomplete escape sequence",
            "trailing backslash at end of expression",
            "",
        ),
        (
            "look-around",
            "invalid or unsupported Perl syntax",
            look_around(pattern),
        ),
    ];
    table
        .iter()
        .find(|(rust, _, _)| text.contains(rust))
        .map_or_else(
            || said("invalid expression", pattern),
            |(_, go, what)| said(go, what),
        )
}

fn after_bracket(pattern: &str) -> &str {
    pattern.find('[').map_or(pattern, |at| &pattern[at..])
}

fn operator(pattern: &str) -> &str {
    let at = pattern.find(['*', '+', '?']).unwrap_or(0);
    pattern.get(at..=at).unwrap_or(pattern)
}

fn look_around(pattern: &str) -> &str {
    let at = pattern.find("(?").unwrap_or(0);
    let rest = &pattern[at..];
    let end = rest
        .char_indices()
        .nth(if rest.starts_with("(?<") { 4 } else { 3 })
        .map_or(rest.len(), |(end, _)| end);
    &rest[..end]
}
