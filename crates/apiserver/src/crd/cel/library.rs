//! The functions that rules may call: Kubernetes' own and CEL's.
pub(crate) mod authorizer;
mod core;
mod list;
pub(super) mod quantity;
mod text;
pub(super) mod time;
pub(super) mod url;

use super::eval::{Evaluated, Failure, Run};
use super::value::Val;

/// Every function: its name (a leading dot: a method of its first parameter), its result, its parameters.
pub(super) const SIGNATURES: &str = include_str!("library/signatures.txt");

/// Calls a function.
pub(super) fn call(run: &mut Run, name: &str, args: &[Val]) -> Evaluated {
    if is_cheap(name) {
        run.spend(1)?;
    } else {
        run.spend_on(args)?;
    }
    let found = core::call(run, name, args)
        .or_else(|| text::call(run, name, args))
        .or_else(|| list::call(run, name, args))
        .or_else(|| time::call(name, args))
        .or_else(|| url::call(name, args))
        .or_else(|| quantity::call(name, args))
        .or_else(|| authorizer::call(run, name, args));
    let value = found.unwrap_or_else(|| Err(Failure::overload()))?;
    run.spend(value.weight())?;
    Ok(value)
}

/// Functions that do not go through their arguments.
fn is_cheap(name: &str) -> bool {
    matches!(
        name,
        "_[_]" | "_[?_]" | "size" | "type" | "dyn" | "!_" | "optional.of" | "value" | "hasValue"
    )
}
