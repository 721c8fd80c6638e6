//! The judge of the embedded API server: the real Kubernetes, started on this machine, and the same questions to both.
//!
//! Decides what "the same" means ([`normal`]) and how a script of commands is run against a cluster ([`script`],
//! [`play`]). It must not know how either server works inside. Start at [`Cluster`]. Never published.
pub mod binaries;
pub mod client;
mod cluster;
pub mod compare;
mod daemon;
pub mod fuzz;
mod managed;
pub mod managers;
pub mod normal;
mod ours;
pub mod play;
mod process;
mod real;
pub mod script;

// Chooses the version of the API that `kube` is compiled for.
use k8s_openapi as _;

pub use cluster::{Cluster, Kind, config};
pub use daemon::Daemon;
pub use managed::Managed;
pub use ours::Ours;
pub use real::{Fsync, Parts, Real, free_address};
