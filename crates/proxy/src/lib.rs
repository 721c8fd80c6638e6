//! The data plane: one process per pod, sidecar and gateway. It never sees Kubernetes.
//!
//! A proxy is a pipeline of plain async functions with typed hand-overs: accept, detect, authorize,
//! route, pick, forward. What it knows of the world comes over the Linkerd proxy API.
pub mod body;
pub mod endpoint;
pub mod outbound;
