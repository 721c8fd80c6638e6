//! Regular expressions that users write, in bounded size.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

/// How large one expression may be; its program takes some 20 bytes for each.
const SIZE_MAX: u64 = 50_000;
/// How large the different expressions of a CustomResourceDefinition may be together.
pub(crate) const TOGETHER_MAX: u64 = 200_000;
/// How much memory a program may take, far more than one of that size does.
const MEMORY_MAX: usize = 8 << 20;
/// How much memory a search may keep.
const CACHE_MAX: usize = 256 << 10;
/// How deep expressions may be nested.
const NEST_MAX: u32 = 200;
/// The longest expression that is taken.
const TEXT_MAX: usize = 16 << 10;

/// How large an expression is, found without compiling it; the error is worded as Go's regexp package does.
pub(crate) fn size(pattern: &str) -> Result<u64, String> {
    if pattern.len() > TEXT_MAX {
        return Err("error parsing regexp: expression too large".to_owned());
    }
    let mut parser = regex_syntax::ParserBuilder::new()
        .nest_limit(NEST_MAX)
        .build();
    let parsed = parser.parse(&in_ascii(pattern));
    let parsed = parsed.map_err(|error| reason(pattern, &error.to_string()))?;
    let size = size_of(&parsed);
    if size > SIZE_MAX {
        return Err("error parsing regexp: expression too large".to_owned());
    }
    Ok(size)
}

/// About how many transitions its automaton has.
fn size_of(hir: &Hir) -> u64 {
    let size = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() as u64,
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges().iter();
            ranges
                .map(|range| if range.end().is_ascii() { 1 } else { 4 })
                .sum()
        }
        HirKind::Repetition(repeated) => {
            let least_and_one = repeated.min.saturating_add(1);
            let times = repeated.max.unwrap_or(least_and_one).max(1);
            size_of(&repeated.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(group) => size_of(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts
            .iter()
            .fold(0, |size, part| size_of(part).saturating_add(size)),
    };
    size.saturating_add(1)
}

/// In Go `\w`, `\d`, `\s` and `\b` know only ASCII.
fn in_ascii(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains('\\') {
        return pattern.into();
    }
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = chars.next();
        match escaped {
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('s') => out.push_str(r"[\t\n\f\r ]"),
            Some('S') => out.push_str(r"[^\t\n\f\r ]"),
            Some('b') => out.push_str(r"(?-u:\b)"),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out.into()
}

/// Compiles an expression.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    size(pattern)?;
    RegexBuilder::new(&in_ascii(pattern))
        .size_limit(MEMORY_MAX)
        .dfa_size_limit(CACHE_MAX)
        .nest_limit(NEST_MAX)
        .build()
        .map_err(|error| reason(pattern, &error.to_string()))
}

/// An expression, compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    compiled: OnceLock<Option<Regex>>,
}

/// The patterns that schemas hold, by their texts: each is there once.
static PATTERNS: LazyLock<Mutex<BTreeMap<String, Weak<Pattern>>>> = LazyLock::new(Mutex::default);

impl Pattern {
    /// The pattern with this text.
    pub(crate) fn of(text: &str) -> Arc<Self> {
        let mut patterns = PATTERNS.lock();
        if let Some(known) = patterns.get(text).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Self {
            text: text.to_owned(),
            compiled: OnceLock::new(),
        });
        patterns.insert(text.to_owned(), Arc::downgrade(&new));
        new
    }

    /// Whether a text matches; nothing matches what does not compile.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        let mut patterns = PATTERNS.lock();
        if patterns
            .get(&self.text)
            .is_some_and(|one| one.strong_count() == 0)
        {
            patterns.remove(&self.text);
        }
    }
}

/// The part of the text that one can name, in Go's words.
fn reason(pattern: &str, text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perl_classes_are_ascii_as_in_go() {
        for (pattern, text, wanted) in [
            (r"^\w+$", "ab_9", true),
            (r"^\w+$", "é", false),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^\d$", "٣", false),
            (r"^\D$", "٣", true),
            (r"^a\sb$", "a\u{a0}b", false),
            (r"^\\w$", r"\w", true),
            (r"\bé", "é", false),
            (r"\pL", "é", true),
        ] {
            assert_eq!(
                Pattern::of(pattern).matches(text),
                wanted,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn sizes_are_known_before_anything_is_compiled() {
        assert!(size("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$").unwrap() < 500);
        for large in [r"\pL{100}", r"((a{100}){100}){100}", r"(\w{1000}){1000}"] {
            assert!(size(large).is_err(), "{large}");
        }
    }

    #[test]
    fn equal_texts_are_compiled_once_and_forgotten_with_their_schemas() {
        let (one, two) = (Pattern::of("^once$"), Pattern::of("^once$"));
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        assert!(!PATTERNS.lock().contains_key("^once$"));
    }
}
