//! The process kit that every binary rests on: nothing of the domain, nothing of Kubernetes.
//!
//! Start at [`process`] (die with the parent, stop when asked), [`task`] (the only place that
//! spawns) and [`tls`] (the only place that knows rustls).
pub mod admin;
pub mod clock;
pub mod drain;
pub mod log;
pub mod metrics;
pub mod net;
pub mod process;
pub mod ready;
pub mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;
