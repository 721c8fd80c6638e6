//! From text to a tree. Macros become nodes of their own; nothing nests deeper than [`DEPTH_MAX`].
use super::lexer::{Token, Word, words};
use super::tree::{Constant, Expr, Field, Message, Node, Optional, Problem, call};

/// How deep expressions may nest.
const DEPTH_MAX: usize = 60;
/// How long an expression may be, in characters.
const LENGTH_MAX: usize = 100_000;

/// Words that are no names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads an expression.
pub(super) fn parse(source: &str) -> Result<Node, Vec<Problem>> {
    if source.chars().count() > LENGTH_MAX {
        return Err(vec![Problem::new(
            0,
            "expression code point size exceeds limit: size: , limit 100000",
        )]);
    }
    let (words, mut problems) = words(source);
    let mut parser = Parser {
        words,
        next: 0,
        depth: 0,
    };
    match parser.whole() {
        Ok(node) if problems.is_empty() => Ok(node),
        Ok(_) => Err(problems),
        Err(problem) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

struct Parser {
    words: Vec<Word>,
    next: usize,
    depth: usize,
}

type Parsed = Result<Node, Problem>;

impl Parser {
    fn whole(&mut self) -> Parsed {
        let node = self.expr()?;
        match self.peek() {
            Token::End => Ok(node),
            _ => Err(self.unexpected("<EOF>")),
        }
    }

    fn word(&self) -> &Word {
        let last = self.words.len() - 1;
        &self.words[self.next.min(last)]
    }

    fn peek(&self) -> &Token {
        &self.word().token
    }

    fn at(&self) -> usize {
        self.word().at
    }

    fn step(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn eat(&mut self, sign: &str) -> Option<usize> {
        let at = self.at();
        (*self.peek() == Token::Sign(sign_of(sign)?)).then(|| {
            self.next += 1;
            at
        })
    }

    fn expect(&mut self, sign: &str) -> Result<usize, Problem> {
        self.eat(sign)
            .ok_or_else(|| self.unexpected(&format!("'{sign}'")))
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let word = self.word();
        let shown = word.token.shown(&word.source);
        let how = match wanted {
            "<EOF>" => "extraneous input",
            "')'" | "']'" | "'}'" | "':'" if word.token != Token::End => "missing",
            _ => "mismatched input",
        };
        let text = match how {
            "missing" => format!("Syntax error: missing {wanted} at '{shown}'"),
            how => format!("Syntax error: {how} '{shown}' expecting {wanted}"),
        };
        Problem::new(word.at, text)
    }

    fn deeper(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Problem::new(
                self.at(),
                "expression recursion limit exceeded: 250",
            ));
        }
        Ok(())
    }

    fn expr(&mut self) -> Parsed {
        self.deeper()?;
        let condition = self.or()?;
        let node = match self.eat("?") {
            None => condition,
            Some(at) => {
                let yes = self.or()?;
                self.expect(":")?;
                let no = self.expr()?;
                call(at, "_?_:_", vec![condition, yes, no])
            }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn or(&mut self) -> Parsed {
        self.chain(&[("||", "_||_")], Self::and)
    }

    fn and(&mut self) -> Parsed {
        self.chain(&[("&&", "_&&_")], Self::relation)
    }

    fn relation(&mut self) -> Parsed {
        let signs = [
            ("<=", "_<=_"),
            (">=", "_>=_"),
            ("<", "_<_"),
            (">", "_>_"),
            ("==", "_==_"),
            ("!=", "_!=_"),
        ];
        let mut left = self.sum()?;
        loop {
            let is_in = *self.peek() == Token::Name("in".to_owned());
            if is_in {
                let at = self.at();
                self.next += 1;
                let right = self.sum()?;
                left = call(at, "@in", vec![left, right]).bounded()?;
                continue;
            }
            let found = signs
                .iter()
                .find_map(|(sign, name)| Some((self.eat(sign)?, *name)));
            let Some((at, name)) = found else {
                return Ok(left);
            };
            let right = self.sum()?;
            left = call(at, name, vec![left, right]).bounded()?;
        }
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[("+", "_+_"), ("-", "_-_")], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&[("*", "_*_"), ("/", "_/_"), ("%", "_%_")], Self::unary)
    }

    fn chain(&mut self, signs: &[(&str, &'static str)], below: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = below(self)?;
        loop {
            let found = signs
                .iter()
                .find_map(|(sign, name)| Some((self.eat(sign)?, *name)));
            let Some((at, name)) = found else {
                return Ok(left);
            };
            let right = below(self)?;
            left = call(at, name, vec![left, right]).bounded()?;
        }
    }

    fn unary(&mut self) -> Parsed {
        for (sign, name) in [("!", "!_"), ("-", "-_")] {
            let Some(at) = self.eat(sign) else { continue };
            if sign == "-" {
                let negative = match self.peek() {
                    Token::Int(number) => Some(Constant::Int(-number)),
                    Token::IntMin => Some(Constant::Int(i64::MIN)),
                    Token::Double(number) => Some(Constant::Double(-number)),
                    _ => None,
                };
                if let Some(constant) = negative {
                    self.next += 1;
                    return self.members(Node::new(at, Expr::Constant(constant)));
                }
            }
            self.deeper()?;
            let operand = self.unary()?;
            self.depth -= 1;
            return Ok(call(at, name, vec![operand]));
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut node: Node) -> Parsed {
        loop {
            node = node.bounded()?;
            if let Some(at) = self.eat(".?") {
                let field = self.name()?;
                node = Node::new(at, Expr::Select(Box::new(node), field, Optional::Yes));
            } else if let Some(at) = self.eat(".") {
                let field = self.name()?;
                node = match self.eat("(") {
                    None => Node::new(at, Expr::Select(Box::new(node), field, Optional::No)),
                    Some(open) => {
                        let args = self.list_until(")")?;
                        super::macros::method(open, node, field, args)?
                    }
                };
            } else if let Some(at) = self.eat("[?") {
                let index = self.expr()?;
                self.expect("]")?;
                node = call(at, "_[?_]", vec![node, index]);
            } else if let Some(at) = self.eat("[") {
                let index = self.expr()?;
                self.expect("]")?;
                node = call(at, "_[_]", vec![node, index]);
            } else {
                return Ok(node);
            }
        }
    }

    fn name(&mut self) -> Result<String, Problem> {
        match self.peek().clone() {
            Token::Name(name) => {
                self.next += 1;
                Ok(name)
            }
            Token::End => Err(self.unexpected("IDENTIFIER")),
            _ => {
                let word = self.word();
                let text = format!(
                    "Syntax error: no viable alternative at input '.{}'",
                    word.source
                );
                Err(Problem::new(word.at, text))
            }
        }
    }

    fn list_until(&mut self, close: &str) -> Result<Vec<Node>, Problem> {
        let mut nodes = Vec::new();
        if self.eat(close).is_some() {
            return Ok(nodes);
        }
        loop {
            nodes.push(self.expr()?);
            if self.eat(",").is_none() {
                self.expect(close)?;
                return Ok(nodes);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        let constant = |constant| Ok(Node::new(at, Expr::Constant(constant)));
        if self.eat("(").is_some() {
            let node = self.expr()?;
            self.expect(")")?;
            return Ok(node);
        }
        if self.eat("[").is_some() {
            return self.list(at, Optional::No);
        }
        if self.eat("[?").is_some() {
            return self.list(at, Optional::Yes);
        }
        if let Some(first) = self.braces() {
            return self.map(at, first);
        }
        // A leading dot names the root, which is where everything is.
        let dotted = self.eat(".").is_some();
        if !matches!(
            self.peek(),
            Token::Name(_)
                | Token::Int(_)
                | Token::Uint(_)
                | Token::Double(_)
                | Token::Text(_)
                | Token::Bytes(_)
        ) || (dotted && !matches!(self.peek(), Token::Name(_)))
        {
            return Err(self.unexpected(if dotted { "IDENTIFIER" } else { START }));
        }
        match self.step() {
            Token::Int(number) => constant(Constant::Int(number)),
            Token::Uint(number) => constant(Constant::Uint(number)),
            Token::Double(number) => constant(Constant::Double(number)),
            Token::Text(text) => constant(Constant::Text(text)),
            Token::Bytes(bytes) => constant(Constant::Bytes(bytes)),
            Token::Name(name) => self.named(at, name),
            Token::IntMin | Token::Sign(_) | Token::End => {
                Err(Problem::new(at, "invalid int literal"))
            }
        }
    }

    fn named(&mut self, at: usize, name: String) -> Parsed {
        let constant = match name.as_str() {
            "true" => Some(Constant::Bool(true)),
            "false" => Some(Constant::Bool(false)),
            "null" => Some(Constant::Null),
            _ => None,
        };
        if let Some(constant) = constant {
            return Ok(Node::new(at, Expr::Constant(constant)));
        }
        if name == "in" {
            self.next -= 1;
            return Err(self.unexpected(START));
        }
        if let Some(parts) = self.message_name() {
            return self.message(name, parts);
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(Problem::new(at, format!("reserved identifier: {name}")));
        }
        match self.eat("(") {
            None => Ok(Node::new(at, Expr::Name(name))),
            Some(open) => {
                let args = self.list_until(")")?;
                super::macros::function(open, name, args)
            }
        }
    }

    fn list(&mut self, at: usize, first: Optional) -> Parsed {
        let mut elements = Vec::new();
        let mut first = Some(first);
        while first == Some(Optional::Yes) || self.eat("]").is_none() {
            let optional = self.optional(&mut first);
            elements.push((self.expr()?, optional));
            if self.eat(",").is_none() {
                self.expect("]")?;
                break;
            }
        }
        Ok(Node::new(at, Expr::List(elements)))
    }

    /// Opens braces; whether what is first in them may be absent.
    fn braces(&mut self) -> Option<Optional> {
        if self.eat("{").is_some() {
            return Some(Optional::No);
        }
        self.eat("{?").map(|_| Optional::Yes)
    }

    fn map(&mut self, at: usize, first: Optional) -> Parsed {
        let mut entries = Vec::new();
        let mut first = Some(first);
        while first == Some(Optional::Yes) || self.eat("}").is_none() {
            let optional = self.optional(&mut first);
            let key = self.expr()?;
            self.expect(":")?;
            entries.push((key, self.expr()?, optional));
            if self.eat(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        Ok(Node::new(at, Expr::Map(entries)))
    }

    /// Whether the entry that comes is marked as one that may be absent; the first may be so by how its braces open.
    fn optional(&mut self, first: &mut Option<Optional>) -> Optional {
        if first.take() == Some(Optional::Yes) || self.eat("?").is_some() {
            Optional::Yes
        } else {
            Optional::No
        }
    }

    /// How many more words the name of a message has, if a name that has just been read begins one.
    fn message_name(&self) -> Option<usize> {
        let token = |at: usize| self.words.get(at).map(|word| &word.token);
        let mut at = self.next;
        while token(at) == Some(&Token::Sign(".")) && matches!(token(at + 1), Some(Token::Name(_)))
        {
            at += 2;
        }
        matches!(token(at), Some(Token::Sign("{" | "{?"))).then_some(at - self.next)
    }

    fn message(&mut self, mut name: String, more: usize) -> Parsed {
        for word in self.words.iter().skip(self.next).take(more) {
            name.push_str(match &word.token {
                Token::Name(part) => part,
                _ => ".",
            });
        }
        self.next += more;
        let at = self.at();
        let mut first = self.braces();
        let mut fields = Vec::new();
        while first == Some(Optional::Yes) || self.eat("}").is_none() {
            let optional = self.optional(&mut first);
            let Token::Name(name) = self.peek().clone() else {
                return Err(self.unexpected(FIELD));
            };
            self.next += 1;
            let at = self.expect(":")?;
            let value = self.expr()?;
            fields.push(Field {
                at,
                name,
                value,
                optional,
            });
            if self.eat(",").is_some() {
                continue;
            }
            if self.eat("}").is_some() {
                break;
            }
            return Err(self.unexpected("{'}', ','}"));
        }
        Ok(Node::new(at, Expr::Message(Message { name, fields })))
    }
}

/// What an expression may begin with, as the generated parser says it.
const START: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// What may come within the braces of a message.
const FIELD: &str = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}";

fn sign_of(text: &str) -> Option<&'static str> {
    [
        "&&", "||", "==", "!=", "<=", ">=", "[?", "{?", ".?", "<", ">", "(", ")", "[", "]", "{",
        "}", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%",
    ]
    .into_iter()
    .find(|sign| *sign == text)
}
