//! An embedded Kubernetes API: a pure store, its log on disk, and an HTTPS front.
//!
//! It must not know what Tombolo does with clusters: only the lab, the simulation and tests use it.
pub mod db;
pub mod error;
pub mod object;
pub mod registry;
pub mod selector;
pub mod store;
