//! The data plane: one process per pod, sidecar and gateway. It never sees Kubernetes.
//!
//! A proxy is a pipeline of plain async functions with typed hand-overs: accept, detect, authorize,
//! route, pick, forward. What it knows of the world comes over the Linkerd proxy API.
mod admin;
pub mod body;
pub mod config;
mod connector;
mod control;
pub mod discovery;
pub mod endpoint;
pub mod help;
mod identity;
mod inbound;
mod listeners;
pub mod outbound;
mod respond;
pub mod run;
mod serve;
mod stats;
