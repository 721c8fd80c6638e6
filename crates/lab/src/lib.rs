//! Clusters on one machine, and ways to break them.

pub mod agent;
mod ask;
pub mod cluster;
pub mod demo;
pub mod dir;
pub mod echo;
pub mod lab;
pub mod load;
pub mod manifests;
pub mod pki;
pub mod preflight;
pub mod procfs;
mod pulse;
pub mod report;
pub mod spawn;
pub mod supervisor;
pub mod topology;
