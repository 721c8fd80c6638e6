//! Clusters on one machine, and ways to break them.

pub mod echo;
pub mod pki;
pub mod procfs;
pub mod spawn;
pub mod topology;

mod task;
pub mod load;
