//! The tree of an expression, and what can be wrong with one. It knows nothing of words and signs.

/// How deep the tree may be: long chains nest as well.
const HEIGHT_MAX: usize = 150;
/// How deep the values that an expression makes may nest.
pub(super) const REACH_MAX: usize = 1000;
pub(super) const TOO_DEEP: &str = "expression recursion limit exceeded: 250";

/// What is wrong with an expression, and where, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn new(at: usize, text: impl Into<String>) -> Self {
        Self {
            at,
            text: text.into(),
        }
    }

    /// As Kubernetes prints it: where, what, the line, and a mark below.
    pub(super) fn shown(&self, source: &str) -> String {
        let mut start = 0;
        let mut line = 1;
        for (at, c) in source.chars().enumerate().take(self.at) {
            if c == '\n' {
                line += 1;
                start = at + 1;
            }
        }
        let snippet: String = source
            .chars()
            .skip(start)
            .take_while(|c| *c != '\n')
            .collect();
        let column = self.at - start;
        format!(
            "ERROR: <input>:{line}:{}: {}\n | {snippet}\n | {}^",
            column + 1,
            self.text,
            ".".repeat(column)
        )
    }
}

/// A node of the tree, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) expr: Expr,
    /// How deep the tree below is.
    height: usize,
    /// How many levels its value may have more than those that it is made of.
    reach: usize,
}

impl Node {
    pub(super) fn new(at: usize, expr: Expr) -> Self {
        let below = match &expr {
            Expr::Constant(_) | Expr::Name(_) => 0,
            Expr::Select(operand, ..) | Expr::Has(operand, _) => operand.height,
            Expr::Call(_, target, args) => {
                let target = target.as_ref().map_or(0, |target| target.height);
                args.iter().map(|arg| arg.height).fold(target, usize::max)
            }
            Expr::List(elements) => elements
                .iter()
                .map(|(one, _)| one.height)
                .max()
                .unwrap_or(0),
            Expr::Map(entries) => {
                let heights = entries
                    .iter()
                    .map(|(key, value, _)| key.height.max(value.height));
                heights.max().unwrap_or(0)
            }
            Expr::Message(message) => {
                let heights = message.fields.iter().map(|field| field.value.height);
                heights.max().unwrap_or(0)
            }
            Expr::Fold(fold) => {
                let filter = fold.filter.as_ref().map_or(0, |filter| filter.height);
                fold.range.height.max(fold.body.height).max(filter)
            }
            Expr::Bind(bind) => bind.value.height.max(bind.body.height),
        };
        let reach = reach(&expr) + 1;
        Self {
            at,
            expr,
            height: below + 1,
            reach,
        }
    }

    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    /// Visits every node of the tree.
    pub(super) fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        match &self.expr {
            Expr::Constant(_) | Expr::Name(_) => {}
            Expr::Select(of, ..) | Expr::Has(of, _) => of.visit(see),
            Expr::Call(_, target, args) => {
                target
                    .iter()
                    .map(|target| &**target)
                    .chain(args)
                    .for_each(|one| one.visit(see));
            }
            Expr::List(elements) => elements.iter().for_each(|(one, _)| one.visit(see)),
            Expr::Map(entries) => entries.iter().for_each(|(key, value, _)| {
                key.visit(see);
                value.visit(see);
            }),
            Expr::Message(message) => {
                message
                    .fields
                    .iter()
                    .for_each(|field| field.value.visit(see));
            }
            Expr::Fold(fold) => {
                fold.range.visit(see);
                fold.filter.iter().for_each(|one| one.visit(see));
                fold.body.visit(see);
            }
            Expr::Bind(bind) => {
                bind.value.visit(see);
                bind.body.visit(see);
            }
        }
    }
    /// Refuses a tree that is too deep to be walked.
    pub(super) fn bounded(self) -> Result<Self, Problem> {
        if self.height > HEIGHT_MAX || self.reach > REACH_MAX {
            return Err(Problem::new(0, TOO_DEEP));
        }
        Ok(self)
    }
}

/// What a value that is made of parts adds to at most: a name stands for a value that has levels of its own.
fn reach(expr: &Expr) -> usize {
    match expr {
        Expr::Constant(_) | Expr::Name(_) => 0,
        Expr::Select(operand, ..) | Expr::Has(operand, _) => operand.reach,
        Expr::Call(_, target, args) => {
            let target = target.as_ref().map_or(0, |target| target.reach);
            args.iter().map(|arg| arg.reach).fold(target, usize::max)
        }
        Expr::List(elements) => {
            let reaches = elements.iter().map(|(one, _)| one.reach);
            reaches.max().unwrap_or(0)
        }
        Expr::Map(entries) => {
            let reaches = entries.iter().map(|(_, value, _)| value.reach);
            reaches.max().unwrap_or(0)
        }
        Expr::Message(message) => {
            let reaches = message.fields.iter().map(|field| field.value.reach);
            reaches.max().unwrap_or(0)
        }
        Expr::Fold(fold) => fold.range.reach + fold.body.reach,
        Expr::Bind(bind) => bind.value.reach + bind.body.reach,
    }
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    Constant(Constant),
    Name(String),
    /// A field; optional with `.?`.
    Select(Box<Node>, String, Optional),
    /// Whether a field is there.
    Has(Box<Node>, String),
    /// An operator (`_+_`) or a function; with a target if it is a method.
    Call(String, Option<Box<Node>>, Vec<Node>),
    List(Vec<(Node, Optional)>),
    Map(Vec<(Node, Node, Optional)>),
    /// `Name{field: value}`.
    Message(Message),
    /// `all`, `exists` and so on.
    Fold(Box<Fold>),
    /// `cel.bind` and `optMap`, which name a value.
    Bind(Box<Bind>),
}

/// Whether an element or field may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Optional {
    No,
    Yes,
}

/// A value of a type that has a name.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

/// A field of a message, and where its colon is.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) value: Node,
    pub(super) optional: Optional,
}

/// A macro that goes through a list or map.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub(super) kind: FoldKind,
    pub(super) range: Node,
    pub(super) var: String,
    pub(super) second: Option<String>,
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

/// What a macro makes of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformMap,
}

/// A value with a name.
#[derive(Debug, Clone)]
pub(super) struct Bind {
    pub(super) kind: BindKind,
    pub(super) var: String,
    pub(super) value: Node,
    pub(super) body: Node,
}

/// How a value gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindKind {
    Plain,
    OptMap,
    OptFlatMap,
}

/// A call of an operator or function.
pub(super) fn call(at: usize, name: &str, args: Vec<Node>) -> Node {
    Node::new(at, Expr::Call(name.to_owned(), None, args))
}
