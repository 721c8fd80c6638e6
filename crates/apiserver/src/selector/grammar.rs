//! The text form of label selectors, read as Kubernetes reads it, with its words for what is wrong.
use std::collections::BTreeSet;

use super::labels::{LABEL_VALUE, QUALIFIED_NAME, Requirement, Test, is_dns_subdomain};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Identifier,
    Comma,
    Open,
    Close,
    Not,
    Operator(Operator),
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Equal,
    NotEqual,
    Above,
    Below,
}

/// Operators that are words are values where a value is expected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Value,
    Operator,
}

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// The requirements of a text; else why there are none.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser {
        items: scan(text),
        at: 0,
    };
    let mut requirements = Vec::new();
    loop {
        match parser.peek(Place::Value) {
            (Token::Identifier | Token::Not, _) => {
                let requirement = parser
                    .requirement()
                    .map_err(|why| format!("unable to parse requirement: {why}"))?;
                requirements.push(requirement);
                match parser.next(Place::Value) {
                    (Token::End, _) => return Ok(requirements),
                    (Token::Comma, _) => {
                        let (token, found) = parser.peek(Place::Value);
                        if !matches!(token, Token::Identifier | Token::Not) {
                            return Err(format!("found '{found}', expected: identifier after ','"));
                        }
                    }
                    (_, found) => {
                        return Err(format!("found '{found}', expected: ',' or 'end of string'"));
                    }
                }
            }
            (Token::End, _) => return Ok(requirements),
            (_, found) => {
                return Err(format!(
                    "found '{found}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// The words and signs of a text; the end is one of them.
fn scan(text: &str) -> Vec<(Token, String)> {
    let mut items = Vec::new();
    // A zero byte ends the text.
    let mut rest = text.split('\0').next().unwrap_or_default();
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next() else {
            items.push((Token::End, String::new()));
            return items;
        };
        let length = if is_special(first) {
            sign_length(rest)
        } else {
            rest.find(|c| is_special(c) || is_space(c))
                .unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(length);
        items.push((token(word), word.to_owned()));
        rest = after;
    }
}

fn sign_length(rest: &str) -> usize {
    if rest.starts_with("==") || rest.starts_with("!=") {
        2
    } else {
        1
    }
}

fn token(word: &str) -> Token {
    match word {
        "," => Token::Comma,
        "(" => Token::Open,
        ")" => Token::Close,
        "!" => Token::Not,
        "=" | "==" => Token::Operator(Operator::Equal),
        "!=" => Token::Operator(Operator::NotEqual),
        ">" => Token::Operator(Operator::Above),
        "<" => Token::Operator(Operator::Below),
        "in" => Token::Operator(Operator::In),
        "notin" => Token::Operator(Operator::NotIn),
        word if word.starts_with(is_special) => Token::Unknown,
        _ => Token::Identifier,
    }
}

struct Parser {
    items: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    fn peek(&self, place: Place) -> (Token, String) {
        let (token, word) = self
            .items
            .get(self.at)
            .cloned()
            .unwrap_or((Token::End, String::new()));
        let is_word = matches!(token, Token::Operator(Operator::In | Operator::NotIn));
        if place == Place::Value && is_word {
            return (Token::Identifier, word);
        }
        (token, word)
    }

    fn next(&mut self, place: Place) -> (Token, String) {
        let next = self.peek(place);
        self.at += 1;
        next
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next(Place::Value);
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next(Place::Value);
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        check_key(&key)?;
        if negated {
            let test = Test::Missing;
            return Ok(Requirement { key, test });
        }
        if matches!(self.peek(Place::Value).0, Token::End | Token::Comma) {
            let test = Test::Exists;
            return Ok(Requirement { key, test });
        }
        let operator = match self.next(Place::Operator) {
            (Token::Operator(operator), _) => operator,
            (_, found) => return Err(format!("found '{found}', expected: {OPERATORS}")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.value()?]),
        };
        let values: Vec<String> = values.into_iter().collect();
        let test = test(operator, &key, values)?;
        Ok(Requirement { key, test })
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(Place::Value).0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next(Place::Value) {
            (Token::Identifier, value) => Ok(value),
            (_, found) => Err(format!("found '{found}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let (token, found) = self.next(Place::Value);
        if token != Token::Open {
            return Err(format!("found '{found}' expected: '('"));
        }
        let (token, first) = self.peek(Place::Value);
        match token {
            Token::Identifier | Token::Comma => {
                let values = self.listed()?;
                if self.next(Place::Value).0 != Token::Close {
                    return Err(format!("found '{first}', expected: ')'"));
                }
                Ok(values)
            }
            Token::Close => {
                self.at += 1;
                Ok(BTreeSet::from([String::new()]))
            }
            _ => Err(format!("found '{first}', expected: ',', ')' or identifier")),
        }
    }

    /// Values up to the closing parenthesis; nothing between commas is the empty value.
    fn listed(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.next(Place::Value) {
                (Token::Identifier, value) => {
                    values.insert(value);
                    match self.peek(Place::Value) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, found) => {
                            return Err(format!("found '{found}', expected: ',' or ')'"));
                        }
                    }
                }
                (Token::Comma, _) => {
                    let next = self.peek(Place::Value).0;
                    if values.is_empty() || matches!(next, Token::Close | Token::Comma) {
                        values.insert(String::new());
                    }
                    if next == Token::Close {
                        return Ok(values);
                    }
                }
                (_, found) => {
                    return Err(format!("found '{found}', expected: ',', or identifier"));
                }
            }
        }
    }
}

fn test(operator: Operator, key: &str, values: Vec<String>) -> Result<Test, String> {
    let mut problems = Vec::new();
    let number = values.first().map(|text| text.parse::<i64>());
    if matches!(operator, Operator::Above | Operator::Below) && !matches!(number, Some(Ok(_))) {
        problems.push(format!(
            "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
            values.first().map_or("", String::as_str)
        ));
    }
    for (at, value) in values.iter().enumerate() {
        let wrong = value_problems(value);
        if !wrong.is_empty() {
            let wrong = wrong.join("; ");
            problems.push(format!(
                "values[{at}][{key}]: Invalid value: {value:?}: {wrong}"
            ));
        }
    }
    match problems.as_slice() {
        [] => {}
        [one] => return Err(one.clone()),
        many => return Err(format!("[{}]", many.join(", "))),
    }
    let bound = number.and_then(Result::ok).unwrap_or_default();
    Ok(match operator {
        Operator::In | Operator::Equal => Test::In(values),
        Operator::NotIn | Operator::NotEqual => Test::NotIn(values),
        Operator::Above => Test::Above(bound),
        Operator::Below => Test::Below(bound),
    })
}

fn value_problems(value: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if value.len() > 63 {
        problems.push("must be no more than 63 bytes");
    }
    if !is_shaped(value) {
        problems.push(LABEL_VALUE);
    }
    problems
}

/// Whether a value would be one if it were short enough.
fn is_shaped(value: &str) -> bool {
    let bytes = value.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outer = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.iter().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

fn check_key(key: &str) -> Result<(), String> {
    let problems = key_problems(key);
    if problems.is_empty() {
        return Ok(());
    }
    let problems = problems.join("; ");
    Err(format!("<nil>: Invalid value: {key:?}: {problems}"))
}

fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    problems.push("prefix part must be no more than 253 bytes".to_owned());
                }
                if !is_dns_subdomain(prefix) && prefix.len() <= 253 {
                    problems.push(format!("prefix part {SUBDOMAIN}"));
                }
            }
            name
        }
        _ => {
            let sentence = QUALIFIED_NAME.replacen("name part", "a valid label key", 1);
            return vec![format!(
                "{sentence} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if name.is_empty() || !is_shaped(name) {
        problems.push(QUALIFIED_NAME.to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_kubernetes_words() {
        for (text, wanted) in [
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "=x",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a in (x",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, \
                 the value must be an integer",
            ),
            ("a,", "found '', expected: identifier after ','"),
            (
                "a in",
                "unable to parse requirement: found '' expected: '('",
            ),
            (
                "a===b",
                "unable to parse requirement: found '=', expected: identifier",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), wanted, "{text}");
        }
        let error = parse("a=-b").unwrap_err();
        assert!(
            error.contains("values[0][a]: Invalid value: \"-b\": a valid label"),
            "{error}"
        );
        let error = parse("x/y/z").unwrap_err();
        assert!(error.ends_with(
            "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
    }

    #[test]
    fn nothing_between_commas_is_the_empty_value() {
        for (text, wanted) in [
            ("a in ()", vec![""]),
            ("a in (b,,c)", vec!["", "b", "c"]),
            ("a in (,b)", vec!["", "b"]),
        ] {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            assert_eq!(parse(text).unwrap()[0].test, Test::In(wanted), "{text}");
        }
        assert_eq!(parse("in in (in)").unwrap()[0].key, "in");
    }
}
