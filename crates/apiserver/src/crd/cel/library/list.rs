//! Functions of lists and sets.
use std::cmp::Ordering;
use std::sync::Arc;

use super::super::eval::{Evaluated, Failure, Run};
use super::super::value::Val;

/// Calls a function of this module; nothing if it is another's.
pub(super) fn call(run: &mut Run, name: &str, args: &[Val]) -> Option<Evaluated> {
    match args {
        [Val::List(list)] => one(run, name, list),
        [Val::List(list), Val::List(other)] => sets(run, name, list, other),
        [Val::List(list), Val::Text(by)] if name == "join" => Some(join(list, by)),
        [Val::List(list), other] => with(run, name, list, other),
        [Val::List(list), Val::Int(from), Val::Int(to)] if name == "slice" => {
            Some(slice(list, *from, *to))
        }
        [Val::Int(count)] if name == "lists.range" => Some(
            run.spend(u64::try_from(*count).unwrap_or(0))
                .map(|()| Val::list((0..*count).map(Val::Int).collect())),
        ),
        _ => None,
    }
}

fn one(run: &mut Run, name: &str, list: &[Val]) -> Option<Evaluated> {
    let goes_through = matches!(name, "isSorted" | "sum" | "min" | "max" | "join" | "sort");
    if goes_through && let Err(error) = run.spend_on(list) {
        return Some(Err(error));
    }
    Some(match name {
        "isSorted" => {
            let sorted = list
                .windows(2)
                .all(|pair| pair[0].order(&pair[1]).is_some_and(Ordering::is_le));
            Ok(Val::Bool(sorted))
        }
        "sum" => sum(list),
        "min" | "max" => extreme(name, list),
        "join" => join(list, ""),
        "reverse" => Ok(Val::list(list.iter().rev().cloned().collect())),
        "sort" => {
            if !is_ordered(list) {
                return Some(Err(Failure::new("no such overload")));
            }
            sort(run, list)
        }
        "distinct" => distinct(run, list),
        "flatten" => flatten(run, list, 1).map(Val::list),
        "first" => Ok(Val::Optional(list.first().cloned().map(Arc::new))),
        "last" => Ok(Val::Optional(list.last().cloned().map(Arc::new))),
        _ => return None,
    })
}

/// Whether any two can be compared, and nothing is larger than what is larger than itself: what sorts may rely on it.
fn is_ordered(list: &[Val]) -> bool {
    list.first().is_none_or(|first| {
        let kind = std::mem::discriminant(first);
        let mut all = list.iter();
        all.all(|one| std::mem::discriminant(one) == kind && one.order(one).is_some())
    })
}

fn sort(run: &mut Run, list: &[Val]) -> Evaluated {
    // Every value is compared about as often as the length has bits.
    for _ in 0..list.len().checked_ilog2().unwrap_or(0) {
        run.spend_on(list)?;
    }
    let mut sorted = list.to_vec();
    sorted.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
    Ok(Val::list(sorted))
}

fn distinct(run: &mut Run, list: &[Val]) -> Evaluated {
    let mut seen: Vec<Val> = Vec::new();
    for value in list {
        if run.position(&seen, value)?.is_none() {
            seen.push(value.clone());
        }
        if seen.len() > 1000 {
            return Err(Failure::Cost);
        }
    }
    Ok(Val::list(seen))
}

fn with(run: &mut Run, name: &str, list: &[Val], other: &Val) -> Option<Evaluated> {
    let index = |found: Option<usize>| {
        let at = found.and_then(|at| i64::try_from(at).ok());
        Val::Int(at.unwrap_or(-1))
    };
    Some(match (name, other) {
        ("indexOf", other) => run.position(list, other).map(index),
        ("lastIndexOf", other) => run
            .position(list.iter().rev(), other)
            .map(|found| index(found.map(|at| list.len() - 1 - at))),
        ("includes", other) => run
            .position(list, other)
            .map(|found| Val::Bool(found.is_some())),
        ("flatten", Val::Int(depth)) => flatten(run, list, *depth).map(Val::list),
        _ => return None,
    })
}

fn flatten(run: &mut Run, list: &[Val], depth: i64) -> Result<Vec<Val>, Failure> {
    run.spend(list.len() as u64)?;
    let depth = depth.min(32);
    let mut out = Vec::new();
    for value in list {
        match value {
            Val::List(inner) if depth > 0 => out.extend(flatten(run, inner, depth - 1)?),
            other => out.push(other.clone()),
        }
    }
    Ok(out)
}

fn join(list: &[Val], by: &str) -> Evaluated {
    let mut out = String::new();
    for (index, value) in list.iter().enumerate() {
        let Val::Text(text) = value else {
            return Err(Failure::overload());
        };
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(text);
        if out.len() > 1 << 21 {
            return Err(Failure::Cost);
        }
    }
    Ok(Val::text(out))
}

fn slice(list: &[Val], from: i64, to: i64) -> Evaluated {
    let bounds = (usize::try_from(from), usize::try_from(to));
    let (Ok(start), Ok(end)) = bounds else {
        return Err(Failure::new(format!(
            "cannot slice({from}, {to}), negative indexes not supported"
        )));
    };
    let part = list.get(start..end);
    part.map(|part| Val::list(part.to_vec())).ok_or_else(|| {
        Failure::new(format!(
            "cannot slice({from}, {to}), list is length {}",
            list.len()
        ))
    })
}

fn sum(list: &[Val]) -> Evaluated {
    let mut total = match list.first() {
        None | Some(Val::Int(_)) => Val::Int(0),
        Some(Val::Uint(_)) => Val::Uint(0),
        Some(Val::Double(_)) => Val::Double(0.0),
        Some(Val::Duration(_)) => Val::Duration(0),
        Some(_) => return Err(Failure::overload()),
    };
    for value in list {
        total = super::core::arithmetic("_+_", &total, value)?;
    }
    Ok(total)
}

fn extreme(name: &str, list: &[Val]) -> Evaluated {
    let Some(first) = list.first() else {
        return Err(Failure::new(format!("{name} called on empty list")));
    };
    let mut best = first;
    for value in list {
        let order = value.order(best).ok_or_else(Failure::overload)?;
        let better = if name == "min" {
            order.is_lt()
        } else {
            order.is_gt()
        };
        if better {
            best = value;
        }
    }
    Ok(best.clone())
}

fn sets(run: &mut Run, name: &str, a: &[Val], b: &[Val]) -> Option<Evaluated> {
    if !name.starts_with("sets.") {
        return with(run, name, a, &Val::list(b.to_vec()));
    }
    let found = match name {
        "sets.contains" => contains(run, a, b),
        "sets.equivalent" => contains(run, a, b).and_then(|all| Ok(all && contains(run, b, a)?)),
        "sets.intersects" => intersects(run, a, b),
        _ => return None,
    };
    Some(found.map(Val::Bool))
}

fn contains(run: &mut Run, a: &[Val], b: &[Val]) -> Result<bool, Failure> {
    for one in b {
        if run.position(a, one)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects(run: &mut Run, a: &[Val], b: &[Val]) -> Result<bool, Failure> {
    for one in a {
        if run.position(b, one)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
