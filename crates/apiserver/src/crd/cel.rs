//! Rules in CEL, the Common Expression Language: read, checked against a schema, and run within a budget.
//!
//! [`parse`] makes a tree of bounded depth, [`check`] gives it types in the words of Kubernetes' checker,
//! [`eval`] runs it and counts every step, so that no rule runs for long, [`library`] are the functions,
//! [`rule`] ties rules to schemas, [`admission`] runs the expressions of policies, [`message`] is what these make of
//! objects that they change.
pub(crate) mod admission;
mod check;
pub(crate) mod cost;
pub(crate) mod decl;
mod eval;
mod lexer;
pub(crate) mod library;
mod macros;
mod message;
pub(crate) mod object_type;
mod parse;
pub(crate) mod rule;
mod tree;
mod value;

#[cfg(test)]
mod tests;
