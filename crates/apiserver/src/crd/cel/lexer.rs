//! The words of an expression.
use super::tree::Problem;

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    /// A number that is one only with a minus before it.
    IntMin,
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// An operator, bracket or other sign.
    Sign(&'static str),
    End,
}

impl Token {
    /// How an error text names it.
    pub(super) fn shown(&self, source: &str) -> String {
        match self {
            Self::End => "<EOF>".to_owned(),
            _ => source.to_owned(),
        }
    }
}

/// A word and where it is, in characters.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) at: usize,
    pub(super) source: String,
}

/// Problems beyond these are not told.
const PROBLEMS_MAX: usize = 30;

const SIGNS: [&str; 29] = [
    "&&", "||", "==", "!=", "<=", ">=", "[?", "{?", ".?", "<", ">", "(", ")", "[", "]", "{", "}",
    ".", ",", "-", "!", "?", ":", "+", "*", "/", "%", "=", "&",
];

/// Splits an expression into words; the last is always the end.
/// What is no word is left out, and told.
pub(super) fn words(source: &str) -> (Vec<Word>, Vec<Problem>) {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { chars, at: 0 };
    let mut words = Vec::new();
    let mut problems = Vec::new();
    loop {
        lexer.skip_space();
        let at = lexer.at;
        let token = match lexer.token() {
            Ok(token) => token,
            Err(problem) => {
                if problems.len() < PROBLEMS_MAX {
                    problems.push(problem);
                }
                lexer.at = lexer.at.max(at + 1);
                continue;
            }
        };
        let source: String = lexer
            .chars
            .get(at..lexer.at)
            .unwrap_or_default()
            .iter()
            .collect();
        let is_end = token == Token::End;
        words.push(Word { token, at, source });
        if is_end {
            return (words, problems);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip_space(&mut self) {
        while let Some(c) = self.peek(0) {
            if c.is_whitespace() {
                self.at += 1;
            } else if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, Problem> {
        let Some(c) = self.peek(0) else {
            return Ok(Token::End);
        };
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if let Some(prefix) = self.text_prefix() {
            return self.quoted(prefix);
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let start = self.at;
            while self
                .peek(0)
                .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                self.at += 1;
            }
            return Ok(Token::Name(self.chars[start..self.at].iter().collect()));
        }
        if c == '`' {
            let start = self.at + 1;
            self.at = start;
            while self.peek(0).is_some_and(|c| c != '`') {
                self.at += 1;
            }
            let name = self.chars[start..self.at].iter().collect();
            self.at += 1;
            return Ok(Token::Name(name));
        }
        let sign = SIGNS.iter().find(|sign| {
            sign.chars()
                .enumerate()
                .all(|(ahead, c)| self.peek(ahead) == Some(c))
        });
        match sign {
            Some(sign) if !matches!(*sign, "&" | "=") => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            _ => {
                // A sign that only begins one takes what follows it along.
                let at = self.at;
                let half = matches!(c, '=' | '&' | '|');
                self.at += if half { 2 } else { 1 };
                let end = self.at.min(self.chars.len());
                let text: String = self.chars[at..end].iter().collect();
                Err(Problem::new(
                    at,
                    format!("Syntax error: token recognition error at: '{text}'"),
                ))
            }
        }
    }

    fn number(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        let text =
            |from: usize, to: usize, chars: &[char]| -> String { chars[from..to].iter().collect() };
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.at += 2;
            let from = self.at;
            while self.peek(0).is_some_and(|c| c.is_ascii_hexdigit()) {
                self.at += 1;
            }
            let digits = text(from, self.at, &self.chars);
            if self.peek(0).is_some_and(|c| matches!(c, 'u' | 'U')) {
                self.at += 1;
                let number = u64::from_str_radix(&digits, 16);
                return number
                    .map(Token::Uint)
                    .map_err(|_no| Problem::new(start, "invalid uint literal"));
            }
            let number = i64::from_str_radix(&digits, 16);
            return number
                .map(Token::Int)
                .map_err(|_no| Problem::new(start, "invalid int literal"));
        }
        let mut float = false;
        while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            float = true;
            self.at += 1;
            while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
                self.at += 1;
            }
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + signed).is_some_and(|c| c.is_ascii_digit()) {
                float = true;
                self.at += 1 + signed;
                while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
                    self.at += 1;
                }
            }
        }
        let digits = text(start, self.at, &self.chars);
        if float {
            let number = digits.parse();
            return number
                .map(Token::Double)
                .map_err(|_no| Problem::new(start, "invalid double literal"));
        }
        if self.peek(0).is_some_and(|c| matches!(c, 'u' | 'U')) {
            self.at += 1;
            let number = digits.parse();
            return number
                .map(Token::Uint)
                .map_err(|_no| Problem::new(start, "invalid uint literal"));
        }
        match digits.parse() {
            Ok(number) => Ok(Token::Int(number)),
            Err(_large) if digits == "9223372036854775808" => Ok(Token::IntMin),
            Err(_large) => Err(Problem::new(start, "invalid int literal")),
        }
    }

    /// Whether a text begins here: how many letters come before the quote.
    fn text_prefix(&self) -> Option<usize> {
        (0..3).find_map(|ahead| match self.peek(ahead) {
            Some('"' | '\'') => Some(Some(ahead)),
            Some('r' | 'R' | 'b' | 'B') => None,
            _ => Some(None),
        })?
    }

    fn quoted(&mut self, prefix: usize) -> Result<Token, Problem> {
        let start = self.at;
        let letters: String = self.chars[start..start + prefix]
            .iter()
            .collect::<String>()
            .to_lowercase();
        let (raw, bytes) = (letters.contains('r'), letters.contains('b'));
        self.at += prefix;
        let quote = self.peek(0).unwrap_or('"');
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let width = if triple { 3 } else { 1 };
        self.at += width;
        let mut out: Vec<u8> = Vec::new();
        loop {
            let Some(c) = self.peek(0) else {
                let text: String = self.chars[start..].iter().collect();
                return Err(Problem::new(
                    start,
                    format!("Syntax error: token recognition error at: '{text}'"),
                ));
            };
            if (0..width).all(|ahead| self.peek(ahead) == Some(quote)) {
                self.at += width;
                break;
            }
            if c == '\n' && !triple {
                return Err(Problem::new(
                    start,
                    "Syntax error: token recognition error at: '\\n'",
                ));
            }
            self.at += 1;
            if c == '\\' && !raw {
                self.escape(&mut out, bytes)?;
            } else {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        if bytes {
            return Ok(Token::Bytes(out));
        }
        let text = String::from_utf8(out);
        text.map(Token::Text)
            .map_err(|_no| Problem::new(start, "invalid unicode in string literal"))
    }

    fn escape(&mut self, out: &mut Vec<u8>, bytes: bool) -> Result<(), Problem> {
        let at = self.at;
        let c = self.peek(0).unwrap_or(' ');
        self.at += 1;
        let simple = match c {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' | '\'' | '"' | '`' | '?' => Some(c),
            _ => None,
        };
        if let Some(c) = simple {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            return Ok(());
        }
        let (digits, radix, skip) = match c {
            'x' | 'X' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            '0'..='3' => (3, 8, 1),
            _ => {
                return Err(Problem::new(
                    at - 1,
                    format!("Syntax error: token recognition error at: '\\{c}'"),
                ));
            }
        };
        self.at -= skip;
        let text: String = self.chars.iter().skip(self.at).take(digits).collect();
        self.at += digits;
        let number = u32::from_str_radix(&text, radix).ok();
        let narrow = matches!(c, 'x' | 'X' | '0'..='3');
        match number {
            Some(number) if bytes && narrow => out.push(u8::try_from(number).unwrap_or_default()),
            Some(number) => {
                let c = char::from_u32(number)
                    .ok_or_else(|| Problem::new(at, "invalid unicode code point"))?;
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
            None => return Err(Problem::new(at, "invalid escape in string literal")),
        }
        Ok(())
    }
}
