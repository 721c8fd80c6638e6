//! The control plane of one cluster, in one process: mirror, discovery, identity, policy.
//!
//! Watches feed one owner task, which plans, applies, and publishes immutable answers; the gRPC
//! services only read those. Start at [`run`]. Nothing here forwards traffic, and nothing of another
//! cluster is ever waited for.
mod args;
mod discovery;
mod follow;
mod identity;
mod manifests;
mod policy;
mod run;
mod server;
mod world;

pub use args::{Args, GatewayExports, Listen, ListenError};
pub use manifests::{Manifests, ManifestsArgs, manifests};
pub use run::{run, run_until};
