//! Clusters on one machine, and ways to break them.

pub mod agent;
pub mod echo;
pub mod pki;
pub mod procfs;
pub mod spawn;
pub mod topology;

pub mod load;
pub mod report;
