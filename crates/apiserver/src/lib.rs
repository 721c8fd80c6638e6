//! An embedded Kubernetes API: a pure store, its log on disk, and an HTTPS front.
//!
//! It must not know what Tombolo does with clusters: only the lab, the simulation and tests use it.
mod apply;
pub mod auth;
mod controllers;
mod crd;
pub mod db;
pub mod discovery;
pub mod error;
pub mod http;
mod log;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod pki;
mod quantity;
pub mod rbac;
pub mod registry;
mod room;
pub mod run;
mod schema;
pub mod selector;
pub mod serve;
pub mod store;
pub mod table;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;

pub use crd::exercise as exercise_schema;
