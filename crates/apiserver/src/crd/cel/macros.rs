//! Macros: calls that are no functions, because they name a variable or look at a field's presence.
use super::tree::{Bind, BindKind, Expr, Fold, FoldKind, Node, Optional, Problem};

/// A function call, or a macro.
pub(super) fn function(at: usize, name: String, mut args: Vec<Node>) -> Result<Node, Problem> {
    if name == "has" && args.len() == 1 {
        let arg = args.remove(0);
        return match arg.expr {
            Expr::Select(operand, field, Optional::No) => {
                Ok(Node::new(at, Expr::Has(operand, field)))
            }
            _ => Err(Problem::new(arg.at, "invalid argument to has() macro")),
        };
    }
    Ok(Node::new(at, Expr::Call(name, None, args)))
}

/// A method call, or a macro.
pub(super) fn method(
    at: usize,
    target: Node,
    name: String,
    args: Vec<Node>,
) -> Result<Node, Problem> {
    let kind = match (name.as_str(), args.len()) {
        ("all", 2 | 3) => Some(FoldKind::All),
        ("exists", 2 | 3) => Some(FoldKind::Exists),
        ("exists_one", 2) | ("existsOne", 2 | 3) => Some(FoldKind::ExistsOne),
        ("map", 2 | 3) | ("transformList", 3 | 4) => Some(FoldKind::Map),
        ("filter", 2) => Some(FoldKind::Filter),
        ("transformMap", 3 | 4) => Some(FoldKind::TransformMap),
        _ => None,
    };
    if let Some(kind) = kind {
        return fold(at, (kind, &name), target, args);
    }
    let is_cel = matches!(&target.expr, Expr::Name(name) if name == "cel");
    if is_cel && name == "bind" && args.len() == 3 {
        let [var, value, body] = three(args)?;
        return bind(at, BindKind::Plain, var, (value, body));
    }
    if matches!(name.as_str(), "optMap" | "optFlatMap") && args.len() == 2 {
        let kind = if name == "optMap" {
            BindKind::OptMap
        } else {
            BindKind::OptFlatMap
        };
        let mut args = args.into_iter();
        if let (Some(var), Some(body)) = (args.next(), args.next()) {
            return bind(at, kind, var, (target, body));
        }
        return Err(Problem::new(
            at,
            "optMap() takes a variable and an expression",
        ));
    }
    Ok(Node::new(
        at,
        Expr::Call(name, Some(Box::new(target)), args),
    ))
}

fn three(args: Vec<Node>) -> Result<[Node; 3], Problem> {
    args.try_into().map_err(|args: Vec<Node>| {
        Problem::new(
            args.first().map_or(0, |arg| arg.at),
            "three arguments are expected",
        )
    })
}

fn bind(
    at: usize,
    kind: BindKind,
    var: Node,
    (value, body): (Node, Node),
) -> Result<Node, Problem> {
    let Expr::Name(name) = var.expr else {
        return Err(Problem::new(
            var.at,
            "variable name must be a simple identifier",
        ));
    };
    let bind = Bind {
        kind,
        var: name,
        value,
        body,
    };
    Ok(Node::new(at, Expr::Bind(Box::new(bind))))
}

fn fold(
    at: usize,
    (kind, name): (FoldKind, &str),
    range: Node,
    mut args: Vec<Node>,
) -> Result<Node, Problem> {
    let var = variable(args.remove(0))?;
    let two = name.starts_with("transform") || (args.len() == 2 && kind != FoldKind::Map);
    let second = if two {
        Some(variable(args.remove(0))?)
    } else {
        None
    };
    let body = args
        .pop()
        .ok_or_else(|| Problem::new(at, "an expression is expected"))?;
    let fold = Fold {
        kind,
        range,
        var,
        second,
        filter: args.pop(),
        body,
    };
    Ok(Node::new(at, Expr::Fold(Box::new(fold))))
}

fn variable(node: Node) -> Result<String, Problem> {
    match node.expr {
        Expr::Name(name) => Ok(name),
        _ => Err(Problem::new(node.at, "argument must be a simple name")),
    }
}
