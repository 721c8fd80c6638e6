//! Objects that an installation consists of, as JSON to be applied: the gateway, the rights of each
//! part, and the Link to a cluster with its credentials.
mod gateway;
mod link;
mod rights;

pub use gateway::{Gateway, gateway};
pub use link::{Flat, LinkTo, RemoteCluster, link};
pub use rights::{CONTROL, agent, control, namespace, node_proxy, remote_access};

#[cfg(test)]
mod tests;
